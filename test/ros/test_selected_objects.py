# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Choosing objects over DDS: ~/track, ~/untrack, ~/selected and ~/follow against a live node."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import Transition
from rclpy.action import ActionClient
from segmenter_process import HEIGHT, RELIABLE, UNTRAINED, WIDTH, SegmenterProcess, image
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from stmask_ros.action import Follow
from stmask_ros.masks import decode
from stmask_ros.msg import (
    ObjectReference,
    SelectedInstance,
    SelectedInstanceArray,
    TrackedInstance,
    TrackedInstanceArray,
)
from stmask_ros.ros.image_messages import from_bgr
from stmask_ros.ros.messages import time_message
from stmask_ros.sources.built_in_clip import BuiltInClip
from stmask_ros.srv import Track, Untrack
from stmask_ros.tracking.pointing import overlaps

ANSWER = Track.Response


class Choosing:
    """A node, the topic of chosen objects, and what the requests are made of."""

    def __init__(self, name: str, *arguments: str, **process: Any) -> None:
        self.node = SegmenterProcess(
            name, '-p', f'model:={UNTRAINED}', '-p', 'device:=cpu', '-p', 'torch_threads:=1',
            *arguments, **process)
        self.node.activate()
        self.selected: list[SelectedInstanceArray] = []
        self.node.client.create_subscription(
            SelectedInstanceArray, f'/{name}/selected', self.selected.append, RELIABLE)
        self.node.spin_until(
            lambda: self.node.client.count_subscribers(f'/{name}/selected') > 0, 'the connection')

    def track(self, **reference: Any) -> Track.Response:
        request = Track.Request(object=ObjectReference(**reference))
        return self.node.call(Track, 'track', request)

    def untrack(self, selected_id: int) -> Untrack.Response:
        return self.node.call(Untrack, 'untrack', Untrack.Request(selected_id=selected_id))

    def tell_of(self, answer: TrackedInstanceArray) -> SelectedInstanceArray:
        """Return what ~/selected says of an answered image."""
        def there() -> list[SelectedInstanceArray]:
            return [its for its in self.selected if its.header == answer.header]

        self.node.spin_until(lambda: bool(there()), 'the chosen objects')
        return there()[-1]


@pytest.fixture
def start() -> Iterator[Callable[..., Choosing]]:
    running: list[Choosing] = []

    def _start(name: str, *arguments: str, **process: Any) -> Choosing:
        running.append(Choosing(name, *arguments, **process))
        return running[-1]

    yield _start
    for choosing in running:
        choosing.node.close()


def box_of(instance: TrackedInstance) -> dict[str, float]:
    return {'x': instance.x_min, 'y': instance.y_min, 'width': instance.x_max - instance.x_min,
            'height': instance.y_max - instance.y_min}


def test_one_is_chosen_and_told_of_alone(start: Callable[..., Choosing]) -> None:
    """By its track id, in the image that was named; ~/selected repeats what ~/instances says."""
    choosing = start('choosing')
    first = choosing.node.answer(image(1000))
    assert len(first.instances) > 1
    choosing.node.answer(image(1100))
    assert choosing.selected == []
    wanted = first.instances[-1]
    answer = choosing.track(
        stamp=first.header.stamp, epoch=first.epoch, track_id=wanted.track_id)
    assert answer.success, answer.message
    assert (answer.outcome, answer.track_id, answer.epoch) == (
        ANSWER.CHOSEN, wanted.track_id, first.epoch)
    assert answer.confidence == 1.0
    third = choosing.node.answer(image(1200))
    told = choosing.tell_of(third)
    (item,) = told.objects
    assert (told.epoch, told.sequence, told.model) == (third.epoch, 3, third.model)
    assert (told.image_width, told.image_height) == (WIDTH, HEIGHT)
    assert item.selected_id == wanted.track_id
    assert item.status == SelectedInstance.FOLLOWED
    assert math.isnan(item.likeness)
    assert [item.instance] == [
        its for its in third.instances if its.track_id == wanted.track_id]
    facts = choosing.node.facts()
    assert (facts['objects chosen so far'], facts['objects chosen now']) == ('1', '1')
    assert choosing.untrack(wanted.track_id).success
    assert not choosing.untrack(wanted.track_id).success
    before = len(choosing.selected)
    choosing.node.answer(image(1300))
    facts = choosing.node.facts()
    assert (facts['objects chosen now'], facts['objects released']) == ('0', '1')
    assert len(choosing.selected) == before


