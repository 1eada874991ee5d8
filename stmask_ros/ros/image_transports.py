# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The transports of image_transport that images are received by: messages, topics and readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from stmask_ros.images import compressed_picture, packets, raw_picture
from stmask_ros.images.reading import ImageReader, StillReader
from stmask_ros.images.video import HOW_TO_INSTALL, VideoReader
from stmask_ros.ros.qos import TopicError

NAMES = ('raw', 'compressed', 'zstd', 'ffmpeg', 'foxglove')

# Every packet of a video is needed for the next: some seconds of them may wait for the decoder.
_VIDEO_DEPTH = 100


@dataclass(frozen=True)
class ImageTransport:
    """
    A way in which the images of a camera come.

    name: as image_transport has it, and behind the topic's name. kind: the class of the messages.
    depth: of the subscription [messages]. make_reader: returns the reader of one camera.
    """

    name: str
    kind: type[Any]
    depth: int
    make_reader: Callable[[], ImageReader]

    @property
    def type_name(self) -> str:
        """The type of the messages, such as sensor_msgs/msg/Image."""
        return f'{self.kind.__module__.split(".")[0]}/msg/{self.kind.__name__}'


def problems_of(name: str) -> list[str]:
    """Return why a transport is not received, in one line; nothing if it is one of NAMES."""
    if name in NAMES:
        return []
    return [
        f"image_transport: '{name}' is none of {', '.join(NAMES)}: let image_transport make raw "
        'images of it, with `ros2 run image_transport republish --ros-args '
        f'-p in_transport:={name} -p out_transport:=raw -r in/{name}:=/camera/image_raw/{name} '
        '-r out:=/camera/image`, and remap image to those'
    ]


def image_transport(name: str) -> ImageTransport:
    """Return one of NAMES; TopicError if what it needs is not installed."""
    if name == 'raw':
        return ImageTransport(name, Image, 1, lambda: StillReader(raw_picture))
    if name == 'ffmpeg':
        return _ffmpeg()
    if name == 'foxglove':
        return _foxglove()
    return ImageTransport(name, CompressedImage, 1, lambda: StillReader(compressed_picture))


def _ffmpeg() -> ImageTransport:
    try:
        from ffmpeg_image_transport_msgs.msg import FFMPEGPacket
    except ImportError as error:
        raise _missing('ffmpeg', 'ffmpeg_image_transport_msgs') from error
    return _video('ffmpeg', FFMPEGPacket, packets.ffmpeg_packet)


def _foxglove() -> ImageTransport:
    try:
        from foxglove_msgs.msg import CompressedVideo
    except ImportError as error:
        raise _missing('foxglove', 'foxglove_msgs') from error
    return _video('foxglove', CompressedVideo, packets.foxglove_packet)


def _missing(name: str, package: str) -> TopicError:
    return TopicError(
        f"image_transport: '{name}' needs the message package {package}: "
        f'sudo apt install ros-<distribution>-{package.replace("_", "-")}')


def _video(
    name: str, kind: type[Any], packet_of: Callable[[Any], packets.Packet]
) -> ImageTransport:
    if find_spec('av') is None:
        raise TopicError(f"image_transport: '{name}': {HOW_TO_INSTALL}")
    return ImageTransport(name, kind, _VIDEO_DEPTH, lambda: VideoReader(packet_of, _header_of))


def _header_of(message: Any) -> Header:
    header = packets.header_of(message)
    return Header(stamp=header.stamp, frame_id=header.frame_id)
