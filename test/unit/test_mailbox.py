"""The mailbox keeps the newest message and loses no count."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from stmask_ros.node.mailbox import REPLACED, Letter, Mailbox


def _balanced(box: Mailbox[int]) -> bool:
    counts = box.counts()
    dropped = sum(counts.dropped.values())
    return counts.received == counts.processed + dropped + counts.waiting + counts.in_flight


def test_the_newest_message_wins() -> None:
    """Two messages before a take: the first is dropped, and the second knows of it."""
    box: Mailbox[str] = Mailbox()
    box.put('old', 1)
    box.put('new', 2)
    letter = box.take()
    assert letter is not None
    assert (letter.message, letter.received_ns, letter.skipped) == ('new', 2, 1)
    assert box.counts().dropped == {REPLACED: 1}


def test_a_closed_mailbox_wakes_its_worker_and_drops_what_waits() -> None:
    """close() ends a waiting take(), and open() makes the box usable again."""
    box: Mailbox[int] = Mailbox()
    taken: list[object] = []
    worker = threading.Thread(target=lambda: taken.append(box.take()))
    worker.start()
    box.close('deactivated')
    worker.join(10)
    assert taken == [None]
    box.put(1, 0)
    box.close('deactivated')
    assert box.counts().dropped == {'deactivated': 1}
    box.open()
    box.put(2, 0)
    letter = box.take()
    assert letter is not None and letter.message == 2


@given(st.lists(st.sampled_from(['put', 'refuse', 'take', 'finish', 'drop'])))
def test_every_message_is_accounted_for(actions: list[str]) -> None:
    """`skipped` is how many arrived between two finished messages, and the counts balance."""
    box: Mailbox[int] = Mailbox()
    arrivals = finished = 0
    letter: Letter[int] | None = None
    for action in actions:
        if action in ('put', 'refuse'):
            arrivals += 1
        if action == 'put':
            box.put(arrivals, 0)
        elif action == 'refuse':
            box.refuse('disabled')
        elif action == 'take' and letter is None and box.counts().waiting:
            letter = box.take()
            assert letter is not None and letter.skipped == letter.message - finished - 1
        elif action == 'finish' and letter is not None:
            box.finish()
            finished, letter = letter.message, None
        elif action == 'drop' and letter is not None:
            box.drop('broken')
            letter = None
        assert _balanced(box)
    assert box.counts().received == arrivals


def test_counts_balance_at_any_instant_of_an_overload() -> None:
    """One thread floods, one works: the sums hold in every snapshot, and at the end."""
    box: Mailbox[int] = Mailbox()
    last = 20_000
    skipped = []
    reached_the_end = threading.Event()

    def work() -> None:
        while (letter := box.take()) is not None:
            skipped.append(letter.skipped)
            box.finish()
            if letter.message == last:
                reached_the_end.set()

    worker = threading.Thread(target=work)
    worker.start()
    for number in range(1, last + 1):
        box.put(number, 0)
        if number % 100 == 0:
            assert _balanced(box)
    assert reached_the_end.wait(30)
    box.close('over')
    worker.join(30)
    counts = box.counts()
    assert counts.processed + counts.dropped.get(REPLACED, 0) == counts.received == last
    assert sum(skipped) == counts.dropped.get(REPLACED, 0)
