# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The message types that the package reads and writes in bags."""

from __future__ import annotations

from functools import cache
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from stmask_ros.resources import PACKAGE, share_directory

INSTANCES = f'{PACKAGE}/msg/TrackedInstanceArray'
LABEL_INFO = f'{PACKAGE}/msg/LabelInfo'
IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
FFMPEG_PACKET = 'ffmpeg_image_transport_msgs/msg/FFMPEGPacket'
COMPRESSED_VIDEO = 'foxglove_msgs/msg/CompressedVideo'
VIDEO = (FFMPEG_PACKET, COMPRESSED_VIDEO)
IMAGES = (IMAGE, COMPRESSED_IMAGE, *VIDEO)

_VIDEO_FIELDS = {
    FFMPEG_PACKET: 'std_msgs/Header header\nint32 width\nint32 height\nstring encoding\n'
                   'uint64 pts\nuint8 flags\nbool is_bigendian\nuint8[] data\n',
    COMPRESSED_VIDEO: 'builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\n'
                      'string format\n',
}


@cache
def message_types() -> Typestore:
    """Return the types of ROS 2 and of this package; the image messages are all distributions'."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for path in sorted((share_directory() / 'msg').glob('*.msg')):
        store.register(get_types_from_msg(path.read_text(), f'{PACKAGE}/msg/{path.stem}'))
    for name, fields in _VIDEO_FIELDS.items():
        store.register(get_types_from_msg(fields, name))
    return store


def deserialised(data: bytes, type_name: str) -> Any:
    """Return the message in CDR; raises whatever a broken one leads the parser to."""
    store = message_types()
    if type_name != COMPRESSED_VIDEO:
        return store.deserialize_cdr(data, type_name)
    # Its later versions have more fields at the end, of no use here.
    definition = store.get_msgdef(type_name)
    little = data[1:2] == b'\1'
    read = definition.deserialize_cdr_le if little else definition.deserialize_cdr_be
    return read(data[4:], 0, definition.cls, store)[0]
