"""A subscription with a thread of its own, so that an image is no work for the executor."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Any, Generic, TypeVar

from rclpy.callback_groups import CallbackGroup
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from stmask_ros.ros.qos import TopicError, make_subscription

Message = TypeVar('Message')

_PAUSE_AFTER_ERROR = 0.001
_STOP_TIMEOUT = 1.0


class Receiver(Generic[Message]):
    """
    Receives messages from its construction until close().

    rclpy's executor gathers all services, timers and events of a node twice for every message:
    for an image of 640x360, half of the node's processor time. This thread waits for one
    subscription alone.
    """

    def __init__(
        self, node: Node, kind: type[Message], topic: str, callback: Callable[[Message], None],
        profile: QoSProfile,
    ) -> None:
        """Subscribe; raises TopicError. callback: called in the thread of this receiver."""
        self._node = node
        self._callback = callback
        self._subscription: Subscription[Message] = make_subscription(
            node, kind, topic, callback, profile, _Unspun()
        )
        self._closing = Event()
        self._wake = GuardCondition(None, None, node.context)
        self._thread = Thread(target=self._run, name=f'receiver {self.topic_name}', daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._wake.destroy()
            node.destroy_subscription(self._subscription)
            raise TopicError(f'{topic} cannot be received: {error}') from error

    @property
    def topic_name(self) -> str:
        """The topic with its namespace and remappings."""
        return self._subscription.topic_name

    def close(self) -> None:
        """Receive nothing any more."""
        self._closing.set()
        self._wake.trigger()
        self._thread.join(_STOP_TIMEOUT)
        self._wake.destroy()
        self._node.destroy_subscription(self._subscription)

    def _run(self) -> None:
        # Both stay in being until this thread lets go of them, whoever destroys them meanwhile.
        with self._subscription.handle, self._wake.handle:
            context = self._node.context
            assert context.handle is not None
            wait_set = rclpy_implementation.WaitSet(1, 1, 0, 0, 0, 0, context.handle)
            while not self._closing.is_set() and context.ok():
                self._receive(wait_set)

    def _receive(self, wait_set: rclpy_implementation.WaitSet) -> None:
        """Wait until a message or close() wakes this thread, and hand the message on."""
        subscription = self._subscription
        try:
            wait_set.clear_entities()
            wait_set.add_subscription(subscription.handle)
            wait_set.add_guard_condition(self._wake.handle)
            wait_set.wait(-1)
            taken = subscription.handle.take_message(subscription.msg_type, False)
            if taken is not None and not self._closing.is_set():
                self._callback(taken[0])
        except Exception as error:  # one message that cannot be read must not cost the next
            if not self._closing.wait(_PAUSE_AFTER_ERROR) and self._node.context.ok():
                self._node.get_logger().error(
                    f'a message on {self.topic_name} was lost: {error}',
                    throttle_duration_sec=10.0)


class _Unspun(CallbackGroup):
    """Keeps executors away from what belongs to it."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        pass
