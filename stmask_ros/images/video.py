# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Video to pictures: H.264, H.265, AV1 and VP9, by PyAV. Needs no ROS.

A packet means nothing without those before it, and after a lost one most decoders go on with
pictures that are wrong. So every packet is decoded as it comes, and after a gap nothing is shown
until a key frame, which needs no other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stmask_ros.images.packets import Packet
from stmask_ros.images.raw import (
    MAX_PIXELS,
    ImageError,
    NoPictureError,
    Picture,
    SeenSize,
    check_pixel_count,
    reduction,
)

HOW_TO_INSTALL = 'video needs PyAV: pip install av'

# libav's name of the decoder; its own for AV1 works on graphics cards alone.
_DECODERS = {'h264': 'h264', 'hevc': 'hevc', 'av1': 'libdav1d', 'vp9': 'vp9'}
# Frames come in another order than packets at most so far.
_MOST_PENDING = 64
# By which the pace of a clock's numbers is told.
_STEPS = 30


@dataclass(frozen=True)
class VideoImage:
    """What came of a packet: a decoded frame under its header, or why there is none."""

    header: Any
    frame: Any
    problem: ImageError | None = None


class VideoReader:
    """Reads messages of one packet each; see ImageReader."""

    def __init__(
        self, packet_of: Callable[[Any], Packet], header_of: Callable[[Any], Any]
    ) -> None:
        """
        Prepare; ModuleNotFoundError without PyAV.

        packet_of: returns the packet in a message, or raises ImageError. header_of: returns the
        message's header, whatever the packet.
        """
        from av.video.reformatter import VideoReformatter

        self._packet_of = packet_of
        self._header_of = header_of
        self._decoder: Decoder | None = None
        self._reformatter = VideoReformatter()

    def take(self, message: Any) -> VideoImage:
        """Decode the packet of a message."""
        header = self._header_of(message)
        try:
            packet = self._packet_of(message)
            if self._decoder is None or self._decoder.codec != packet.codec:
                self._decoder = Decoder(packet.codec)
            return self._decoder.decode(packet, header)
        except ImageError as error:
            return VideoImage(header, None, error)

    def miss(self) -> None:
        """Show nothing until a key frame."""
        if self._decoder is not None:
            self._decoder.restart('a message was lost')

    def picture(self, taken: VideoImage, seen_size: SeenSize | None = None) -> Picture:
        """Return the picture of a frame; or ImageError."""
        if taken.problem is not None:
            raise taken.problem
        size = (taken.frame.height, taken.frame.width)
        part = reduction(size, seen_size)
        height, width = -(-size[0] // part), -(-size[1] // part)
        way = 'AREA' if part > 1 else 'BILINEAR'
        try:
            small = self._reformatter.reformat(
                taken.frame, width, height, 'bgr24', interpolation=way)
            pixels = small.to_ndarray()
        except Exception as error:  # whatever an odd frame leads libav to
            raise ImageError('broken data', f'the frame is no picture: {error}') from error
        return Picture(np.asarray(pixels, np.uint8), size)


class Decoder:
    """Decodes the packets of one video, in their order."""

    def __init__(self, codec: str) -> None:
        """Begin; codec: one of stmask_ros.images.packets.CODECS. Raises ImageError."""
        import av

        # libav would write of every broken packet to the error stream by itself.
        av.logging.set_level(av.logging.PANIC)
        self.codec = codec
        self._awaited = f'the {codec} video begins with one'
        self._pace = _Pace()
        self._headers: dict[int, Any] = {}
        self._count = 0
        try:
            self._context: Any = av.CodecContext.create(_DECODERS[codec], 'r')
            # One thread for a camera, and a picture for each packet: no frame waits for others.
            self._context.thread_count = 1
            self._context.flags |= av.codec.context.Flags.low_delay
            self._context.options = {'max_pixels': str(MAX_PIXELS)}
            self._context.open()
        except Exception as error:
            raise ImageError(
                'compressed format', f'this PyAV has no decoder of {codec}: {error}') from error
        self._new_packet = av.Packet

    def restart(self, reason: str) -> None:
        """Forget all frames: what comes until a key frame shows nothing; reason: why."""
        if not self._awaited:
            self._context.flush_buffers()
        self._awaited = self._awaited or reason

    def decode(self, packet: Packet, header: Any) -> VideoImage:
        """
        Return the newest frame that a packet completes, under its own header; or ImageError.

        header: that of the packet's message.
        """
        data = bytes(packet.data)
        if not data:
            raise ImageError('short data', f'the {self.codec} packet is empty')
        if self._pace.skips(packet.number):
            self.restart(f'a packet before number {packet.number} was lost')
        frames = self._frames(data, header)
        if self._awaited:
            frames = self._from_key_frame(frames)
        if not frames:
            raise NoPictureError('no picture', f'the {self.codec} packet completes no picture')
        frame = frames[-1]
        check_pixel_count(frame.width, frame.height)
        return VideoImage(self._headers.get(frame.pts, header), frame)

    def _frames(self, data: bytes, header: Any) -> list[Any]:
        self._count += 1
        self._headers[self._count] = header
        self._headers.pop(self._count - _MOST_PENDING, None)
        packet = self._new_packet(data)
        packet.pts = packet.dts = self._count
        try:
            frames = self._context.decode(packet)
        except Exception as error:  # libav's errors are of many kinds
            if self._awaited:
                return []
            self.restart('a packet was broken')
            raise ImageError('broken data', (
                f'the {self.codec} packet of {len(data)} bytes cannot be decoded: {error}'
            )) from error
        if any(frame.is_corrupt for frame in frames):
            self.restart('a packet was broken')
        return list(frames)

    def _from_key_frame(self, frames: list[Any]) -> list[Any]:
        """Return the frames from the first whole key frame on, or raise NoPictureError."""
        for index, frame in enumerate(frames):
            if frame.key_frame and not frame.is_corrupt:
                self._awaited = ''
                return frames[index:]
        raise NoPictureError(
            'waits for a key frame', f'it shows nothing without a key frame: {self._awaited}')


class _Pace:
    """Notices that numbers are missing, whether they count or are of a clock."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._steps: deque[int] = deque(maxlen=_STEPS)
        self._counts = False

    def skips(self, number: int | None) -> bool:
        """Return whether packets between the one before and this one are missing."""
        last, self._last = self._last, number
        if last is None or number is None:
            return False
        step = number - last
        if step <= 0:
            return True
        self._steps.append(step)
        self._counts = self._counts or step == 1
        # Clocks tremble: twice the smallest step is a gap for sure. Two images that came in a
        # burst are no measure for ever.
        return step >= 2 * (1 if self._counts else min(self._steps))
