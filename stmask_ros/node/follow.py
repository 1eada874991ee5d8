# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The action ~/follow: choose an object and be told of it, image by image, until it is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from rclpy.action.server import ActionServer, CancelResponse, RCLError
from rclpy.node import Node
from std_msgs.msg import Header

from stmask_ros import action
from stmask_ros.masks import MaskEncoding
from stmask_ros.node.selection import Choice, Outcome, Selection, reference_of
from stmask_ros.ros.messages import InstanceFormat
from stmask_ros.ros.selected_message import selected_instance
from stmask_ros.tracking.selection import SelectedObject, SelectionStatus


class FollowEnd(IntEnum):
    """Values of Follow.Result.reason."""

    NOT_CHOSEN = 1
    LOST = 2
    CANCELLED = 3
    PREEMPTED = 4
    UNTRACKED = 5
    NEW_EPOCH = 6
    DEACTIVATED = 7


@dataclass
class _Goal:
    """handle: rclpy's. images: of which feedback told."""

    handle: Any
    choice: Choice
    images: int = 0

    @property
    def selected_id(self) -> int:
        """Who is followed; 0 if nothing could be chosen."""
        return self.choice.track_id


class Follow:
    """
    One goal at a time; the newest wins.

    A goal waits as accepted, and is executed when it ends: a callback that waited would keep the
    executor busy, or all its other callbacks waiting.
    """

    def __init__(self, node: Node, prefix: str, selection: Selection) -> None:
        """Offer the action; prefix: comes before its name. selection: to choose from."""
        self._node = node
        self._selection = selection
        self._lock = threading.Lock()
        self._goal: _Goal | None = None
        # rclpy leaves it to the garbage collector if nobody holds it.
        self._server = ActionServer(
            node, action.Follow, f'~/{prefix}follow', _never_called,
            handle_accepted_callback=self._on_accepted, cancel_callback=self._on_cancel,
        )

    def tell(
        self, objects: Sequence[SelectedObject], epoch: int, header: Header,
        written: InstanceFormat,
    ) -> None:
        """Tell of an image; objects: all that are chosen. epoch: of its result."""
        with self._lock:
            goal = self._goal
            item = next((
                its for its in objects if goal is not None and its.selected_id == goal.selected_id
            ), None)
            if goal is None or item is None:
                return
            goal.images += 1
            goal.handle.publish_feedback(action.Follow.Feedback(
                header=header,
                object=selected_instance(item, replace(written, encoding=MaskEncoding.NONE)),
            ))
            if item.status is SelectionStatus.LOST:
                self._end(*_loss(goal, epoch))

    def end(self, reason: FollowEnd, message: str, selected_id: int = 0) -> None:
        """End the goal, if there is one, and if it follows this object; 0: whatever it follows."""
        with self._lock:
            if self._goal is not None and selected_id in (0, self._goal.selected_id):
                self._end(reason, message)

    def destroy(self) -> None:
        """Take the action back."""
        self._server.destroy()

    def _on_accepted(self, handle: Any) -> None:
        with self._lock:
            if self._goal is not None:
                self._end(FollowEnd.PREEMPTED, 'another goal took its place')
            choice = self._selection.choose(reference_of(handle.request.object))
            self._goal = _Goal(handle, choice)
            if choice.outcome is not Outcome.CHOSEN:
                self._end(FollowEnd.NOT_CHOSEN, choice.message)

    def _on_cancel(self, handle: Any) -> CancelResponse:
        # rclpy marks the goal after this callback: it can end only then.
        if self._node.executor is not None:
            self._node.executor.create_task(self._cancel, handle)
        return CancelResponse.ACCEPT

    def _cancel(self, handle: Any) -> None:
        with self._lock:
            if self._goal is not None and self._goal.handle == handle:
                self._end(FollowEnd.CANCELLED, 'cancelled')

    def _end(self, reason: FollowEnd, message: str) -> None:
        goal, self._goal = self._goal, None
        assert goal is not None
        if goal.selected_id and not goal.choice.was_chosen:
            self._selection.release(goal.selected_id)
        result = action.Follow.Result(
            reason=int(reason), message=message, selected_id=goal.selected_id, images=goal.images
        )
        _execute(goal.handle, lambda handle: _concluded(handle, result))


def _execute(handle: Any, conclude: Callable[[Any], action.Follow.Result]) -> None:
    try:
        handle.execute(conclude)
    except RCLError:
        # A cancel came between the two looks that rclpy takes at the state: it is cancelling.
        handle.execute(conclude)


def _loss(goal: _Goal, epoch: int) -> tuple[FollowEnd, str]:
    if epoch != goal.choice.epoch:
        return FollowEnd.NEW_EPOCH, f'epoch {epoch} has begun, and track ids start again'
    return FollowEnd.LOST, 'not found again within reacquire_time'


def _concluded(handle: Any, result: action.Follow.Result) -> action.Follow.Result:
    if handle.is_cancel_requested:
        handle.canceled()
    else:
        handle.abort()
    return result


def _never_called(_handle: Any) -> action.Follow.Result:
    return action.Follow.Result()
