# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Says what to do when publisher and subscription cannot talk to each other."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.topic_endpoint_info import TopicEndpointInfo


class PublisherAdviser:
    """Finds publishers whose type or quality of service a subscription cannot take."""

    def __init__(self, node: Node, topic: str, kind: str, requested: QoSProfile) -> None:
        """
        Watch a topic.

        topic: as the node's rules for remapping find it. kind: of message, such as
        sensor_msgs/msg/Image. requested: what the subscription asks for, after any overrides.
        """
        self._node = node
        self._topic = topic
        self._topic_name = node.resolve_topic_name(topic)
        self._kind = kind
        self._requested = requested
        self._warned: set[tuple[int, ...]] = set()

    def check(self) -> list[str]:
        """Return what to do about each such publisher; warn of those that are new."""
        found = []
        for publisher in self._node.get_publishers_info_by_topic(self._topic):
            advice = self._advice(publisher)
            if advice:
                found.append(
                    f'no images will come from {_name(publisher)} on {self._topic_name}: {advice}'
                )
                self._warn_once(publisher, found[-1])
        return found

    def _warn_once(self, publisher: TopicEndpointInfo, advice: str) -> None:
        identity = tuple(publisher.endpoint_gid)
        if identity not in self._warned:
            self._warned.add(identity)
            self._node.get_logger().warning(advice)

    def _advice(self, publisher: TopicEndpointInfo) -> str:
        """Return what is wrong with a publisher, and the cure; '' if nothing is."""
        if publisher.topic_type != self._kind:
            return (
                f'it publishes {publisher.topic_type}, this node takes {self._kind}. '
                'Remap the topic to one of that type, or change the parameter image_transport: '
                'raw takes Image, compressed and zstd take CompressedImage, ffmpeg FFMPEGPacket '
                'and foxglove CompressedVideo, from the topic with that name behind its own'
            )
        offered = publisher.qos_profile
        compatibility, reason = qos_check_compatible(offered, self._requested)
        if compatibility != QoSCompatibility.ERROR:
            return ''
        return (
            f'it offers {_words(offered)}, this node requests {_words(self._requested)} '
            f'({reason}). '
            f'Request less, with the parameters qos_overrides.{self._topic_name}.subscription.'
            'reliability: best_effort and durability: volatile, or let the publisher offer more'
        )


def _name(publisher: TopicEndpointInfo) -> str:
    # A publisher is often found before its node is, and has a placeholder for a name then.
    if 'UNKNOWN' in publisher.node_name:
        return 'a publisher'
    return f'{publisher.node_namespace.rstrip("/")}/{publisher.node_name}'


def _words(profile: QoSProfile) -> str:
    return f'{profile.reliability.name.lower()} {profile.durability.name.lower()}'
