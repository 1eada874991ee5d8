# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The node's publishers: instances always, other views of them only while someone listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from stmask_ros.images.raw import Bgr
from stmask_ros.msg import LabelInfo, TrackedInstanceArray
from stmask_ros.node.parameters import Parameters
from stmask_ros.ros import class_messages
from stmask_ros.ros.annotation_messages import (
    ImageAnnotations,
    ImageMarker,
    annotations_message,
    outlines_message,
)
from stmask_ros.ros.detections_message import Detection2DArray, detections_message
from stmask_ros.ros.image_messages import compressed_from_bgr
from stmask_ros.ros.messages import (
    InstanceFormat,
    duration_message,
    image_message,
    instances_message,
    label_info_message,
)
from stmask_ros.ros.qos import make_publisher
from stmask_ros.tracking.results import FrameResult
from stmask_ros.tracking.segmenter import VideoSegmenter
from stmask_ros.views.class_images import class_image, confidence_image
from stmask_ros.views.outlines import Outline, outlines
from stmask_ros.views.overlay import draw_overlay, label_image

WholeImage: TypeAlias = Callable[[], Bgr]


class Labels:
    """The latched topics that tell the classes of the model: ours, and that of vision_msgs."""

    def __init__(self, node: Node, segmenter: VideoSegmenter) -> None:
        """Advertise the topics of `node`, for the model of `segmenter`; raises TopicError."""
        self._node = node
        self.adopt(segmenter)
        with ExitStack() as undo:
            self._publisher = make_publisher(node, LabelInfo, '~/label_info', _latched())
            undo.callback(node.destroy_publisher, self._publisher)
            self._class_map: Publisher[Any] | None = None
            if class_messages.LabelInfo is not None:
                self._class_map = make_publisher(
                    node, class_messages.LabelInfo, '~/class_map', _latched())
                undo.callback(node.destroy_publisher, self._class_map)
            self._withdraw = undo.pop_all().close

    def adopt(self, segmenter: VideoSegmenter) -> None:
        """Tell the classes of another segmenter from now on."""
        self._model = segmenter.model_name
        self._class_names = tuple(segmenter.class_names)

    def publish(self, score_threshold: float) -> None:
        """Tell the classes, to those who listen now and those who come later."""
        stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(
            label_info_message(self._model, self._class_names, score_threshold, stamp)
        )
        if self._class_map is not None:
            self._class_map.publish(
                class_messages.class_map_message(self._class_names, score_threshold, stamp))

    def destroy(self) -> None:
        """Take the topics back."""
        self._withdraw()


class Outputs:
    """The topics on which the results of one camera are published."""

    def __init__(self, node: Node, segmenter: VideoSegmenter, prefix: str) -> None:
        """
        Advertise the topics of `node`, for results of `segmenter`.

        prefix: comes before the topics' names: '' or the camera's name and a slash.
        Raises TopicError, and then none of them is left.
        """
        self._node = node
        self.adopt(segmenter)
        with ExitStack() as undo:
            def advertise(kind: type, topic: str, depth: int) -> Publisher[Any]:
                made = make_publisher(node, kind, f'~/{prefix}{topic}', _reliable(depth))
                undo.callback(node.destroy_publisher, made)
                return made

            self._instances = advertise(TrackedInstanceArray, 'instances', depth=5)
            self._views = [
                (advertise(view.kind, view.topic, view.depth), view.make) for view in _views()
            ]
            # Asked for every image; rclpy's own method takes three times as long.
            self._listeners = [
                publisher.handle.get_subscription_count for publisher, _ in self._views
            ]
            self._withdraw = undo.pop_all().close

    def adopt(self, segmenter: VideoSegmenter) -> None:
        """Publish results of another segmenter from now on."""
        self._model = segmenter.model_name
        self._class_names = tuple(segmenter.class_names)

    def publish_instances(
        self,
        result: FrameResult,
        header: Header,
        frames_skipped: int,
        received_ns: int,
        parameters: Parameters,
    ) -> int:
        """
        Publish a result under its image's header.

        received_ns: when the image arrived [ns, steady clock].
        Returns the time since then [ns], as it stands in the message.
        """
        written = self.written(parameters)
        message = instances_message(result, header, frames_skipped, written)
        elapsed = time.monotonic_ns() - received_ns
        message.processing_time = duration_message(elapsed)
        self._instances.publish(message)
        return elapsed

    def written(self, parameters: Parameters) -> InstanceFormat:
        """Return how instances are written."""
        names = self._class_names if parameters.publish_class_names else ()
        return InstanceFormat(self._model, names, parameters.encoding())

    def has_viewers(self) -> bool:
        """Say whether someone listens to a view."""
        return any(count() for count in self._listeners)

    def publish_views(self, result: FrameResult, image: WholeImage, header: Header) -> None:
        """
        Make and publish those views of a result that someone listens to.

        image: returns the image of the result, and is called for views that show it.
        """
        shown = _Shown(result, image, header, self._class_names)
        for publisher, make in self._views:
            if publisher.get_subscription_count() > 0:
                publisher.publish(make(shown))

    def destroy(self) -> None:
        """Take the topics back."""
        self._withdraw()


@dataclass(frozen=True)
class _Shown:
    """What views are made of; overlay, outlines: made once for all views that show them."""

    result: FrameResult
    image: WholeImage
    header: Header
    class_names: Sequence[str]

    @cached_property
    def outlines(self) -> list[Outline]:
        return outlines(self.result)

    @cached_property
    def overlay(self) -> Bgr:
        return draw_overlay(self.image(), self.result, self.class_names)


@dataclass(frozen=True)
class _View:
    """A topic that shows results; make: returns its message."""

    topic: str
    kind: type
    depth: int
    make: Callable[[_Shown], Any]


def _views() -> list[_View]:
    views = [
        _View('overlay', Image, 1, _overlay),
        _View('overlay/compressed', CompressedImage, 1, _overlay_jpeg),
        _View('label_image', Image, 1, _label_image),
        _View('class_image', Image, 5, _class_image),
        _View('confidence_image', Image, 5, _confidence_image),
    ]
    if ImageAnnotations is not None:
        views.append(_View('annotations', ImageAnnotations, 1, _annotations))
    if ImageMarker is not None:
        views.append(_View('outlines', ImageMarker, 1, _outlines))
    if Detection2DArray is not None:
        views.append(_View('detections', Detection2DArray, 5, _detections))
    return views


def _overlay(shown: _Shown) -> Image:
    return image_message(shown.overlay, 'bgr8', shown.header)


def _overlay_jpeg(shown: _Shown) -> CompressedImage:
    return compressed_from_bgr(shown.overlay, shown.header)


def _label_image(shown: _Shown) -> Image:
    return image_message(label_image(shown.result), 'mono16', shown.header)


def _class_image(shown: _Shown) -> Image:
    return image_message(class_image(shown.result), 'mono8', shown.header)


def _confidence_image(shown: _Shown) -> Image:
    return image_message(confidence_image(shown.result), 'mono8', shown.header)


def _annotations(shown: _Shown) -> ImageAnnotations:
    return annotations_message(shown.result, shown.header, shown.class_names, shown.outlines)


def _outlines(shown: _Shown) -> ImageMarker:
    return outlines_message(shown.result, shown.header, shown.outlines)


def _detections(shown: _Shown) -> Detection2DArray:
    return detections_message(shown.result, shown.header, shown.class_names)


# Always new profiles: rclpy writes a topic's overrides into the one it is given.


def _reliable(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)


def _latched() -> QoSProfile:
    return QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )
