"""A node that writes topics into a bag as they arrive, without taking the messages apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from stmask_ros.bags.files import BagWriter

_DEPTH = 100


@dataclass(frozen=True)
class Topic:
    """A topic to record: its full name, its message class, and that class's name in bags."""

    name: str
    message: type[Any]
    type_name: str


class Recorder:
    """Records the topics of a node into a new MCAP bag until it is closed."""

    def __init__(self, node: Node, folder: Path, topics: list[Topic]) -> None:
        """Subscribe reliably; raises BagError if the folder is there already."""
        self.counts: Counter[str] = Counter()
        self._clock = node.get_clock()
        self._bag = BagWriter(folder)
        self._bag.__enter__()
        profile = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        self._subscriptions = [
            node.create_subscription(
                topic.message, topic.name, partial(self._write, topic), profile, raw=True
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
