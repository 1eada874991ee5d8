# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Requests that make no sense, come in storms, or at the wrong time: answered, one by one."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from action_msgs.msg import GoalStatus
from frame_results import Seen, frame_result
from lifecycle_msgs.msg import Transition
from rclpy.action import ActionClient
from rclpy.action.server import GoalEvent
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from segmenter_process import UNTRAINED, SegmenterProcess, image

from stmask_ros.action import Follow
from stmask_ros.msg import ObjectReference
from stmask_ros.node import follow as node_follow
from stmask_ros.node.selection import Selection
from stmask_ros.srv import Segment, Track, Untrack

NUMBERS = (0.0, -1.0, 40.0, 80.0, 1e30, math.inf, -math.inf, math.nan)
IDS = (0, 1, 2, 3, 5, 2**32 - 1)


@pytest.fixture
def segmenter() -> Iterator[SegmenterProcess]:
    node = SegmenterProcess(
        'requests', '-p', f'model:={UNTRAINED}', '-p', 'device:=cpu', '-p', 'torch_threads:=1',
        '-p', 'max_missed:=1')
    node.activate()
    yield node
    node.close()


def any_reference(
    rng: np.random.Generator, stamps: int, tracks: list[int]
) -> ObjectReference:
    """
    Return a reference that is right, or has right and wrong values.

    stamps: of the images so far [s], from 1. tracks: ids in the newest one.
    """
    if tracks and rng.random() < 0.4:
        return ObjectReference(track_id=int(rng.choice(tracks)))
    reference = ObjectReference(
        epoch=int(rng.choice((0, 0, 1, 2, 99))), track_id=int(rng.choice(IDS)))
    reference.stamp.sec = int(rng.choice((0, 0, -5, 2**31 - 1, rng.integers(1, stamps + 1))))
    reference.stamp.nanosec = int(rng.choice((0, 0, 2**32 - 1)))
    for name in ('x', 'y', 'width', 'height'):
        setattr(reference, name, float(rng.choice(NUMBERS)))
    return reference


def sum_of(facts: dict[str, str], *names: str) -> int:
    return sum(int(facts[f'objects {name}']) for name in names)


def test_a_storm_of_choices(segmenter: SegmenterProcess, long: bool) -> None:
    """Right and wrong ones, while images change and epochs begin: all answered, all counted."""
    rng = np.random.default_rng(0)
    track, untrack = (
        segmenter.client.create_client(kind, f'/requests/{name}')
        for kind, name in ((Track, 'track'), (Untrack, 'untrack')))
    follow = ActionClient(segmenter.client, Follow, '/requests/follow')
    segmenter.spin_until(
        lambda: track.service_is_ready() and untrack.service_is_ready()
        and follow.server_is_ready(), 'the requests')
    asked = 0
    for number in range(1, 100 if long else 15):
        answer = segmenter.answer_to(image(1000 * number, shift=40 * (number % 5)))
        tracks = [its.track_id for its in answer.instances]
        calls: list[Any] = [
            track.call_async(Track.Request(object=any_reference(rng, number, tracks)))
            for _ in range(8)]
        goals = [follow.send_goal_async(Follow.Goal(object=any_reference(rng, number, tracks)))
                 for _ in range(2)]
        calls += goals
        calls.append(untrack.call_async(Untrack.Request(selected_id=int(rng.choice(IDS)))))
        segmenter.spin_until(
            lambda calls=calls: all(call.done() for call in calls), 'the answers')
        assert all(call.result() is not None for call in calls)
        for goal in goals[:number % 3]:
            goal.result().cancel_goal_async()
        if number % 7 == 0:
            segmenter.reset()
        asked += 10
    facts = segmenter.facts()
    assert sum_of(facts, 'chosen so far') == sum_of(facts, 'chosen now', 'lost', 'released')
    assert sum_of(facts, 'chosen so far') > 0
    assert 0 < sum_of(facts, 'refused') < asked
    assert 'Traceback' not in segmenter.log()


def test_requests_at_the_wrong_time(segmenter: SegmenterProcess) -> None:
    """Refused in every state but active, and nothing is remembered from one life to the next."""
    answer = segmenter.answer(image(1000))
    known = answer.instances[0].track_id
    request = Track.Request(object=ObjectReference(track_id=known))
    assert segmenter.call(Track, 'track', request).success
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP,
                       Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        assert segmenter.change_state(transition)
        refused = segmenter.call(Track, 'track', request)
        assert not refused.success
        assert refused.outcome in (Track.Response.NOT_ACTIVE, Track.Response.NO_SUCH_IMAGE)
    facts = segmenter.facts()
    assert sum_of(facts, 'chosen now') == 0
    assert sum_of(facts, 'released') == 1
    assert 'Traceback' not in segmenter.log()


