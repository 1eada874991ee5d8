# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What messages of video say of their packet. Needs no ROS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stmask_ros.images.raw import ImageError

CODECS = ('h264', 'hevc', 'av1', 'vp9')

# Words in the names of encoders and formats, and the codec that each tells.
_WORDS = {'264': 'h264', 'hevc': 'hevc', '265': 'hevc', 'av1': 'av1', 'vp9': 'vp9'}


@dataclass(frozen=True)
class Packet:
    """
    One packet of a video, which holds one frame.

    data: array.array('B'), uint8 array or bytes. codec: one of CODECS. number: of the frame, by
    the count or the clock of its encoder; None if it tells none.
    """

    data: Any
    codec: str
    number: int | None = None


@dataclass(frozen=True)
class Header:
    """The fields of std_msgs/Header."""

    stamp: Any
    frame_id: str


def ffmpeg_packet(message: Any) -> Packet:
    """Return the packet in an ffmpeg_image_transport_msgs/FFMPEGPacket, or raise ImageError."""
    # 'CODEC;PIXELS;PIXELS;ENCODING', before 2025 the name of the encoder alone: libx264.
    name = message.encoding.partition(';')[0]
    return Packet(message.data, codec_of(name), int(message.pts))


def foxglove_packet(message: Any) -> Packet:
    """Return the packet in a foxglove_msgs/CompressedVideo, or raise ImageError."""
    return Packet(message.data, codec_of(message.format))


def header_of(message: Any) -> Any:
    """Return the header of an image message of any kind."""
    if hasattr(message, 'timestamp'):
        return Header(message.timestamp, message.frame_id)
    return message.header


def codec_of(name: str) -> str:
    """Return the codec that an encoder's or a format's name means; ImageError if it is unknown."""
    for word, codec in _WORDS.items():
        if word in name.lower():
            return codec
    raise ImageError('encoding', (
        f"'{name[:40]}' is no video that this node decodes; it decodes {', '.join(CODECS)}: "
        'publish one of them, or republish it as raw images'))
