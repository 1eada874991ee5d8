"""The message types that the package reads and writes in bags."""

from __future__ import annotations

from functools import cache

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from stmask_ros.resources import PACKAGE, share_directory

INSTANCES = f'{PACKAGE}/msg/TrackedInstanceArray'
LABEL_INFO = f'{PACKAGE}/msg/LabelInfo'
IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'


@cache
def message_types() -> Typestore:
    """Return the types of ROS 2 and of this package; the image messages are all distributions'."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for path in sorted((share_directory() / 'msg').glob('*.msg')):
        store.register(get_types_from_msg(path.read_text(), f'{PACKAGE}/msg/{path.stem}'))
    return store
