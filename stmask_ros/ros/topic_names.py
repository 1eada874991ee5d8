# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Names of topics, resolved once: the rules for remapping never see a name that they have made."""

from __future__ import annotations

from rclpy.node import Node

from stmask_ros.ros.qos import TopicError


def transport_topic(node: Node, image: str, transport: str) -> str:
    """
    Return the topic of a topic of raw images on which another transport carries them.

    image: as in the node's rules for remapping, and so is what is returned. transport: its name,
    such as 'compressed', or 'raw'. A rule for `image` moves the other transports along, unless
    there is a rule for these. Raises TopicError if the topic that they are moved to is itself
    remapped.
    """
    if transport == 'raw':
        return image
    own = f'{image}/{transport}'
    if node.resolve_topic_name(own) != node.resolve_topic_name(own, only_expand=True):
        return own
    moved = f'{node.resolve_topic_name(image)}/{transport}'
    if (further := node.resolve_topic_name(moved)) != moved:
        raise TopicError(
            f'{image} is remapped, so that its {transport} images come on {moved}, which is '
            f'remapped to {further}: say which is meant, with a rule for {own}'
        )
    return moved