def test_a_cancel_that_meets_the_end_of_its_goal() -> None:
    """The cancel comes between rclpy's look at the goal's state and its change: still a result."""
    context = Context()
    rclpy.init(context=context)
    node = Node('cancelled', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    selection = Selection()
    selection.begin()
    selection.remember(1, 1, frame_result(Seen(7, (10, 10, 20, 20))))
    follow = node_follow.Follow(node, '', selection)
    client = ActionClient(node, Follow, '~/follow')
    try:
        assert client.wait_for_server(60)
        accepted = client.send_goal_async(Follow.Goal(object=ObjectReference(track_id=7)))
        executor.spin_until_future_complete(accepted, 60)
        result = accepted.result().get_result_async()
        goal = follow._goal
        assert goal is not None
        _cancel_before_the_next_change(goal.handle)
        follow.end(node_follow.FollowEnd.UNTRACKED, 'released')
        executor.spin_until_future_complete(result, 60)
        assert result.result().status == GoalStatus.STATUS_CANCELED
        assert result.result().result.reason == Follow.Result.UNTRACKED
    finally:
        follow.destroy()
        client.destroy()
        node.destroy_node()
        rclpy.shutdown(context=context)


def _cancel_before_the_next_change(handle: Any) -> None:
    change = handle._update_state

    def cancelled_first(event: GoalEvent) -> None:
        handle._update_state = change
        change(GoalEvent.CANCEL_GOAL)
        change(event)

    handle._update_state = cancelled_first


def test_no_more_objects_than_can_be(segmenter: SegmenterProcess) -> None:
    """The seventeenth is refused, and one that is released makes room."""
    answer = segmenter.answer(image(1000))
    ids = [its.track_id for its in answer.instances]
    assert len(ids) > 16
    outcomes = [
        segmenter.call(Track, 'track', Track.Request(object=ObjectReference(
            stamp=answer.header.stamp, track_id=number))).outcome
        for number in itertools.islice(ids, 17)]
    assert outcomes == [Track.Response.CHOSEN] * 16 + [Track.Response.TOO_MANY]
    assert segmenter.call(Untrack, 'untrack', Untrack.Request(selected_id=ids[0])).success
    again = Track.Request(object=ObjectReference(stamp=answer.header.stamp, track_id=ids[16]))
    assert segmenter.call(Track, 'track', again).success


def test_a_storm_of_single_images(segmenter: SegmenterProcess) -> None:
    """Good and bad ones: four wait at most, each is answered, and the stream goes on beside."""
    good, bad, small = image(1000), image(1000), image(1000)
    bad.height = 2**31
    small.data = small.data[:100]
    client = segmenter.client.create_client(Segment, '/requests/segment')
    segmenter.spin_until(client.service_is_ready, 'the service')
    # An answer is lost while the server has not discovered this client: until one has come.
    first = [client.call_async(Segment.Request(image=bad))]
    while not first[-1].done():
        end = time.monotonic() + 2.0
        segmenter.spin_until(
            lambda end=end: first[-1].done() or time.monotonic() > end, 'the first answer')
        if not first[-1].done():
            first.append(client.call_async(Segment.Request(image=bad)))
    sent = len(first)
    calls = [client.call_async(Segment.Request(image=message))
             for _ in range(3) for message in (good, bad, small)]
    answer = segmenter.answer_to(image(2000))
    segmenter.spin_until(lambda: all(call.done() for call in calls), 'the answers')
    answered = [call.result() for call in calls]
    assert all(its.success or its.message for its in answered)
    assert not any(its.success for its in answered[1::3] + answered[2::3])
    assert any(its.success for its in answered[::3])
    assert segmenter.answer_to(image(2100)).epoch == answer.epoch
    facts = segmenter.facts()
    counts = [int(facts[f'segment requests {what}']) for what in (
        'received', 'answered', 'refused', 'waiting')]
    assert counts == [sent + 9, sum(its.success for its in answered), sent + 9 - counts[1], 0]
    assert 'Traceback' not in segmenter.log()
