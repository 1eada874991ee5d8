# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The camera node's topics: what is published of a frame, and only while someone listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from stmask_ros.camera.camera_info import fitted, load_camera_info
from stmask_ros.camera.parameters import CameraParameters
from stmask_ros.images import compressed_size
from stmask_ros.images.raw import Bgr, ImageMessage
from stmask_ros.ros.image_messages import (
    compressed_from_bgr,
    compressed_from_bytes,
    fill,
    from_bgr,
)
from stmask_ros.ros.qos import make_publisher
from stmask_ros.sources.source import Frame


@dataclass(frozen=True)
class _Outgoing:
    """Messages that are ready but for their header, and who sends them."""

    messages: list[tuple[Publisher[Any], Any]]
    stamp: Time | None
    frame_id: str


class CameraTopics:
    """image_raw, image_raw/compressed and camera_info."""

    def __init__(self, node: Node, parameters: CameraParameters) -> None:
        """Advertise the topics; raises CalibrationError, TopicError."""
        self._parameters = parameters
        self._calibration = load_camera_info(parameters.camera_info_url, node.get_name())
        self._clock = node.get_clock()
        self._raw = _publisher(node, Image, 'image_raw')
        self._compressed = _publisher(node, CompressedImage, 'image_raw/compressed')
        self._info = _publisher(node, CameraInfo, 'camera_info')

    def subscriptions(self) -> int:
        """Return how many subscriptions to the images there are."""
        return sum(p.get_subscription_count() for p in (self._raw, self._compressed))

    def prepare(self, frame: Frame) -> _Outgoing:
        """Do all slow work of publishing a frame; raises ImageError if the frame is broken."""
        picture = _Once(frame.bgr)
        messages = []
        if _wanted(self._raw):
            messages.append((self._raw, _raw_message(frame, picture)))
        if _wanted(self._compressed):
            quality = self._parameters.jpeg_quality
            messages.append((self._compressed, _compressed_message(frame, picture, quality)))
        if _wanted(self._info):
            messages.append((self._info, fitted(self._calibration, *_size(frame, picture))))
        recorded = frame.stamp() if self._parameters.stamps == 'source' else None
        return _Outgoing(
            messages,
            Time(sec=recorded[0], nanosec=recorded[1]) if recorded else None,
            self._parameters.frame_id or frame.frame_id() or 'camera',
        )

    def publish(self, outgoing: _Outgoing) -> None:
        """Send what was prepared, all with one header."""
        stamp = self._clock.now().to_msg() if outgoing.stamp is None else outgoing.stamp
        header = Header(stamp=stamp, frame_id=outgoing.frame_id)
        for publisher, message in outgoing.messages:
            message.header = header
            publisher.publish(message)

    def flush(self) -> None:
        """Wait until reliable subscribers have all that was sent, but not for long."""
        for publisher in (self._raw, self._compressed, self._info):
            publisher.wait_for_all_acked(Duration(seconds=2))


class _Once:
    """Decodes the picture of a frame when it is first needed, and only once."""

    def __init__(self, read: Callable[[], Bgr]) -> None:
        self._read = read
        self._picture: Bgr | None = None

    def __call__(self) -> Bgr:
        if self._picture is None:
            self._picture = self._read()
        return self._picture


def _publisher(node: Node, kind: type, topic: str) -> Publisher[Any]:
    # Reliable as drivers are (REP 2003), so that subscribers of either kind hear it. One profile
    # for each topic, since its overrides are written into it.
    profile = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
    return make_publisher(node, kind, topic, profile)


def _wanted(publisher: Publisher[Any]) -> bool:
    return bool(publisher.get_subscription_count() > 0)


def _raw_message(frame: Frame, picture: Callable[[], Bgr]) -> Image:
    recorded = frame.raw()
    return from_bgr(picture(), Header()) if recorded is None else _copy(recorded)


def _copy(recorded: ImageMessage) -> Image:
    """Return a recorded message as one that can be published, byte for byte."""
    message = Image(
        height=recorded.height, width=recorded.width, encoding=recorded.encoding,
        is_bigendian=int(recorded.is_bigendian), step=recorded.step)
    fill(message, recorded.data)
    return message


def _compressed_message(
    frame: Frame, picture: Callable[[], Bgr], quality: int
) -> CompressedImage:
    recorded = frame.compressed()
    if recorded is None:
        return compressed_from_bgr(picture(), Header(), quality)
    compressed_size(recorded.data)  # a picture that is cut off is not passed on
    return compressed_from_bytes(recorded.data, Header(), recorded.format)


def _size(frame: Frame, picture: Callable[[], Bgr]) -> tuple[int, int]:
    """Return width and height [pixel] of a frame, decoding it only where nothing else tells."""
    raw, compressed = frame.raw(), frame.compressed()
    if raw is not None:
        return raw.width, raw.height
    if compressed is not None:
        return compressed_size(compressed.data)
    height, width = picture().shape[:2]
    return width, height
