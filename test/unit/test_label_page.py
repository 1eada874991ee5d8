# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The page to label on: what it lets in, and that nothing is lost when anything dies."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from stmask_ros.cli import main
from stmask_ros.evaluation.dataset import Category, DatasetError
from stmask_ros.labelling.background import carrying_on
from stmask_ros.labelling.editor import Editor, Proposer, locked
from stmask_ros.labelling.exchange import Picture
from stmask_ros.labelling.folder import (
    LabelFrame,
    Labels,
    LabelTrack,
    LabelVideo,
    decoded,
    encoded,
    read_labels,
    write_labels,
)
from stmask_ros.labelling.following import TemplateMatch, followed
from stmask_ros.labelling.proposal import Cells, Click, Hints, carried, proposed
from stmask_ros.labelling.server import LabelServer
from stmask_ros.output_files import OutputError

MODEL = Path(__file__).resolve().parents[1] / 'models' / 'stmask.yaml'
HEIGHT, WIDTH = 90, 160


class Squares:
    """Finds a square around the last click, or the box; shifted by ten pixels in the next."""

    def proposed(self, picture: Picture, hints: Hints) -> np.ndarray:
        mask = np.zeros((picture.height, picture.width), bool)
        if hints.base is not None:
            mask |= hints.base
        for click in hints.clicks:
            x, y = int(click.x), int(click.y)
            mask[max(y - 8, 0):y + 8, max(x - 8, 0):x + 8] = click.is_inside
        if hints.box is not None:
            left, top, right, bottom = map(int, hints.box)
            mask[top:bottom, left:right] = True
        return mask

    def candidate(self, picture: Picture, click: Click) -> None:
        return None

    def carried(self, mask: np.ndarray, pictures: Sequence[Picture]) -> Iterator[np.ndarray]:
        return (np.roll(mask, 10 * step, axis=1) for step in range(1, len(pictures)))


def make_folder(
    folder: Path, size: tuple[int, int] = (HEIGHT, WIDTH), count: int = 3
) -> Path:
    """Write pictures of a bright disc that moves, the first with a mask of the model."""
    (folder / 'images').mkdir(parents=True)
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    masks = []
    for number in range(count):
        center = width * (0.3 + 0.15 * number / count)
        disc = (rows - height / 2) ** 2 + (columns - center) ** 2 < (height / 4) ** 2
        image = np.where(disc[..., None], (40, 200, 240), (90, 60, 50)).astype(np.uint8)
        cv2.imwrite(str(folder / 'images' / f'{number:06d}.jpg'), image)
        masks.append(encoded(disc))
    frames = tuple(LabelFrame(f'{number:06d}.jpg', number) for number in range(count))
    write_labels(folder, Labels(
        (LabelVideo(1, height, width, frames),), (Category(1, 'pallet'),),
        (LabelTrack(4, 1, 1, (masks[0], *[None] * (count - 1))),)))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / 'folder')


@contextmanager
def serving(folder: Path, proposer: Proposer) -> Iterator[LabelServer]:
    """Serve a folder as the command does."""
    editor = Editor(folder, proposer)
    with LabelServer(folder, editor) as running, carrying_on(editor):
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


@pytest.fixture
def server(folder: Path) -> Iterator[LabelServer]:
    with serving(folder, Squares()) as running:
        yield running


