"""Names of topics, resolved once: the rules for remapping never see a name that they have made."""

from __future__ import annotations

from rclpy.node import Node

from stmask_ros.ros.qos import TopicError


def compressed_topic(node: Node, image: str) -> str:
    """
    Return the topic of the compressed images of a topic of raw ones.

    image: as in the node's rules for remapping, and so is what is returned. A rule for `image`
    moves its compressed images along, unless there is a rule for these. Raises TopicError if the
    topic that they are moved to is itself remapped.
    """
    own = f'{image}/compressed'
    if node.resolve_topic_name(own) != node.resolve_topic_name(own, only_expand=True):
        return own
    moved = f'{node.resolve_topic_name(image)}/compressed'
    if (further := node.resolve_topic_name(moved)) != moved:
        raise TopicError(
            f'{image} is remapped, so that its compressed images come on {moved}, which is '
            f'remapped to {further}: say which is meant, with a rule for {own}'
        )
    return moved
