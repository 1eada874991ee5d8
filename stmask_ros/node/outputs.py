"""The node's publishers: instances always, other views of them only while someone listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from stmask_ros.images.raw import Bgr
from stmask_ros.msg import LabelInfo, TrackedInstanceArray
from stmask_ros.node.parameters import Parameters
from stmask_ros.ros.detections_message import Detection2DArray, detections_message
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
from stmask_ros.views.overlay import draw_overlay, label_image

WholeImage: TypeAlias = Callable[[], Bgr]


class Labels:
    """The latched topic that tells the classes of the model."""

    def __init__(self, node: Node, segmenter: VideoSegmenter) -> None:
        """Advertise the topic of `node`, for the model of `segmenter`; raises TopicError."""
        self._node = node
        self._model = segmenter.model_name
        self._class_names = tuple(segmenter.class_names)
        self._publisher = make_publisher(node, LabelInfo, '~/label_info', _latched())

    def publish(self, score_threshold: float) -> None:
        """Tell the classes, to those who listen now and those who come later."""
        stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(
            label_info_message(self._model, self._class_names, score_threshold, stamp)
        )

    def destroy(self) -> None:
        """Take the topic back."""
        self._node.destroy_publisher(self._publisher)


class Outputs:
    """The topics on which the results of one camera are published."""

    def __init__(self, node: Node, segmenter: VideoSegmenter, prefix: str) -> None:
        """
        Advertise the topics of `node`, for results of `segmenter`.

        prefix: comes before the topics' names: '' or the camera's name and a slash.
        Raises TopicError, and then none of them is left.
        """
        self._node = node
        self._model = segmenter.model_name
        self._class_names = tuple(segmenter.class_names)
        with ExitStack() as undo:
            def advertise(kind: type, topic: str, depth: int) -> Publisher[Any]:
                made = make_publisher(node, kind, f'~/{prefix}{topic}', _reliable(depth))
                undo.callback(node.destroy_publisher, made)
                return made

            self._instances = advertise(TrackedInstanceArray, 'instances', depth=5)
            self._views = [
                (advertise(view.kind, view.topic, view.depth), view.make) for view in _views()
            ]
            self._withdraw = undo.pop_all().close

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
        names = self._class_names if parameters.publish_class_names else ()
        written = InstanceFormat(self._model, names, parameters.encoding())
        message = instances_message(result, header, frames_skipped, written)
        elapsed = time.monotonic_ns() - received_ns
        message.processing_time = duration_message(elapsed)
        self._instances.publish(message)
        return elapsed

    def has_viewers(self) -> bool:
        """Say whether someone listens to a view."""
        return any(publisher.get_subscription_count() > 0 for publisher, _ in self._views)

    def publish_views(self, result: FrameResult, image: WholeImage, header: Header) -> None:
        """
        Make and publish those views of a result that someone listens to.

        image: returns the image of the result, and is called for views that show it.
        """
        for publisher, make in self._views:
            if publisher.get_subscription_count() > 0:
                publisher.publish(make(result, image, header, self._class_names))

    def destroy(self) -> None:
        """Take the topics back."""
        self._withdraw()


@dataclass(frozen=True)
class _View:
    """A topic that shows results; make: from the result, its image, header and class names."""

    topic: str
    kind: type
    depth: int
    make: Callable[[FrameResult, WholeImage, Header, Sequence[str]], Any]


def _views() -> list[_View]:
    views = [
        _View('overlay', Image, 1, _overlay),
        _View('label_image', Image, 1, _label_image),
    ]
    if Detection2DArray is not None:
        views.append(_View('detections', Detection2DArray, 5, _detections))
    return views


def _overlay(
    result: FrameResult, image: WholeImage, header: Header, class_names: Sequence[str]
) -> Image:
    return image_message(draw_overlay(image(), result, class_names), 'bgr8', header)


def _label_image(
    result: FrameResult, _image: WholeImage, header: Header, _class_names: Sequence[str]
) -> Image:
    return image_message(label_image(result), 'mono16', header)


def _detections(
    result: FrameResult, _image: WholeImage, header: Header, class_names: Sequence[str]
) -> Detection2DArray:
    return detections_message(result, header, class_names)


# Always new profiles: rclpy writes a topic's overrides into the one it is given.


def _reliable(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)


def _latched() -> QoSProfile:
    return QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )
