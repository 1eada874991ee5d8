# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Masks on their way through the pictures that follow, and what a person does meanwhile."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from test_label_page import (
    Squares,
    act,
    ask,
    lefts,
    make_folder,
    overview_of,
    serving,
    settle,
    shown,
    started,
)

from stmask_ros.labelling.exchange import Picture
from stmask_ros.labelling.folder import read_labels, write_labels
from stmask_ros.labelling.server import LabelServer

COUNT = 6
TRACK = 5
BOX = {'action': 'box', 'top': 10, 'bottom': 30, 'class': 'dock'}


class Steps(Squares):
    """Carries a mask to one picture more each time that it is let."""

    def __init__(self) -> None:
        self.allowed = threading.Semaphore(0)

    def carried(self, mask: np.ndarray, pictures: Sequence[Picture]) -> Iterator[np.ndarray]:
        for each in super().carried(mask, pictures):
            self.allowed.acquire()
            yield each

    def let_all(self) -> None:
        self.allowed.release(1000)


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / 'folder', count=COUNT)


@pytest.fixture
def server(folder: Path, steps: Steps) -> Iterator[LabelServer]:
    with serving(folder, steps) as running:
        yield running
        steps.let_all()  # after a failure as well


def facts_of(server: LabelServer) -> Any:
    return next(each for each in overview_of(server)['tracks'] if each['id'] == TRACK)


def carry(server: LabelServer, steps: Steps, last: int) -> None:
    """Let the one mask that is on its way come to the pictures up to one."""
    steps.allowed.release(last - max(facts_of(server)['pictures']))
    while max(facts_of(server)['pictures']) < last:
        time.sleep(0.01)


def test_an_answer_does_not_wait_for_what_is_carried(
    server: LabelServer, folder: Path, steps: Steps
) -> None:
    _, answer = ask(server, picture=0, left=40, right=60, **BOX)
    assert answer['labels']['tracks'][-1]['coming'] == [1, 2, 3, 4, 5]
    track = read_labels(folder).track(TRACK)
    assert (lefts(folder, TRACK), track.carrying) == ([40, *[None] * 5], {0: COUNT})
    carry(server, steps, 2)
    assert (facts_of(server)['pictures'], facts_of(server)['coming']) == ([0, 1, 2], [3, 4, 5])
    carry(server, steps, 5)
    track = read_labels(folder).track(TRACK)
    assert (lefts(folder, TRACK), track.carrying) == ([40, 50, 60, 70, 80, 90], {})
    assert track.carried == {1, 2, 3, 4, 5}