def test_a_request_that_chooses_nothing_says_why(start: Callable[..., Choosing]) -> None:
    """Each reason with its number and a sentence; the counts are exact."""
    choosing = start('refusing')
    node = choosing.node
    first = node.answer(image(1000))
    stamp, known = first.header.stamp, first.instances[0].track_id
    wrong = image(999).header.stamp
    refused = int(node.facts()['objects refused'])
    for reference, outcome in (
        ({'stamp': wrong, 'track_id': known}, ANSWER.NO_SUCH_IMAGE),
        ({'stamp': stamp, 'epoch': first.epoch + 7, 'track_id': known}, ANSWER.OTHER_EPOCH),
        ({'stamp': stamp, 'track_id': 4_000_000}, ANSWER.NOTHING_THERE),
        ({'x': -5.0, 'y': 3.0}, ANSWER.NOTHING_THERE),
        ({'x': math.nan}, ANSWER.INVALID),
        ({'width': 3.0}, ANSWER.INVALID),
    ):
        answer = choosing.track(**reference)
        assert (answer.success, answer.outcome) == (False, outcome), answer.message
        assert answer.message
        assert (answer.track_id, answer.epoch, answer.confidence) == (0, 0, 0.0)
    assert int(node.facts()['objects refused']) == refused + 6
    node.reset()
    node.answer(image(2000))
    assert choosing.track(stamp=stamp, track_id=known).outcome == ANSWER.OTHER_EPOCH
    assert node.change_state(Transition.TRANSITION_DEACTIVATE)
    assert choosing.track(track_id=known).outcome == ANSWER.NOT_ACTIVE


def test_a_point_and_a_box_choose(start: Callable[..., Choosing]) -> None:
    """In pixels of the image, by the masks and boxes that ~/instances tells."""
    choosing = start('pointing')
    instances = choosing.node.answer(image(1000)).instances
    owners = np.stack([decode(its.mask).to_full(HEIGHT, WIDTH) for its in instances])
    (rows, columns) = np.nonzero(owners.sum(0) == 1)
    one = instances[int(owners[:, rows[0], columns[0]].argmax())]
    point = choosing.track(x=float(columns[0]), y=float(rows[0]))
    assert (point.success, point.track_id, point.confidence) == (True, one.track_id, 1.0)
    (rows, columns) = np.nonzero(owners.sum(0) > 1)
    several = choosing.track(x=float(columns[0]), y=float(rows[0]))
    assert (several.outcome, several.track_id) == (ANSWER.AMBIGUOUS, 0)

    boxes = np.array([(its.x_min, its.y_min, its.x_max, its.y_max) for its in instances],
                     np.float32)
    rivals = [np.sort(overlaps(box, boxes))[-2] for box in boxes]
    clear = instances[int(np.argmin(rivals))]
    box = choosing.track(**box_of(clear))
    assert (box.track_id, box.confidence) == (clear.track_id, pytest.approx(1.0))
    if clear.track_id == one.track_id:
        assert 'already' in box.message


def clip_image(stamp_ms: int, seconds: float) -> Image:
    """Return a picture of the built-in clip."""
    message = from_bgr(np.asarray(BuiltInClip().frame(seconds), np.uint8), Header())
    message.header.stamp = time_message(stamp_ms * 1_000_000)
    return message


def leave_and_return(choosing: Choosing) -> list[SelectedInstanceArray]:
    """Choose the clearest thing of the clip, show grey until its track ended, then the clip."""
    node = choosing.node
    for number in range(4):
        first = node.answer(clip_image(1000 + 100 * number, 0.2 * number))
    clearest = max(first.instances, key=lambda its: its.score)
    assert choosing.track(stamp=first.header.stamp, track_id=clearest.track_id).success
    grey = clip_image(0, 0.0)
    grey.data[:] = type(grey.data)('B', b'\x80' * len(grey.data))
    told = []
    for number in range(16):
        picture = grey if number in range(1, 6) else clip_image(0, 0.1 * (number % 4))
        picture.header.stamp = time_message((2000 + 100 * number) * 1_000_000)
        told.append(choosing.tell_of(node.answer(picture)))
        if told[-1].objects[0].status == SelectedInstance.LOST:
            break
    return told


def test_an_object_that_left_is_found_again(start: Callable[..., Choosing]) -> None:
    """By its embedding, under another track id; it keeps the identity it was chosen by."""
    choosing = start(
        'returning', '-p', 'model:=stmask_lite', '-p', 'max_missed:=1',
        '-p', 'score_threshold:=0.1')
    told = leave_and_return(choosing)
    statuses = [its.objects[0].status for its in told]
    assert SelectedInstance.AWAY in statuses
    assert statuses[-1] == SelectedInstance.FOLLOWED, statuses
    before, after = told[0].objects[0], told[-1].objects[0]
    assert after.selected_id == before.selected_id == before.instance.track_id
    assert after.instance.track_id > before.instance.track_id
    assert after.reacquired == 1
    assert after.likeness >= 0.9
    (same,) = [its for its in choosing.node.outputs[-1].instances
               if its.track_id == after.instance.track_id]
    assert after.instance == same
    away = told[statuses.index(SelectedInstance.AWAY)].objects[0].instance
    assert (away.mask.area, len(away.mask.data)) == (0, 0)
    assert choosing.node.facts()['objects found again'] == '1'


