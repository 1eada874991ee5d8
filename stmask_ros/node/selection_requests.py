# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How users choose objects of a camera, and are told of them: services, a topic, an action."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header

from stmask_ros.families.appearance import Appearance
from stmask_ros.msg import SelectedInstanceArray
from stmask_ros.node.follow import Follow, FollowEnd
from stmask_ros.node.parameters import Parameters
from stmask_ros.node.selection import (
    Outcome,
    Selection,
    SelectionCounts,
    reference_of,
)
from stmask_ros.ros.messages import InstanceFormat, stamp_of
from stmask_ros.ros.qos import make_publisher
from stmask_ros.ros.selected_message import selected_message
from stmask_ros.srv import Track, Untrack
from stmask_ros.tracking.results import FrameResult


class SelectionRequests:
    """Offers ~/track, ~/untrack and ~/follow for the node's life, ~/selected while configured."""

    def __init__(self, node: Node, prefix: str) -> None:
        """Offer them; prefix: comes before their names."""
        self._node = node
        self._prefix = prefix
        self._selection = Selection()
        self._publisher: Publisher[SelectedInstanceArray] | None = None
        self._follow = Follow(node, prefix, self._selection)
        node.create_service(Track, f'~/{prefix}track', self._on_track)
        node.create_service(Untrack, f'~/{prefix}untrack', self._on_untrack)

    def advertise(self) -> None:
        """Make the topic; raises TopicError."""
        self._publisher = make_publisher(
            self._node, SelectedInstanceArray, f'~/{self._prefix}selected',
            QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE),
        )

    def withdraw(self) -> None:
        """Take the topic back, if it is there."""
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
        self._publisher = None

    def begin(self) -> None:
        """Take requests from now on."""
        self._selection.begin()

    def end(self) -> None:
        """Forget all objects, and refuse requests: no images are answered any more."""
        self._selection.end()
        self._follow.end(FollowEnd.DEACTIVATED, 'the node was deactivated')

    def remember(self, header: Header, received_ns: int, result: FrameResult) -> None:
        """Take the result of an image, before it is published; see Selection.remember()."""
        self._selection.remember(stamp_of(header), received_ns, result)

    def advance(
        self, result: FrameResult, header: Header,
        appearance: Callable[[], Appearance | None], parameters: Parameters,
        written: InstanceFormat,
    ) -> None:
        """Carry the chosen objects on, and tell of them; costs nothing without any."""
        if not self._selection.has_objects:
            return
        objects = self._selection.advance(result, appearance, parameters.reacquisition())
        if objects and self._publisher and self._publisher.get_subscription_count() > 0:
            self._publisher.publish(selected_message(objects, result, header, written))
        self._follow.tell(objects, result.epoch, header, written)

    def destroy(self) -> None:
        """Take the action back; the node takes back the rest."""
        self._follow.destroy()

    def counts(self) -> SelectionCounts:
        """Return what became of all that was chosen."""
        return self._selection.counts()

    def _on_track(self, request: Track.Request, response: Track.Response) -> Track.Response:
        choice = self._selection.choose(reference_of(request.object))
        response.success = choice.outcome is Outcome.CHOSEN
        response.outcome, response.message = int(choice.outcome), choice.message
        response.track_id, response.epoch = choice.track_id, choice.epoch
        response.confidence = choice.confidence
        return response

    def _on_untrack(
        self, request: Untrack.Request, response: Untrack.Response
    ) -> Untrack.Response:
        released = self._selection.release(request.selected_id)
        for selected_id in released:
            self._follow.end(FollowEnd.UNTRACKED, 'released by ~/untrack', selected_id)
        response.success = bool(released) or request.selected_id == 0
        response.message = (
            f'released {released}' if response.success
            else f'no object is chosen as {request.selected_id}'
        )
        return response