def test_a_further_click_on_the_thing_begins_anew(
    server: LabelServer, folder: Path, steps: Steps
) -> None:
    ask(server, picture=0, left=40, right=60, **BOX)
    carry(server, steps, 2)
    _, answer = ask(server, picture=0, track=TRACK, left=10, right=20, **BOX)
    assert answer['labels']['tracks'][-1]['pictures'] == [0]
    steps.let_all()
    settle(server)
    assert lefts(folder, TRACK) == [10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize('reached', [1, 3, 4])
def test_a_click_on_a_later_picture_stays(
    reached: int, server: LabelServer, folder: Path, steps: Steps
) -> None:
    ask(server, picture=0, left=40, right=60, **BOX)
    carry(server, steps, reached)
    ask(server, picture=3, track=TRACK, left=100, right=110, **BOX)
    steps.let_all()
    settle(server)
    assert lefts(folder, TRACK) == [40, 50, 60, 100, 110, 120]
    assert read_labels(folder).track(TRACK).carried == {1, 2, 4, 5}


@pytest.mark.parametrize('reached', [1, 3, 4])
def test_a_thing_that_was_taken_out_does_not_come_back(
    reached: int, server: LabelServer, folder: Path, steps: Steps
) -> None:
    ask(server, picture=0, left=40, right=60, **BOX)
    carry(server, steps, reached)
    ask(server, action='remove', picture=3, track=TRACK)
    steps.let_all()
    settle(server)
    assert lefts(folder, TRACK) == [40, 50, 60, None, None, None]
    ask(server, action='remove', picture=0, track=TRACK)
    settle(server)
    assert list(shown(folder)) == [4]


def test_a_picture_is_not_done_before_all_masks_are_there(
    server: LabelServer, folder: Path, steps: Steps
) -> None:
    ask(server, picture=0, left=40, right=60, **BOX)
    carry(server, steps, 2)
    status, answer = ask(server, action='mark', picture=3, labelled=True)
    assert status == 400
    assert 'track 5 is still on its way to this picture' in answer['error']
    for done in (0, 2):
        assert ask(server, action='mark', picture=done, labelled=True)[0] == 200
    carry(server, steps, 5)
    assert lefts(folder, TRACK) == [40, 50, 60, 70, 80, 90]
    frames = read_labels(folder).videos[0].frames
    assert [frame.is_labelled for frame in frames] == [True, False, True, False, False, False]


def test_undo_takes_back_what_is_on_its_way(
    server: LabelServer, folder: Path, steps: Steps
) -> None:
    begun = (folder / 'annotations.json').read_bytes()
    ask(server, picture=0, left=40, right=60, **BOX)
    carry(server, steps, 5)
    before = (folder / 'annotations.json').read_bytes()
    ask(server, picture=0, track=TRACK, left=10, right=20, **BOX)
    carry(server, steps, 2)
    ask(server, action='undo')
    steps.let_all()
    settle(server)
    assert (folder / 'annotations.json').read_bytes() == before
    act(server, action='undo')
    assert (folder / 'annotations.json').read_bytes() == begun


def test_undo_carries_on_what_was_on_its_way_before(
    server: LabelServer, folder: Path, steps: Steps
) -> None:
    ask(server, picture=0, left=40, right=60, **BOX)
    carry(server, steps, 2)
    ask(server, picture=0, track=TRACK, left=10, right=20, **BOX)
    ask(server, action='undo')
    steps.let_all()
    settle(server)
    assert lefts(folder, TRACK) == [40, 50, 60, 70, 80, 90]


def test_undo_of_something_else_keeps_what_has_come_since(
    server: LabelServer, folder: Path, steps: Steps
) -> None:
    ask(server, picture=0, left=40, right=60, **BOX)
    carry(server, steps, 2)
    ask(server, action='rename', track=4, **{'class': 'gripper'})
    carry(server, steps, 5)
    _, answer = ask(server, action='undo')
    assert answer['labels']['tracks'][-1]['coming'] == []
    assert lefts(folder, TRACK) == [40, 50, 60, 70, 80, 90]
    assert read_labels(folder).track(4).category_id == 1


def test_a_carry_that_fails_is_told_and_others_go_on(
    server: LabelServer, folder: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Iterator[np.ndarray]:
        raise RuntimeError('out of memory')

    with monkeypatch.context() as patch:
        patch.setattr(Steps, 'carried', fail)
        act(server, picture=0, left=40, right=60, **BOX)
    assert 'track 5 was not carried on: out of memory' in overview_of(server)['trouble']
    assert lefts(folder, TRACK) == [40, *[None] * 5]
    steps.let_all()
    act(server, picture=0, track=TRACK, left=10, right=20, **BOX)
    assert overview_of(server)['trouble'] == ''
    assert lefts(folder, TRACK) == [10, 20, 30, 40, 50, 60]


def test_what_a_program_left_is_carried_on_from_where_it_came_to(
    server: LabelServer, folder: Path, steps: Steps, tmp_path: Path
) -> None:
    ask(server, picture=0, left=40, right=60, **BOX)
    carry(server, steps, 2)
    ask(server, action='mark', picture=1, labelled=True)
    shutil.copytree(folder, tmp_path / 'left')
    assert read_labels(tmp_path / 'left').track(TRACK).carrying == {2: COUNT}
    with serving(tmp_path / 'left', Squares()) as other:
        settle(other)
    assert lefts(tmp_path / 'left', TRACK) == [40, 50, 60, 70, 80, 90]
    assert read_labels(tmp_path / 'left').track(TRACK).carrying == {}


def test_what_was_labelled_elsewhere_meanwhile_stays(
    server: LabelServer, folder: Path, tmp_path: Path
) -> None:
    ask(server, picture=0, left=40, right=60, **BOX)
    labels = read_labels(folder)
    (video,) = labels.videos
    frames = (*video.frames[:3], replace(video.frames[3], is_labelled=True), *video.frames[4:])
    shutil.copytree(folder, tmp_path / 'left')
    write_labels(tmp_path / 'left', replace(labels, videos=(replace(video, frames=frames),)))
    with serving(tmp_path / 'left', Squares()) as other:
        settle(other)
    assert lefts(tmp_path / 'left', TRACK) == [40, 50, 60, None, None, None]


@pytest.mark.parametrize('end', [signal.SIGKILL, signal.SIGINT])
def test_a_program_that_ends_while_it_carries_goes_on_at_the_next_start(
    end: signal.Signals, tmp_path: Path
) -> None:
    """A real process, with a model, ends after its answer; another takes up the carry."""
    count = 60
    folder = make_folder(tmp_path / 'folder', (720, 1280), count)
    process, address = started(folder)
    connection, path = connected(address)
    connection.request('POST', f'{path}do', json.dumps(
        {'picture': 0, 'left': 204, 'right': 564, 'class': 'dock', 'action': 'box', 'top': 180,
         'bottom': 540}), {'Content-Type': 'application/json'})
    answer = json.loads(connection.getresponse().read())
    process.send_signal(end)
    assert process.wait() == (0 if end == signal.SIGINT else -end)
    connection.close()
    assert 'track' in answer, answer
    before = read_labels(folder).track(TRACK)
    assert before.carrying == {0: count}
    assert not any(before.masks[1:])

    process, address = started(folder)
    connection, path = connected(address)
    try:
        while True:
            connection.request('GET', f'{path}labels')
            track = json.loads(connection.getresponse().read())['tracks'][-1]
            if not track['coming']:
                break
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
        connection.close()
    after = read_labels(folder).track(TRACK)
    assert after.masks[0] == before.masks[0]
    assert (after.carried, after.carrying) == (set(range(1, count)), {})


def connected(address: str) -> tuple[http.client.HTTPConnection, str]:
    """Return a connection to a page, and the path of its address."""
    parts = urlsplit(address)
    return http.client.HTTPConnection('127.0.0.1', parts.port, timeout=300), parts.path
