"""Camera messages to pictures, raw or compressed. Needs no ROS."""

from stmask_ros.images.compressed import compressed_picture, compressed_size, compressed_to_bgr
from stmask_ros.images.raw import ImageError, Picture, raw_picture, to_bgr

__all__ = [
    'ImageError', 'Picture', 'compressed_picture', 'compressed_size', 'compressed_to_bgr',
    'raw_picture', 'to_bgr',
]