def asked(
    server: LabelServer, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection('127.0.0.1', server.server_port, timeout=60)
    text = None if body is None else json.dumps(body)
    given = {'Content-Type': 'application/json'} if body is not None else {}
    connection.request(method, path, text, {**given, **headers})
    response = connection.getresponse()
    content = response.status, response.read()
    connection.close()
    return content


def ask(server: LabelServer, **wish: Any) -> tuple[int, Any]:
    """Do something as the page does; masks may still be on their way."""
    status, content = asked(server, 'POST', f'/{server.token}/do', wish)
    return status, json.loads(content)


def overview_of(server: LabelServer) -> Any:
    return json.loads(asked(server, 'GET', f'/{server.token}/labels')[1])


def settle(server: LabelServer) -> None:
    """Wait until no mask is on its way."""
    while any(track['coming'] for track in overview_of(server)['tracks']):
        time.sleep(0.01)


def act(server: LabelServer, **wish: Any) -> tuple[int, Any]:
    """Do something as the page does, and wait until all masks have been carried on."""
    answer = ask(server, **wish)
    settle(server)
    return answer


def shown(folder: Path) -> dict[int, list[bool]]:
    """Return, by track, the frames that show it, as they are on the disk."""
    return {t.id: [mask is not None for mask in t.masks] for t in read_labels(folder).tracks}


def test_the_page_and_all_that_it_loads_are_there(server: LabelServer) -> None:
    for path, words in (('', b'label.js'), ('label.js', b'pointerdown'), ('label.css', b'#stage'),
                        ('labels', b'000001.jpg'), ('masks/0', b'polygons'),
                        ('picture/2', b'\xff\xd8')):
        status, content = asked(server, 'GET', f'/{server.token}/{path}')
        assert status == 200
        assert words in content


@pytest.mark.parametrize('path', ['/', '/labels', '/WRONG/labels', '/WRONG/', '//labels'])
def test_without_the_token_nothing_is_told(server: LabelServer, path: str) -> None:
    assert asked(server, 'GET', path)[0] == 403
    assert asked(server, 'POST', path, {'action': 'undo'})[0] == 403


@pytest.mark.parametrize('headers', [
    {'Host': 'evil.example'}, {'Host': 'evil.example:80'}, {'Origin': 'http://evil.example'},
    {'Origin': 'null'}])
def test_other_hosts_are_refused(server: LabelServer, headers: dict[str, str]) -> None:
    path = f'/{server.token}/labels'
    assert asked(server, 'GET', path, None, **headers)[0] == 403
    assert asked(server, 'GET', path, None, Host=f'localhost:{server.server_port}')[0] == 200


@pytest.mark.parametrize('path', [
    'picture/../../annotations.json', '../annotations.json', 'annotations.json', '/etc/passwd',
    'picture/%2e%2e%2fannotations.json', 'picture/-1', 'picture/99', 'label.js/../../folder.py'])
def test_no_path_leads_out(server: LabelServer, path: str) -> None:
    status, content = asked(server, 'GET', f'/{server.token}/{path}')
    assert status in (400, 404)
    assert b'root:' not in content
    assert b'"videos"' not in content


def test_names_and_links_that_lead_out_are_refused(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / 'secret.jpg'
    (folder / 'images' / '000001.jpg').rename(secret)
    (folder / 'images' / '000001.jpg').symlink_to(secret)
    with serving(folder, Squares()) as running:
        assert asked(running, 'GET', f'/{running.token}/picture/1')[0] == 400
    labels = read_labels(folder)
    (video,) = labels.videos
    odd = LabelVideo(1, HEIGHT, WIDTH, (LabelFrame('../secret.jpg'), *video.frames[1:]))
    write_labels(folder, Labels((odd,), labels.categories, labels.tracks))
    with pytest.raises(DatasetError, match='below'):
        Editor(folder, Squares())


def test_only_this_machine_is_answered(server: LabelServer) -> None:
    assert server.server_address[0] == '127.0.0.1'
    assert len(server.token) >= 32


@pytest.mark.parametrize('length', ['-1', '0', 'many', str(1 << 40)])
def test_bodies_without_an_end_are_not_read(server: LabelServer, length: str) -> None:
    # The connection stays open: who reads to its end waits.
    connection = http.client.HTTPConnection('127.0.0.1', server.server_port, timeout=60)
    connection.putrequest('POST', f'/{server.token}/do')
    connection.putheader('Content-Type', 'application/json')
    connection.putheader('Content-Length', length)
    connection.endheaders(b'{"action": "undo"}')
    response = connection.getresponse()
    assert (response.status, response.headers['Connection']) == (400, 'close')
    connection.close()


def test_what_a_model_fails_with_is_told(
    server: LabelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError('out of memory')

    monkeypatch.setattr(Squares, 'candidate', fail)
    status, answer = act(
        server, action='click', picture=1, x=5, y=5, inside=True, **{'class': 'a'})
    assert status == 500
    assert 'out of memory' in answer['error']


@pytest.mark.parametrize('body', [b'{', b'[]', b'{"action": "dance", "picture": 0}',
                                  b'{"action": "click", "picture": 0}', b'\xff' * 70_000])
def test_odd_requests_change_nothing(server: LabelServer, folder: Path, body: bytes) -> None:
    before = (folder / 'annotations.json').read_bytes()
    connection = http.client.HTTPConnection('127.0.0.1', server.server_port, timeout=60)
    connection.request('POST', f'/{server.token}/do', body, {'Content-Type': 'application/json'})
    assert connection.getresponse().status == 400
    connection.close()
    assert (folder / 'annotations.json').read_bytes() == before
    assert asked(server, 'GET', f'/{server.token}/labels')[0] == 200


def test_each_action_is_on_the_disk_when_it_is_answered(
    server: LabelServer, folder: Path
) -> None:
    box = {'left': 100, 'top': 10, 'right': 120, 'bottom': 30}
    _, answer = act(server, action='box', picture=0, **box, **{'class': 'dock'})
    assert answer['track'] == 5
    assert shown(folder) == {4: [True, False, False], 5: [True, True, True]}
    assert answer['labels']['classes'] == ['pallet', 'dock']
    _, answer = act(server, action='carry', picture=0, track=4)
    assert answer['picture'] == 1
    assert shown(folder)[4] == [True, True, True]
    act(server, action='rename', track=5, **{'class': 'pallet'})
    assert read_labels(folder).track(5).category_id == 1
    act(server, action='mark', picture=1, labelled=True)
    frames = read_labels(folder).videos[0].frames
    assert [frame.is_labelled for frame in frames] == [False, True, False]
    act(server, action='remove', picture=1, track=4)
    assert shown(folder) == {4: [True, False, False], 5: [True, True, True]}
    act(server, action='remove', picture=0, track=4)
    assert shown(folder) == {5: [True, True, True]}


def lefts(folder: Path, track: int) -> list[int | None]:
    """Return the left side of a track's mask in each picture."""
    masks = read_labels(folder).track(track).masks
    return [None if mask is None else int(decoded(mask).any(0).argmax()) for mask in masks]


def test_a_correction_goes_on_in_place_of_what_was_carried(
    server: LabelServer, folder: Path
) -> None:
    box = {'top': 10, 'bottom': 30, 'class': 'dock'}
    act(server, action='box', picture=0, left=40, right=60, **box)
    assert lefts(folder, 5) == [40, 50, 60]
    before = (folder / 'annotations.json').read_bytes()
    act(server, action='box', picture=1, track=5, left=80, right=95, **box)
    assert lefts(folder, 5) == [40, 80, 90]
    assert read_labels(folder).track(5).carried == {2}
    act(server, action='undo')
    assert (folder / 'annotations.json').read_bytes() == before


@pytest.mark.parametrize('is_finished', [True, False], ids=['finished', 'corrected'])
def test_a_correction_ends_where_a_person_was(
    is_finished: bool, server: LabelServer, folder: Path
) -> None:
    box = {'top': 10, 'bottom': 30, 'class': 'dock'}
    act(server, action='box', picture=0, left=40, right=60, **box)
    if is_finished:
        act(server, action='mark', picture=1, labelled=True)
    else:
        act(server, action='box', picture=1, track=5, left=50, right=70, **box)
    act(server, action='box', picture=0, track=5, left=10, right=20, **box)
    assert lefts(folder, 5) == [10, 50, 60]


def test_the_page_is_told_which_masks_were_carried(server: LabelServer, folder: Path) -> None:
    def carried(number: int) -> bool:
        _, content = asked(server, 'GET', f'/{server.token}/masks/{number}')
        return bool(next(m['carried'] for m in json.loads(content) if m['track'] == 5))

    act(server, action='box', picture=0, left=40, right=60, top=10, bottom=30, **{'class': 'a'})
    assert [carried(number) for number in range(3)] == [False, True, True]
    act(server, action='mark', picture=1, labelled=True)
    assert [carried(number) for number in range(3)] == [False, False, True]


def test_clicks_correct_and_undo_goes_back(server: LabelServer, folder: Path) -> None:
    def click(x: int, inside: bool, track: int | None) -> int:
        wish = {'x': x, 'y': 20, 'inside': inside, 'track': track, 'class': 'dock'}
        return int(act(server, action='click', picture=1, **wish)[1]['track'])

    track = click(100, True, None)
    states = [(folder / 'annotations.json').read_bytes()]
    for x, inside in ((110, True), (100, False)):
        assert click(x, inside, track) == track
        states.append((folder / 'annotations.json').read_bytes())
    mask = read_labels(folder).track(track).masks[1]
    assert mask is not None
    assert decoded(mask)[20, [100, 112]].tolist() == [False, True]
    for before in (states[1], states[0]):
        assert act(server, action='undo')[0] == 200
        assert (folder / 'annotations.json').read_bytes() == before
    act(server, action='undo')
    assert list(shown(folder)) == [4]
    status, answer = act(server, action='undo')
    assert status == 400
    assert 'nothing to undo' in answer['error']


@pytest.mark.parametrize(('wish', 'words'), [
    ({'action': 'click', 'picture': 1, 'x': 5, 'y': 5, 'inside': False, 'class': 'a'}, 'inside'),
    ({'action': 'click', 'picture': 1, 'x': 5, 'y': 5, 'inside': True, 'class': ' '}, 'name'),
    ({'action': 'box', 'picture': 1, 'left': 5, 'top': 5, 'right': 6, 'bottom': 9, 'class': 'a'},
     'larger box'),
    ({'action': 'click', 'picture': 1, 'x': 999, 'y': 5, 'inside': True, 'class': 'a'}, 'outside'),
    ({'action': 'carry', 'picture': 2, 'track': 4}, 'not in this picture'),
    ({'action': 'carry', 'picture': 0, 'track': 99}, 'not in this picture'),
    ({'action': 'remove', 'picture': 0, 'track': 99}, 'no track 99'),
    ({'action': 'mark', 'picture': 7}, 'no picture 7'),
])
def test_what_cannot_be_done_is_told(
    server: LabelServer, folder: Path, wish: dict[str, Any], words: str
) -> None:
    before = (folder / 'annotations.json').read_bytes()
    status, answer = act(server, **wish)
    assert status == 400
    assert words in answer['error']
    assert (folder / 'annotations.json').read_bytes() == before


def test_a_picture_with_one_thing_twice_is_not_done(server: LabelServer, folder: Path) -> None:
    box = {'left': 100, 'top': 10, 'right': 120, 'bottom': 30, 'class': 'dock'}
    for _ in range(2):
        act(server, action='box', picture=0, **box)
    status, answer = act(server, action='mark', picture=0, labelled=True)
    assert status == 400
    assert 'tracks 5 and 6 cover the same pixels' in answer['error']
    assert not read_labels(folder).videos[0].frames[0].is_labelled


def test_two_cannot_label_one_folder(folder: Path) -> None:
    with locked(folder), pytest.raises(OutputError, match='being labelled'), locked(folder):
        pass


def started(folder: Path, model: str = str(MODEL)) -> tuple[subprocess.Popen[str], str]:
    """Start the command and return it with the address that it prints."""
    command = [sys.executable, '-m', 'stmask_ros.cli', 'label', str(folder), '--model', model,
               '--device', 'cpu']
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True,
        # Where the tests are a shell's job in the background, SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith('open http://127.0.0.1:'), line
    return process, line.split()[1]


def test_a_program_that_is_killed_loses_nothing(folder: Path) -> None:
    """A real process is killed after each answer; another goes on where it was."""
    for count in (1, 2):
        process, address = started(folder)
        parts = urlsplit(address)
        connection = http.client.HTTPConnection('127.0.0.1', parts.port, timeout=300)
        wish = {'action': 'box', 'picture': count, 'left': 20, 'top': 20, 'right': 90,
                'bottom': 70, 'class': 'dock'}
        connection.request('POST', f'{parts.path}do', json.dumps(wish),
                           {'Content-Type': 'application/json'})
        answer = json.loads(connection.getresponse().read())
        process.send_signal(signal.SIGKILL)
        process.wait()
        connection.close()
        assert 'track' in answer, answer
        assert len(read_labels(folder).tracks) == 1 + count
        # As of a program that is killed while it writes.
        (folder / '.annotations.1.json').write_text('{')
    with locked(folder):
        assert {path.name for path in folder.iterdir()} == {'images', 'annotations.json'}


def resize_a_picture(folder: Path) -> None:
    cv2.imwrite(str(folder / 'images' / '000001.jpg'), np.zeros((20, 30, 3), np.uint8))


def take_all_videos(folder: Path) -> None:
    write_labels(folder, Labels((), (Category(1, 'pallet'),), ()))


def take_the_labels(folder: Path) -> None:
    (folder / 'annotations.json').unlink()


@pytest.mark.parametrize(('spoil', 'model', 'words'), [
    (resize_a_picture, 'stmask', '30x20 pixels, but the annotations are for 160x90'),
    (take_all_videos, 'stmask', 'has no pictures to label'),
    (take_the_labels, 'stmask', 'as `stmask bag export` writes it'),
    (lambda folder: None, 'sipmask', 'shows no prototypes to fit clicks to'),
])
def test_what_cannot_be_labelled_ends_in_a_sentence(
    spoil: Callable[[Path], None], model: str, words: str, folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoil(folder)
    path = str(MODEL.with_name(f'{model}.yaml'))
    assert main(['label', str(folder), '--model', path, '--device', 'cpu']) == 1
    assert words in caplog.records[-1].getMessage()


def cells_of(size: tuple[int, int], center: float) -> tuple[Cells, np.ndarray]:
    """Return a bright disc on dark ground with prototypes that show it, and its mask."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    mask = (rows - height / 2) ** 2 + (columns - width * center) ** 2 < (height / 4) ** 2
    image = np.where(mask[..., None], (40, 200, 240), (90, 60, 50)).astype(np.uint8)
    small = cv2.resize(mask.astype(np.float32), (64, 36), interpolation=cv2.INTER_AREA)
    return Cells.of(image, np.stack([small, 1 - small, 0 * small])), mask


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize('size', [(360, 640), (2160, 3840)])
def test_a_click_or_a_box_finds_a_thing(size: tuple[int, int]) -> None:
    cells, mask = cells_of(size, 0.4)
    height, width = size
    click = Click(0.4 * width, height / 2, True)
    assert iou(proposed(cells, Hints((click,))), mask) > 0.9
    box = (0.2 * width, 0.2 * height, 0.6 * width, 0.8 * height)
    assert iou(proposed(cells, Hints(box=box)), mask) > 0.9


def test_a_mask_stays_where_nothing_was_said() -> None:
    cells, mask = cells_of((360, 640), 0.4)
    base = mask.copy()
    base[20:60, 560:620] = True
    corrected = proposed(cells, Hints((Click(590, 40, False),), base=base))
    assert not corrected[40, 590]
    assert iou(corrected & mask, mask) > 0.95


def test_a_mask_is_carried_to_the_next_picture() -> None:
    before, mask = cells_of((360, 640), 0.4)
    now, moved = cells_of((360, 640), 0.5)
    assert iou(carried(before, mask, now, (0.0, 0.1)), moved) > 0.9


def test_a_mask_goes_with_its_pixels_or_is_given_up() -> None:
    coarse = np.random.default_rng(0).integers(0, 255, (2, 24, 32, 3), np.uint8)
    texture, background = (cv2.resize(each, (320, 240)) for each in coarse)
    mask = np.zeros((240, 320), bool)
    mask[80:160, 90:170] = True
    moved = np.roll(mask, (9, 14), (0, 1))
    before, now = background.copy(), background.copy()
    before[mask], now[moved] = texture[mask], texture[mask]
    found = followed(TemplateMatch.first(before, mask), now)
    assert found is not None
    assert iou(found.here.mask, moved) > 0.8 > 0.6 > iou(mask, moved)
    assert followed(TemplateMatch.first(before, mask), texture[::-1]) is None
