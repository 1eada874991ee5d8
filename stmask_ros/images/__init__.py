"""Camera messages to pictures, raw or compressed. Needs no ROS."""

from stmask_ros.images.compressed import compressed_size, compressed_to_bgr
from stmask_ros.images.raw import ImageError, to_bgr

__all__ = ['ImageError', 'compressed_size', 'compressed_to_bgr', 'to_bgr']
