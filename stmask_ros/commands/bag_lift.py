# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Adds what the lifter would say to a bag that holds instances and depth."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.serialization import serialize_message

from stmask_ros.bags.files import (
    BagError,
    BagMessage,
    BagWriter,
    bag_topics,
    offered_qos,
    read_bag,
)
from stmask_ros.lifting.errors import LiftingError
from stmask_ros.lifting.measurement import Sensor
from stmask_ros.lifting.pipeline import Geometry, LiftingPipeline
from stmask_ros.lifting.tracks import Motion
from stmask_ros.lifting.transform_buffer import TransformBuffer
from stmask_ros.lifting.transforms import Transform
from stmask_ros.ros.lifted_messages import lifted_message
from stmask_ros.ros.messages import time_message
from stmask_ros.tracking.replay import stamp_of

_LOGGER = logging.getLogger(__name__)
_TYPE = 'stmask_ros/msg/TrackedInstance3DArray'
_DEPTH_TYPES = (
    'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/PointCloud2')
_WAITING = 100
_FOREVER = 1e9


@dataclass(frozen=True)
class LiftedTopics:
    """
    Which topics of a bag belong together.

    image: the images that the instances are of. instances, output: of the instances, and of what
    is written. depth: depth images or clouds. pose: PoseStamped of the image's optical frame;
    empty for /tf. fixed_frame: the output frame; empty for the image's optical frame.
    """

    image: str
    instances: str
    output: str
    depth: str
    pose: str
    fixed_frame: str


def lift_bag(bag: Path, folder: Path, topics: LiftedTopics) -> int:
    """
    Copy a bag, with the instances lifted beside, and return how many messages of them there are.

    Raises BagError if the bag cannot be read, lacks the depth, or nothing could be lifted.
    """
    lifter = _BagLifter(bag, topics)
    count = 0
    with BagWriter(folder, offered_qos(bag)) as writer:
        for message in read_bag(bag):
            writer.write_content(message)
            for lifted in lifter.add(message):
                writer.write(topics.output, _TYPE, message.time, serialize_message(lifted))
                count += 1
    for reason, dropped in sorted(lifter.dropped.items()):
        _LOGGER.warning('%d images not lifted: %s', dropped, reason)
    if count == 0:
        raise BagError(f'nothing of {bag} could be lifted with {topics.depth}')
    return count


class _BagLifter:
    """Finds instances and depth of one stamp, in the order of the instances."""

    def __init__(self, bag: Path, topics: LiftedTopics) -> None:
        self.dropped: Counter[str] = Counter()
        kinds = bag_topics(bag)
        if kinds.get(topics.depth) not in _DEPTH_TYPES:
            raise BagError(
                f'{topics.depth} is no topic of depth in the bag {bag}; it has '
                f'{", ".join(f"{name} ({kind})" for name, kind in kinds.items())}')
        self._topics = topics
        self._transforms = _read_transforms(bag, topics, kinds)
        self._image_info = _first(bag, _beside(topics.image), kinds)
        self._depth_info = _first(bag, _beside(topics.depth), kinds)
        self._pipeline = LiftingPipeline(
            Sensor(), Motion(), Geometry(topics.fixed_frame), self._transforms)
        self._instances: deque[Any] = deque()
        self._depths: dict[int, Any] = {}

    def add(self, message: BagMessage) -> Iterator[Any]:
        """Yield what can be said once a message is there."""
        if message.topic == self._topics.instances:
            self._instances.append(message.content)
        elif message.topic == self._topics.depth:
            self._depths[stamp_of(message.content)] = message.content
            while len(self._depths) > _WAITING:
                del self._depths[next(iter(self._depths))]
        else:
            return
        while self._instances and (
                (stamp := stamp_of(self._instances[0])) in self._depths
                or max(self._depths, default=0) > stamp or len(self._instances) > _WAITING):
            yield from self._lift(self._instances.popleft(), self._depths.get(stamp))

    def _lift(self, instances: Any, depth: Any | None) -> Iterator[Any]:
        if depth is None:
            self.dropped['no depth of their stamp'] += 1
            return
        try:
            pair = self._pipeline.lift(instances, depth, self._depth_info, self._image_info)
        except LiftingError as error:
            self.dropped[str(error)] += 1
            return
        yield lifted_message(pair, instances, time_message(stamp_of(depth)))


def _first(bag: Path, topic: str, kinds: dict[str, str]) -> Any | None:
    """Return the first camera_info of a topic; None without one."""
    if kinds.get(topic) != 'sensor_msgs/msg/CameraInfo':
        return None
    return next((message.content for message in read_bag(bag, topic)), None)


def _beside(topic: str) -> str:
    for ending in ('/compressedDepth', '/compressed'):
        topic = topic.removesuffix(ending)
    return f'{topic.rpartition("/")[0]}/camera_info'


def _read_transforms(
    bag: Path, topics: LiftedTopics, kinds: dict[str, str]
) -> TransformBuffer | None:
    """Return all transforms of a bag; None if it has none."""
    names = [topics.pose] if topics.pose else [n for n in ('/tf_static', '/tf') if n in kinds]
    if not names:
        return None
    buffer = TransformBuffer(_FOREVER)
    camera = _first_frame(bag, topics.instances)
    for message in read_bag(bag, *names):
        if topics.pose:
            pose, header = message.content.pose, message.content.header
            _insert(buffer, header, camera, pose.position, pose.orientation, is_static=False)
            continue
        for item in message.content.transforms:
            _insert(
                buffer, item.header, item.child_frame_id, item.transform.translation,
                item.transform.rotation, is_static=message.topic == '/tf_static')
    return buffer


def _first_frame(bag: Path, topic: str) -> str:
    return next((str(m.content.header.frame_id) for m in read_bag(bag, topic)), '')


def _insert(
    buffer: TransformBuffer, header: Any, child: str, shift: Any, turn: Any, is_static: bool
) -> None:
    try:
        transform = Transform.from_numbers(
            (shift.x, shift.y, shift.z), (turn.x, turn.y, turn.z, turn.w))
    except LiftingError as error:
        _LOGGER.warning("a transform of '%s' is left out: %s", child, error)
        return
    stamp = int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)
    buffer.insert(str(header.frame_id), child, stamp, transform, is_static)
