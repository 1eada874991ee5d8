# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A mailbox keeps the newest message and loses no count; a mailboxes hands out many at once."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stmask_ros.ros.mailbox import REPLACED, Mailbox, MailboxSet, QueuedMessage


def _one_box() -> tuple[MailboxSet[Any], Mailbox[Any]]:
    room: MailboxSet[Any] = MailboxSet(1)
    return room, room.boxes[0]


def _balanced(box: Mailbox[int]) -> bool:
    counts = box.counts()
    dropped = sum(counts.dropped.values())
    return counts.received == counts.processed + dropped + counts.waiting + counts.in_flight


def test_the_newest_message_wins() -> None:
    """Two messages before a take: the first is dropped, and the second knows of it."""
    room, box = _one_box()
    box.put('old', 1)
    box.put('new', 2)
    assert room.take() == {0: QueuedMessage('new', number=2, received_ns=2, skipped=1)}
    assert box.counts().dropped == {REPLACED: 1}


def test_a_closed_mailbox_wakes_its_worker_and_drops_what_waits() -> None:
    """close() ends a waiting take(), and open() makes the box usable again."""
    room, box = _one_box()
    taken: list[object] = []
    worker = threading.Thread(target=lambda: taken.append(room.take()))
    worker.start()
    room.close('deactivated')
    worker.join(10)
    assert taken == [{}]
    box.put(1, 0)
    room.close('deactivated')
    assert box.counts().dropped == {'deactivated': 1}
    room.open()
    box.put(2, 0)
    assert room.take()[0].message == 2


@given(st.lists(st.sampled_from(['put', 'refuse', 'take', 'finish', 'drop'])))
def test_every_message_is_accounted_for(actions: list[str]) -> None:
    """`skipped` is how many arrived between two finished messages, and the counts balance."""
    room, box = _one_box()
    arrivals = finished = 0
    message: QueuedMessage[int] | None = None
    for action in actions:
        if action in ('put', 'refuse'):
            arrivals += 1
        if action == 'put':
            box.put(arrivals, 0)
        elif action == 'refuse':
            box.refuse('disabled')
        elif action == 'take' and message is None and box.counts().waiting:
            message = room.take()[0]
            assert message.number == message.message
            assert message.skipped == message.message - finished - 1
        elif action == 'finish' and message is not None:
            box.finish()
            finished, message = message.message, None
        elif action == 'drop' and message is not None:
            box.drop('broken')
            message = None
        assert _balanced(box)
    assert box.counts().received == arrivals


def test_counts_balance_at_any_instant_of_an_overload() -> None:
    """One thread floods, one works: the sums hold in every snapshot, and at the end."""
    room, box = _one_box()
    last = 20_000
    skipped = []
    reached_the_end = threading.Event()

    def work() -> None:
        while messages := room.take():
            skipped.append(messages[0].skipped)
            box.finish()
            if messages[0].message == last:
                reached_the_end.set()

    worker = threading.Thread(target=work)
    worker.start()
    for number in range(1, last + 1):
        box.put(number, 0)
        if number % 100 == 0:
            assert _balanced(box)
    assert reached_the_end.wait(30)
    room.close('over')
    worker.join(30)
    counts = box.counts()
    assert counts.processed + counts.dropped.get(REPLACED, 0) == counts.received == last
    assert sum(skipped) == counts.dropped.get(REPLACED, 0)


def test_messages_of_several_cameras_are_taken_together() -> None:
    """All that wait come at once, under their mailbox's index, the longest waiting first."""
    room: MailboxSet[str] = MailboxSet(4)
    for index, name, received in [(2, 'c', 10), (0, 'a', 20), (2, 'newer c', 30)]:
        room.boxes[index].put(name, received)
    messages = room.take(most=4)
    assert {index: queued.message for index, queued in messages.items()} == {2: 'newer c', 0: 'a'}
    assert list(messages) == [2, 0]
    assert room.boxes[1].counts().received == 0


def test_a_fast_camera_does_not_shut_a_slow_one_out() -> None:
    """With one image a step, each camera has its turn, however often another one sends."""
    room: MailboxSet[int] = MailboxSet(3)
    now = itertools.count(1)
    turns = []
    for index in range(3):
        room.boxes[index].put(0, next(now))
    for _ in range(30):
        (index,) = room.take(most=1)
        turns.append(index)
        room.boxes[index].finish()
        room.boxes[index].put(0, next(now))
        for _ in range(5):  # camera 0 is much faster
            room.boxes[0].put(0, next(now))
    assert [turns.count(index) for index in range(3)] == [10, 10, 10]


