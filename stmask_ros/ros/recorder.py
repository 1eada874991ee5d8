# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A node that writes topics into a bag as they arrive, without taking the messages apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import Qos

from stmask_ros.bags.files import BagWriter
from stmask_ros.bags.offered_qos import latched_qos, reliable_qos

_DEPTH = 100


@dataclass(frozen=True)
class Topic:
    """
    A topic to record: its full name, its message class, and that class's name in bags.

    latched: whether its last message is kept for those that come late.
    """

    name: str
    message: type[Any]
    type_name: str
    latched: bool = False

    @property
    def offered(self) -> Qos:
        """The quality of service with which a player is to publish it."""
        return latched_qos() if self.latched else reliable_qos()


class Recorder:
    """Records the topics of a node into a new MCAP bag until it is closed."""

    def __init__(self, node: Node, folder: Path, topics: list[Topic]) -> None:
        """Subscribe reliably; raises BagError if the folder is there already."""
        self.counts: Counter[str] = Counter()
        self._clock = node.get_clock()
        self._bag = BagWriter(folder, {topic.name: [topic.offered] for topic in topics})
        self._bag.__enter__()
        self._subscriptions = [
            node.create_subscription(
                topic.message, topic.name, partial(self._write, topic), _profile(topic), raw=True
            )
            for topic in topics
        ]

    def _write(self, topic: Topic, data: bytes) -> None:
        now = self._clock.now().nanoseconds
        self._bag.write(topic.name, topic.type_name, now, data)
        self.counts[topic.name] += 1

    def close(self) -> None:
        """Finish the bag."""
        self._bag.__exit__(None, None, None)


def _profile(topic: Topic) -> QoSProfile:
    durability = (
        DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE)
    return QoSProfile(
        depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