def test_an_object_that_stays_away_is_lost(start: Callable[..., Choosing]) -> None:
    """After reacquire_time, once; the parameters are checked."""
    choosing = start(
        'leaving', '-p', 'model:=stmask_lite', '-p', 'max_missed:=1',
        '-p', 'score_threshold:=0.1', '-p', 'reacquire_time:=0.3')
    for wrong in ({'reacquire_time': -1.0}, {'reacquire_likeness': 1.5}):
        assert not choosing.node.set_parameters(**wrong)[0].successful
    told = leave_and_return(choosing)
    assert [its.objects[0].status for its in told].count(SelectedInstance.LOST) == 1
    facts = choosing.node.facts()
    assert (facts['objects lost'], facts['objects chosen now']) == ('1', '0')


class Following:
    """A client of ~/follow."""

    def __init__(self, choosing: Choosing) -> None:
        self.node = choosing.node
        self._client = ActionClient(self.node.client, Follow, f'/{self.node.name}/follow')
        self.node.spin_until(self._client.server_is_ready, 'the action')
        self.feedback: list[Follow.Feedback] = []

    def send(self, **reference: Any) -> Any:
        """Send a goal; return its handle, and the future of its result."""
        goal = Follow.Goal(object=ObjectReference(**reference))
        accepted = self._client.send_goal_async(
            goal, feedback_callback=lambda message: self.feedback.append(message.feedback))
        self.node.spin_until(accepted.done, 'the goal')
        handle = accepted.result()
        assert handle.accepted
        return handle, handle.get_result_async()

    def result(self, future: Any) -> tuple[int, Follow.Result]:
        self.node.spin_until(future.done, 'the result')
        return future.result().status, future.result().result


def test_following(start: Callable[..., Choosing]) -> None:
    """Each way it ends, with its reason."""
    choosing = start('following')
    node, client = choosing.node, Following(choosing)
    first = node.answer(image(1000))
    ids = [its.track_id for its in first.instances]

    status, result = client.result(client.send(track_id=4_000_000)[1])
    assert (status, result.reason) == (GoalStatus.STATUS_ABORTED, Follow.Result.NOT_CHOSEN)
    assert '4000000' in result.message

    handle, future = client.send(stamp=first.header.stamp, track_id=ids[0])
    second = node.answer(image(1100))
    node.spin_until(lambda: bool(client.feedback), 'feedback')
    assert client.feedback[0].header == second.header
    assert client.feedback[0].object.selected_id == ids[0]
    assert client.feedback[0].object.instance.mask.encoding == 0
    cancelled = handle.cancel_goal_async()
    node.spin_until(cancelled.done, 'the cancellation')
    status, result = client.result(future)
    assert (status, result.reason) == (GoalStatus.STATUS_CANCELED, Follow.Result.CANCELLED)
    assert (result.selected_id, result.images) == (ids[0], 1)
    assert node.facts()['objects chosen now'] == '0'

    _, old = client.send(stamp=first.header.stamp, track_id=ids[0])
    _, new = client.send(stamp=first.header.stamp, track_id=ids[1])
    assert client.result(old)[1].reason == Follow.Result.PREEMPTED
    assert choosing.untrack(ids[1]).success
    assert client.result(new)[1].reason == Follow.Result.UNTRACKED

    _, future = client.send(stamp=first.header.stamp, track_id=ids[0])
    node.reset()
    third = node.answer(image(2000))
    assert client.result(future)[1].reason == Follow.Result.NEW_EPOCH
    facts = node.facts()
    assert int(facts['objects chosen so far']) == (
        int(facts['objects chosen now']) + int(facts['objects lost'])
        + int(facts['objects released'])) == 4

    _, future = client.send(track_id=third.instances[0].track_id)
    assert node.change_state(Transition.TRANSITION_DEACTIVATE)
    assert client.result(future)[1].reason == Follow.Result.DEACTIVATED
    assert 'Traceback' not in node.log()


def test_what_is_followed_can_be_lost(start: Callable[..., Choosing]) -> None:
    choosing = start('losing', '-p', 'reacquire_time:=0.0', '-p', 'max_missed:=0')
    node, client = choosing.node, Following(choosing)
    first = node.answer(image(1000))
    _, future = client.send(track_id=first.instances[-1].track_id)
    for number in range(1, 30):
        node.answer(image(1000 + 100 * number, shift=60 * number))
        if future.done():
            break
    status, result = client.result(future)
    assert (status, result.reason) == (GoalStatus.STATUS_ABORTED, Follow.Result.LOST)
    assert 'reacquire_time' in result.message
