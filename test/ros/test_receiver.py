# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A subscription with a thread of its own: no executor spins in these tests."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import pytest
import rclpy
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from std_msgs.msg import Int32

from stmask_ros.ros.receiver import Receiver

TOPIC = '/receiver/numbers'
LONG = 60.0


@pytest.fixture
def node() -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context)
    node = Node('receiver', context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


@pytest.fixture
def publisher(node: Node) -> Publisher:
    return node.create_publisher(Int32, TOPIC, 10)


def receiver_of(node: Node, callback: Callable[[Int32], None]) -> Receiver[Int32]:
    return Receiver(node, Int32, TOPIC, callback, QoSProfile(depth=10))


def wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(round(LONG / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError(f'not within {LONG} s')


def matched(publisher: Publisher, subscriptions: int) -> None:
    wait_until(lambda: publisher.get_subscription_count() == subscriptions)


def test_messages_come_in_order_and_without_an_executor(node: Node, publisher: Publisher) -> None:
    """All that are published arrive, in a thread that is not this one."""
    arrived: queue.Queue[tuple[int, str]] = queue.Queue()
    receiver = receiver_of(
        node, lambda message: arrived.put((message.data, threading.current_thread().name)))
    matched(publisher, 1)
    for number in range(5):
        publisher.publish(Int32(data=number))
    name = f'receiver {receiver.topic_name}'
    assert [arrived.get(timeout=LONG) for _ in range(5)] == [(n, name) for n in range(5)]
    receiver.close()


def test_a_gap_is_told_before_the_message_behind_it(node: Node, publisher: Publisher) -> None:
    """A queue of one keeps the newest of what came while the callback was busy."""
    events: queue.Queue[str | int] = queue.Queue()
    go_on = threading.Event()

    def busy(message: Int32) -> None:
        events.put(message.data)
        go_on.wait(LONG)

    receiver = Receiver(
        node, Int32, TOPIC, busy, QoSProfile(depth=1), lambda: events.put('gap'))
    matched(publisher, 1)
    publisher.publish(Int32(data=0))
    assert events.get(timeout=LONG) == 0
    for number in range(1, 6):
        publisher.publish(Int32(data=number))
    publisher.wait_for_all_acked(Duration(seconds=LONG))
    go_on.set()
    assert [events.get(timeout=LONG) for _ in range(2)] == ['gap', 5]
    publisher.publish(Int32(data=6))
    assert events.get(timeout=LONG) == 6
    receiver.close()


def test_an_executor_leaves_the_messages_alone(node: Node, publisher: Publisher) -> None:
    """A node that is spun as well has each message once."""
    arrived: queue.Queue[int] = queue.Queue()
    receiver = receiver_of(node, lambda message: arrived.put(message.data))
    matched(publisher, 1)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    for number in range(20):
        publisher.publish(Int32(data=number))
        executor.spin_once(timeout_sec=0.01)
        assert arrived.get(timeout=LONG) == number
    assert arrived.empty()
    executor.remove_node(node)
    receiver.close()


def test_nothing_comes_after_close_and_it_can_begin_again(
    node: Node, publisher: Publisher
) -> None:
    """No thread and no subscription is left, a hundred times in a row."""
    threads = threading.active_count()
    for number in range(100):
        arrived: queue.Queue[int] = queue.Queue()
        receiver = receiver_of(node, lambda message, to=arrived: to.put(message.data))
        matched(publisher, 1)
        publisher.publish(Int32(data=number))
        assert arrived.get(timeout=LONG) == number
        receiver.close()
        assert threading.active_count() == threads
        matched(publisher, 0)


def test_an_error_costs_one_message(
    node: Node, publisher: Publisher, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever happens to a message, the next one is received; the log names the topic."""
    arrived: queue.Queue[int] = queue.Queue()

    def fail_once(message: Int32) -> None:
        if message.data == 0:
            raise ValueError('of no use')
        arrived.put(message.data)

    receiver = receiver_of(node, fail_once)
    matched(publisher, 1)
    publisher.publish(Int32(data=0))
    publisher.publish(Int32(data=1))
    assert arrived.get(timeout=LONG) == 1
    receiver.close()
    assert f'a message on {TOPIC} was lost: of no use' in capfd.readouterr().err


def test_the_end_of_ros_is_the_end_of_the_thread(node: Node) -> None:
    """A signal takes the context down before anybody closes the receiver."""
    receiver = receiver_of(node, lambda _message: None)
    threads = threading.active_count()
    node.context.shutdown()
    receiver.close()
    assert threading.active_count() == threads - 1