def _taken_meanwhile(room: MailboxSet[int], patience: float) -> tuple[threading.Thread, list[Any]]:
    taken: list[Any] = []
    thread = threading.Thread(target=lambda: taken.append(room.take(2, patience)))
    thread.start()
    return thread, taken


def test_an_image_waits_for_company_that_comes() -> None:
    """A camera that sent something lately is waited for, and both images share a step."""
    room: MailboxSet[int] = MailboxSet(2)
    room.boxes[1].put(1, time.monotonic_ns())
    room.take()
    room.boxes[1].finish()
    room.boxes[0].put(2, time.monotonic_ns())
    thread, taken = _taken_meanwhile(room, patience=600.0)
    room.boxes[1].put(3, time.monotonic_ns())
    thread.join(30)
    assert len(taken) == 1
    assert {index: queued.message for index, queued in taken[0].items()} == {0: 2, 1: 3}


def test_a_silent_camera_is_not_waited_for() -> None:
    """One that never sent anything, was switched off, or falls silent meanwhile."""
    room: MailboxSet[int] = MailboxSet(4)
    room.boxes[1].put(1, time.monotonic_ns() - 900_000_000)
    room.boxes[2].put(1, time.monotonic_ns())
    room.take(most=2)
    room.boxes[2].refuse('disabled')
    room.boxes[0].put(2, time.monotonic_ns() + 3_600_000_000_000)  # it does not wait for itself
    assert list(room.take(4, patience=600.0)) == [0]  # or the test never ends


def test_patience_has_an_end() -> None:
    """An image goes alone once it has waited for batch_wait, also before it was asked for."""
    room: MailboxSet[int] = MailboxSet(2)
    room.boxes[1].put(1, time.monotonic_ns())
    room.take()
    now = time.monotonic_ns()
    room.boxes[0].put(2, now)
    assert list(room.take(2, patience=0.05)) == [0]
    assert time.monotonic_ns() >= now + 50_000_000
    room.boxes[1].put(3, time.monotonic_ns() - 600_000_000)
    room.boxes[0].put(4, time.monotonic_ns() - 700_000_000)
    room.take(1)
    assert list(room.take(2, patience=0.5)) == [1]


def test_closing_ends_the_wait_for_company() -> None:
    """What waits for company is dropped when the worker is stopped."""
    room: MailboxSet[int] = MailboxSet(2)
    room.boxes[1].put(1, time.monotonic_ns())
    room.take()
    room.boxes[0].put(2, time.monotonic_ns())
    thread, taken = _taken_meanwhile(room, patience=600.0)
    room.close('deactivated')
    thread.join(30)
    assert taken == [{}]
    assert room.boxes[0].counts().dropped == {'deactivated': 1}


def test_an_interruption_is_not_forgotten_and_counts_once() -> None:
    """It ends one take(), also one that comes later; the next waits for messages again."""
    room, box = _one_box()
    room.interrupt()
    assert room.take() == {}
    thread, taken = _taken_meanwhile(room, patience=0.0)
    thread.join(0.05)
    assert thread.is_alive()
    box.put(1, 0)
    thread.join(30)
    assert [queued.message for queued in taken[0].values()] == [1]
    thread, taken = _taken_meanwhile(room, patience=0.0)
    room.interrupt()
    thread.join(30)
    assert taken == [{}]


def test_every_drop_counts_under_its_own_reason() -> None:
    """What waits is dropped for the reason of what was refused after it."""
    room, box = _one_box()
    for _ in range(2):
        box.put(1, 0)
        box.refuse('disabled')
    assert box.counts().dropped == {'disabled': 4}
    for expected in (1, 2):
        box.put(1, 0)
        assert room.take()[0].skipped == (4 if expected == 1 else 5)
        box.drop('broken')
        assert box.counts().dropped['broken'] == expected


def test_a_fresh_box_has_skipped_nothing() -> None:
    room, box = _one_box()
    box.put(1, 0)
    assert room.take()[0].skipped == 0


def test_one_message_is_taken_unless_more_are_asked_for() -> None:
    room: MailboxSet[int] = MailboxSet(2)
    for number, box in enumerate(room.boxes):
        box.put(number, 0)
    assert list(room.take()) == [0]


def test_enough_company_is_not_kept_waiting_for_more() -> None:
    room: MailboxSet[int] = MailboxSet(3)
    room.boxes[2].put(0, time.monotonic_ns() + 3_600_000_000_000)
    room.take()
    for box in room.boxes[:2]:
        box.put(1, time.monotonic_ns())
    assert list(room.take(2, patience=3600.0)) == [0, 1]  # or the test never ends
