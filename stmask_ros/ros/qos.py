# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Topics whose quality of service users can override with parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSPolicyKind, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

_POLICIES = (
    QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY, QoSPolicyKind.HISTORY,
    QoSPolicyKind.DEPTH,
)


class TopicError(Exception):
    """A topic cannot be made as the parameters want it; the message says why."""


def make_publisher(node: Node, kind: type, topic: str, profile: QoSProfile) -> Publisher[Any]:
    """
    Advertise a topic whose reliability, durability, history and depth can be overridden.

    profile: without overrides; rclpy writes those into it. Raises TopicError if one is wrong.
    """
    with _explained(node, topic):
        return node.create_publisher(
            kind, topic, profile, qos_overriding_options=QoSOverridingOptions(_POLICIES)
        )


def make_subscription(
    node: Node, kind: type, topic: str, callback: Callable[[Any], None], profile: QoSProfile,
    group: CallbackGroup,
) -> Subscription[Any]:
    """Subscribe to a topic, as make_publisher advertises one."""
    # No events: who waits for one is woken by every message as well.
    with _explained(node, topic):
        return node.create_subscription(
            kind, topic, callback, profile, callback_group=group,
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            qos_overriding_options=QoSOverridingOptions(_POLICIES),
        )


@contextmanager
def _explained(node: Node, topic: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # rclpy raises whatever a wrong value leads it to
        raise TopicError(
            f'{node.resolve_topic_name(topic)} cannot be made, check qos_overrides: {error}'
        ) from error
