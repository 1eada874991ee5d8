# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""`stmask report`: two models on the same images of a real bag, as one page."""

from __future__ import annotations

import html.parser
import re
from pathlib import Path

import numpy as np
import pytest
from annotated_clip import Clip, crossing_shapes, write_bag, write_dataset

from stmask_ros.cli import main
from stmask_ros.evaluation.comparison import Comparison, ModelRun
from stmask_ros.masks import RegionMask
from stmask_ros.tracking.results import FrameResult

ROOT = Path(__file__).resolve().parents[2]
# Random weights see something in any picture.
UNTRAINED = str(ROOT / 'test' / 'ros' / 'untrained.yaml')


class Page(html.parser.HTMLParser):
    """Collects the tags of a page, its cells, and whatever it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or '' for name, value in attrs if name in ('src', 'href')]


@pytest.fixture(scope='module')
def clip() -> Clip:
    return crossing_shapes('shapes', 8, 1)


@pytest.fixture(scope='module')
def folder(clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('report')
    write_bag(folder / 'bag', clip)
    write_dataset(folder, [clip], stamps=True)
    return folder


def test_one_page_has_it_all_and_needs_no_other_file(folder: Path) -> None:
    assert main([
        'report', UNTRAINED, 'stmask_lite', str(folder / 'bag'), '--out',
        str(folder / 'page.html'), '--device', 'cpu', '--class-agnostic', '--annotations',
        str(folder / 'annotations.json')]) == 0
    text = (folder / 'page.html').read_text()
    page = Page(text)
    assert page.tags.count('table') == 5  # AP, objects, identities, the whole bag, time
    assert page.tags.count('img') == 2 * 2  # of eight images, five apart
    assert all(source.startswith('data:image/jpeg;base64,') for source in page.sources)
    assert not {'script', 'link', 'iframe'} & set(page.tags)
    assert 'untrained@' in text
    assert 'stmask_lite@' in text
    assert '<td>images answered</td><td>8</td><td>8</td>' in text


def test_a_model_and_itself_say_the_same(folder: Path, capsys) -> None:
    out = folder / 'same.html'
    assert main(['report', UNTRAINED, UNTRAINED, str(folder / 'bag'), '--out', str(out),
                 '--device', 'cpu']) == 0
    (_, numbers) = next(
        row.split(None, 1) for row in capsys.readouterr().out.splitlines()
        if row.startswith('instances '))
    before, after = re.findall(r'\d+\.\d+', numbers)
    assert before == after
    assert float(before) > 0
    assert 'track AP' not in out.read_text()  # nothing is annotated
    assert 'The two see the same things in all images' in out.read_text()
    assert 'img' not in Page(out.read_text()).tags


@pytest.mark.parametrize(('arguments', 'words'), [
    (['nothing', 'stmask_lite', 'bag'], "no model 'nothing'"),
    ([UNTRAINED, UNTRAINED, 'none'], 'none'),
    ([UNTRAINED, UNTRAINED, 'bag', '--topic', '/other'], '/other'),
    ([UNTRAINED, UNTRAINED, 'bag', '--annotations', 'missing.json'], 'missing.json'),
])
def test_bad_input_ends_in_a_sentence(
    folder: Path, tmp_path: Path, caplog, monkeypatch, arguments, words
) -> None:
    monkeypatch.chdir(folder)
    assert main(['report', *arguments, '--out', str(tmp_path / 'page.html')]) == 1
    assert words in caplog.text
    assert not list(tmp_path.iterdir())


def test_a_page_that_is_there_stays(folder: Path, tmp_path: Path, caplog) -> None:
    page = tmp_path / 'page.html'
    page.write_text('mine')
    assert main(['report', UNTRAINED, UNTRAINED, str(folder / 'bag'), '--out', str(page)]) == 1
    assert 'is there already' in caplog.text
    assert page.read_text() == 'mine'


def result(*rows: tuple[int, int, tuple[int, int, int, int]]) -> FrameResult:
    """Return a result of tracks (id, class, box)."""
    count = len(rows)
    ones = np.ones(count, np.int64)
    return FrameResult(
        100, 100, 1, 1, True, np.array([row[0] for row in rows], np.int64), ones, ones,
        np.array([row[1] for row in rows], np.int64), ones.astype(np.float32),
        ones.astype(np.float32), ones, ones, 0 * ones, ones, ones,
        np.array([row[2] for row in rows], np.float32).reshape(-1, 4),
        [RegionMask.empty()] * count,
    )


def test_numbers_by_hand() -> None:
    left, right = (0, 0, 10, 10), (50, 50, 60, 60)
    before, after = ModelRun(['cup', 'dog']), ModelRun(['dog', 'cup'])
    for place in range(3):
        before.results[place] = result((1, 1, left), (2, 2, right))
        after.results[place] = result((1, 2, left), *([(3, 1, right)] if place else []))
    after.results[2] = result((1, 1, left), (3, 1, right))
    comparison = Comparison(before, after, {})
    assert [comparison.difference(place) for place in range(3)] == [0.5, 0, 0.5]
    assert comparison.most_different(1, 1) == [0]
    assert comparison.most_different(2, 1) == [0, 2]
    assert [list(row) for row in comparison.identity_table().rows] == [
        ['cup', '1', '3', '1', '3'], ['dog', '1', '3', '1', '2'],
        ['all classes', '2', '3', '2', '2']]
    assert list(comparison.change_table().rows[2])[1:] == ['0', '1']
