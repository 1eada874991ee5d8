# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A subscription with a thread of its own, so that an image is no work for the executor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from stmask_ros.ros.qos import TopicError, make_subscription
from stmask_ros.ros.waiting_thread import Unspun, WaitingThread

Message = TypeVar('Message')


class Receiver(Generic[Message]):
    """
    Receives messages from its construction until close().

    rclpy's executor gathers all services, timers and events of a node twice for every message:
    for an image of 640x360, half of the node's processor time. This thread waits for one
    subscription alone.
    """

    def __init__(
        self, node: Node, kind: type[Message], topic: str, callback: Callable[[Message], None],
        profile: QoSProfile, on_gap: Callable[[], None] | None = None,
    ) -> None:
        """
        Subscribe; raises TopicError.

        callback: called in the thread of this receiver. on_gap: called before a message that does
        not follow the last one of its publisher, where the middleware counts them.
        """
        self._node = node
        self._callback = callback
        self._on_gap = on_gap
        self._last_number: int | None = None
        self._subscription: Subscription[Message] = make_subscription(
            node, kind, topic, callback, profile, Unspun()
        )
        self._thread = WaitingThread(
            node, self._subscription, self._take, f'receiver {self.topic_name}',
            f'a message on {self.topic_name}')
        try:
            self._thread.start()
        except RuntimeError as error:
            node.destroy_subscription(self._subscription)
            raise TopicError(f'{topic} cannot be received: {error}') from error

    @property
    def topic_name(self) -> str:
        """The topic with its namespace and remappings."""
        return self._subscription.topic_name

    def close(self) -> None:
        """Receive nothing any more."""
        self._thread.stop()
        self._node.destroy_subscription(self._subscription)

    def _take(self) -> None:
        subscription = self._subscription
        taken = subscription.handle.take_message(subscription.msg_type, False)
        if taken is not None and not self._thread.is_stopping:
            self._count(taken[1].get('publication_sequence_number'))
            self._callback(taken[0])

    def _count(self, number: int | None) -> None:
        last, self._last_number = self._last_number, number
        if self._on_gap and last is not None and number is not None and number != last + 1:
            self._on_gap()
