"""Names are resolved once: a camera's images come from where plain rclpy would take them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from stmask_ros.node.channel import Channel
from stmask_ros.node.tracing import Tracer
from stmask_ros.ros.mailbox import MailboxSet
from stmask_ros.ros.qos import TopicError
from stmask_ros.ros.topic_names import compressed_topic

SWAP = ['left/image:=right/image', 'right/image:=left/image']
CHAIN = ['left/image:=/a', '/a:=/b', 'right/image:=~/own']


@contextmanager
def node_with(rules: list[str], namespace: str) -> Iterator[Node]:
    words = [word for rule in [*rules, f'__ns:={namespace}'] for word in ('-r', rule)]
    context = Context()
    rclpy.init(args=['--ros-args', *words], context=context)
    node = Node('segmenter', context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def plain(node: Node, kind: type, topic: str) -> str:
    subscription = node.create_subscription(kind, topic, print, 1)
    name: str = subscription.topic_name
    node.destroy_subscription(subscription)
    return name


def connected(node: Node, camera: str, compressed: bool) -> str:
    """Return the topic that a camera's channel subscribes to, as the graph shows it."""
    (mailbox,) = MailboxSet(1).boxes
    channel = Channel(node, camera, mailbox, Tracer(node.get_logger(), 'test'), compressed)
    before = dict(node.get_subscriber_names_and_types_by_node('segmenter', node.get_namespace()))
    channel.connect()
    after = dict(node.get_subscriber_names_and_types_by_node('segmenter', node.get_namespace()))
    channel.disconnect()
    (topic,) = set(after) - set(before)
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
        compressed_topic(node, 'left/image')


def test_publishers_are_looked_for_where_images_come_from() -> None:
    """The advice about publishers is of that topic too."""
    with node_with(['left/image:=/a', '/a:=/b'], '/') as node:
        with node_with([], '/') as other:
            publisher = other.create_publisher(CompressedImage, '/a', 1)
            (mailbox,) = MailboxSet(1).boxes
            tracer = Tracer(node.get_logger(), 'test')
            channel = Channel(node, 'left', mailbox, tracer, compressed=False)
            channel.connect()
            assert channel._adviser is not None
            advice = []
            for _ in range(500):
                advice = channel._adviser.check()
                if advice:
                    break
                time.sleep(0.02)
            channel.disconnect()
            other.destroy_publisher(publisher)
        assert len(advice) == 1
        assert 'on /a:' in advice[0]
