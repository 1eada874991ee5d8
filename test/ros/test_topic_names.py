# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Names are resolved once: a camera's images come from where plain rclpy would take them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import rclpy
from publisher_process import publisher_on
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from stmask_ros.node.channel import Channel
from stmask_ros.node.tracing import Tracer
from stmask_ros.ros.image_transports import image_transport
from stmask_ros.ros.mailbox import MailboxSet
from stmask_ros.ros.qos import TopicError
from stmask_ros.ros.topic_names import transport_topic

NUMBERS = itertools.count()
SWAP = ['left/image:=right/image', 'right/image:=left/image']
CHAIN = ['left/image:=/a', '/a:=/b', 'right/image:=~/own']


@contextmanager
def node_with(rules: list[str], namespace: str) -> Iterator[Node]:
    words = [word for rule in [*rules, f'__ns:={namespace}'] for word in ('-r', rule)]
    context = Context()
    rclpy.init(args=['--ros-args', *words], context=context)
    # A name of its own: the graph still shows the node of the test before for a while.
    node = Node(f'segmenter_{next(NUMBERS)}', context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        context.try_shutdown()


def heard(node: Node) -> set[str]:
    """Return the topics that a node subscribes to, as the graph shows them."""
    return set(dict(
        node.get_subscriber_names_and_types_by_node(node.get_name(), node.get_namespace())))


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait: the graph follows a moment later."""
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


def plain(node: Node, kind: type, topic: str) -> str:
    subscription = node.create_subscription(kind, topic, print, 1)
    name: str = subscription.topic_name
    wait_for(lambda: name in heard(node))
    node.destroy_subscription(subscription)
    wait_for(lambda: name not in heard(node))
    return name


def connected(node: Node, camera: str, compressed: bool) -> str:
    """Return the topic on which a camera's channel receives images, as the graph shows it."""
    (mailbox,) = MailboxSet(1).boxes
    channel = Channel(
        node, camera, mailbox, Tracer(node.get_logger(), 'test'),
        image_transport('compressed' if compressed else 'raw'))
    before = heard(node)

    def new() -> list[str]:
        return [name for name in heard(node) - before if not name.endswith('/ignore_mask')]

    channel.connect()
    wait_for(lambda: bool(new()))
    (topic,) = new()
    channel.disconnect()
    return topic


@pytest.mark.parametrize('namespace', ['/', '/robot'])
@pytest.mark.parametrize('rules', [[], SWAP, CHAIN], ids=['none', 'swap', 'chain'])
def test_raw_images(rules: list[str], namespace: str) -> None:
    with node_with(rules, namespace) as node:
        for camera in ('left', 'right'):
            expected = plain(node, Image, f'{camera}/image')
            assert connected(node, camera, compressed=False) == expected


@pytest.mark.parametrize('namespace', ['/', '/robot'])
@pytest.mark.parametrize('rules', [
    [], ['left/image/compressed:=right/image/compressed',
         'right/image/compressed:=left/image/compressed'],
    ['left/image/compressed:=/a', '/a:=/b'],
], ids=['none', 'swap', 'chain'])
def test_compressed_images_that_are_remapped(rules: list[str], namespace: str) -> None:
    with node_with(rules, namespace) as node:
        for camera in ('left', 'right'):
            expected = plain(node, CompressedImage, f'{camera}/image/compressed')
            assert connected(node, camera, compressed=True) == expected


def test_compressed_images_move_with_the_raw_ones() -> None:
    with node_with(SWAP, '/robot') as node:
        assert connected(node, 'left', compressed=True) == '/robot/right/image/compressed'
        assert connected(node, 'right', compressed=True) == '/robot/left/image/compressed'


def test_what_would_be_remapped_twice_is_refused() -> None:
    with (node_with(['left/image:=/a', '/a/compressed:=/b'], '/') as node,
          pytest.raises(TopicError, match='with a rule for left/image/compressed')):
        transport_topic(node, 'left/image', 'compressed')


def test_publishers_are_looked_for_where_images_come_from() -> None:
    """The advice about publishers is of that topic too."""
    with node_with(['left/image:=/a', '/a:=/b'], '/') as node, publisher_on('/a'):
        (mailbox,) = MailboxSet(1).boxes
        channel = Channel(
            node, 'left', mailbox, Tracer(node.get_logger(), 'test'), image_transport('raw'))
        channel.connect()
        adviser = channel._adviser
        assert adviser is not None
        wait_for(lambda: bool(adviser.check()))
        (advice,) = adviser.check()
        channel.disconnect()
    assert 'on /a:' in advice
