# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Every block of code in README and docs is run by a test or says why not; all commands exist."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from annotated_clip import crossing_shapes, write_dataset
from small_models import small
from test_launch_files import arguments_of

from benchmark.lifting_fuzz import good_messages
from stmask_ros import srv
from stmask_ros.action import Follow
from stmask_ros.camera.parameters import CameraParameters
from stmask_ros.cli import build_parser
from stmask_ros.families.all import family_named
from stmask_ros.families.msts.config import MSTSConfig
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask
from stmask_ros.lifter.parameters import LifterParameters
from stmask_ros.masks import MaskEncoding, RegionMask
from stmask_ros.models.checkpoint import read_description
from stmask_ros.node.parameters import Parameters
from stmask_ros.tracking.segmenter import VideoSegmenter
from stmask_ros.training.config import read_config

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]
FENCED = re.compile(r'^```(\S*)\n(.*?)^```', re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r'(?<=\n)\n()((?:    .*\n|\n(?=    ))+)')
MARKER = re.compile(r'<!-- (run by|not run:) ([^>]+) -->\s*$')
PARAMETERS = {
    name: {field.name for field in fields(kind)} for name, kind in (
        ('segmenter', Parameters), ('lifter', LifterParameters), ('camera', CameraParameters))
}
PARAMETERS['segmenter'].add('autostart')
PARAMETERS['lifter'].add('autostart')


@dataclass(frozen=True)
class Block:
    """A block of code; comment: what stands right above it, marker: its two parts, or none."""

    document: str
    code: str
    marker: tuple[str, str] | None


def blocks() -> Iterator[Block]:
    """Return all blocks but those that Sphinx itself runs."""
    for path in DOCUMENTS:
        text = path.read_text()
        spaces = FENCED.sub(lambda found: re.sub(r'[^\n]', ' ', found[0]).replace(' ', '.'), text)
        for found in (*FENCED.finditer(text), *INDENTED.finditer(spaces)):
            if found[1].startswith('{'):
                continue
            marker = MARKER.search(text[:found.start(2)].removesuffix(f'```{found[1]}\n'))
            yield Block(path.name, textwrap.dedent(text[found.start(2):found.end(2)]),
                        (marker[1], marker[2]) if marker else None)


def block(document: str, words: str) -> str:
    """Return the block of a document that has these words."""
    return next(b.code for b in blocks() if b.document == document and words in b.code)


@pytest.mark.parametrize('each', blocks(), ids=lambda b: f'{b.document}: {b.code[:30]}')
def test_a_block_is_run_or_says_why_not(each: Block) -> None:
    assert each.marker, 'write `<!-- run by TEST -->` or `<!-- not run: WHY -->` above this block'
    how, words = each.marker
    if how == 'run by':
        assert each.document in (ROOT / words).read_text(), f'{words} does not read it'
    else:
        assert len(words) > 10


def lines_of_blocks() -> list[str]:
    """Return every line of code; one that a backslash continues is one."""
    return [line for each in blocks() for line in each.code.replace('\\\n', ' ').splitlines()]


def lines_in_the_text() -> list[str]:
    """Return what stands in backquotes in the text."""
    return [
        ' '.join(found.split()) for path in DOCUMENTS
        for found in re.findall(r'`([^`]+)`', FENCED.sub('', path.read_text()))]


def command_lines(*beginnings: str, lines: Sequence[str] = ()) -> list[list[str]]:
    """Return the words after one of these beginnings, of every command that has it."""
    return [
        shlex.split(re.split(beginning, line, maxsplit=1)[1], comments=True)
        for line in sorted({*(lines or (*lines_of_blocks(), *lines_in_the_text()))})
        for beginning in beginnings if re.match(beginning, line)]


STMASK = (r'(?:\S+/)?stmask ', r'(?:python|torchrun).* -m stmask_ros\.cli ')


@pytest.mark.parametrize('words', command_lines(*STMASK, lines=lines_of_blocks()), ids=' '.join)
def test_commands_parse(words: list[str]) -> None:
    assert build_parser().parse_args(words).run


@pytest.mark.parametrize('words', command_lines(*STMASK, lines=lines_in_the_text()), ids=' '.join)
def test_what_the_text_names_of_a_command_exists(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The text names commands and options without what else they need."""
    if words != ['COMMAND', '--help']:
        try:
            build_parser().parse_args(words)
        except SystemExit:
            assert 'the following arguments are required' in capsys.readouterr().err


@pytest.mark.parametrize('words', command_lines('ros2 launch stmask_ros '), ids=' '.join)
def test_launch_files_have_these_arguments(words: list[str]) -> None:
    known = {name for name, _ in arguments_of(ROOT / 'launch' / words[0])} | {'--show-args'}
    assert {word.split(':=')[0] for word in words[1:]} <= known


@pytest.mark.parametrize('words', command_lines('ros2 run stmask_ros '), ids=' '.join)
def test_executables_have_these_parameters(words: list[str]) -> None:
    assert (ROOT / 'scripts' / words[0]).is_file()
    given = [value.split(':=')[0] for flag, value in pairwise(words)
             if flag == '-p']
    assert set(given) <= PARAMETERS.get(words[0], set())


@pytest.mark.parametrize('words', command_lines('ros2 param set /segmenter '), ids=' '.join)
def test_parameters_exist_and_values_are_yaml(words: list[str]) -> None:
    assert words[0] in PARAMETERS['segmenter']
    assert yaml.safe_load(words[1]) is not None


@pytest.mark.parametrize(
    'words', command_lines('ros2 service call ', 'ros2 action send_goal --feedback '),
    ids=' '.join)
def test_requests_have_these_fields(words: list[str]) -> None:
    kind = words[1].split('/')[-1]
    request = Follow.Goal() if kind == 'Follow' else getattr(srv, kind).Request()
    fill(request, yaml.safe_load(words[2]))


def fill(message: Any, values: dict[str, Any]) -> None:
    """Set fields, which rclpy checks."""
    for name, value in values.items():
        if isinstance(value, dict):
            fill(getattr(message, name), value)
        else:
            kind = type(getattr(message, name))
            setattr(message, name, kind(value))


@pytest.mark.parametrize('words', command_lines('make '), ids=' '.join)
def test_targets_are_in_the_makefile(words: list[str]) -> None:
    makefile = (ROOT / 'Makefile').read_text()
    for word in words:
        name = word.split('=')[0]
        assert re.search(rf'^{name}(:| \?=)', makefile, re.MULTILINE), name


@pytest.mark.parametrize('words', command_lines(
    r'(?:.*/)?python(?= (?:-m benchmark|[\w/]+\.py))'), ids=' '.join)
def test_programs_have_these_options(words: list[str]) -> None:
    path = words[0]
    if path == '-m':
        path = words[1].replace('.', '/') + '.py'
    source = (ROOT / path).read_text()
    for option in words:
        assert not option.startswith('--') or f"'{option}'" in source, option


def test_paths_of_the_commands_exist() -> None:
    text = '\n'.join(path.read_text() for path in DOCUMENTS)
    named = set(re.findall(r'pytest (test/[\w/.]+)', text))
    named |= set(re.findall(r'src/stmask_ros/([\w/.]+)', text))
    named |= set(re.findall(r'`((?:test|model|config|docs|benchmark|launch)/[\w/.]+\w)`', text))
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


# What documents say in Python and YAML, where no other test runs it.


def test_masks_are_decoded() -> None:
    region = RegionMask(2, 1, np.ones((3, 4), bool))
    mask = SimpleNamespace(encoding=MaskEncoding.MONO8, x_offset=2, y_offset=1, width=4, height=3,
                           data=region.encode(MaskEncoding.MONO8))
    array = SimpleNamespace(
        image_height=10, image_width=12, instances=[SimpleNamespace(mask=mask)])
    names: dict[str, Any] = {'array': array}
    exec(block('node.md', 'import decode'), names)
    assert names['full'].sum() == 12


def test_a_family_in_python() -> None:
    code = block('models.md', 'family_named(')
    config = small(STMaskConfig.named('STMask_resnet50'))
    names: dict[str, Any] = {
        'VideoSegmenter': VideoSegmenter, 'torch': torch, 'small_config': config,
        'state_dict': STMask(config).state_dict(),
        'classes': tuple(f'class_{i}' for i in range(config.num_classes))}
    exec(code.replace("family.configuration('STMask_resnet50', 40, {})", 'small_config'), names)
    assert names['segmenter'].initial_state().next_id == 1


def test_scores_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(tmp_path, [crossing_shapes('clip', 4, 0)])
    (tmp_path / 'annotations.json').rename(tmp_path / 'instances.json')
    truth = json.loads((tmp_path / 'instances.json').read_text())
    results = [
        {name: track[name] for name in ('video_id', 'category_id', 'segmentations')}
        | {'score': 0.9} for track in truth['annotations']]
    (tmp_path / 'results.json').write_text(json.dumps(results))
    monkeypatch.chdir(tmp_path)
    exec(block('evaluation.md', 'load_predictions'), {})
    # The mean over classes counts all four of the file; two of them have objects.
    found = [float(number) for number in capsys.readouterr().out.split()]
    assert found == pytest.approx([1.0, 0.5])


def test_depth_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    names = next(m for m in iter(lambda: good_messages(random, 0), None)
                 if hasattr(m['depth'], 'encoding'))
    for message in (names['instances'], names['depth']):
        message.header.frame_id = 'odom'
    exec(block('lifting.md', 'LiftingPipeline('), names)
    assert len(names['pair'].lifted.positions) == 3
    assert 'nan' in capsys.readouterr().out   # depth that is nothing but noise


def test_labels_in_python() -> None:
    names: dict[str, Any] = {}
    exec(block('teaching.md', 'read_labels'), names)
    assert names['read_labels']


@pytest.mark.parametrize('document', ['models.md', 'msts.md', 'sipmask.md'])
def test_descriptions_of_models(document: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / 'model' / 'youtube_vis_2019.txt', tmp_path)
    path = tmp_path / 'mine.yaml'
    path.write_text(block(document, 'name: mine'))
    description = read_description(path)
    assert description.config()
    assert family_named(description.family)


def test_runs_of_a_training(tmp_path: Path) -> None:
    path = tmp_path / 'run.yaml'
    whole = block('training.md', 'name: mine')
    path.write_text(whole)
    assert read_config(path).validation is not None
    for document, family, name in (
        ('training.md', 'stmask', 'stmask_lite'), ('msts.md', 'msts', MSTSConfig.names()[0]),
    ):
        run = {'name': 'mine', 'family': family, 'configuration': name, 'out': 'out',
               'classes': ['bus', 'thing']}
        path.write_text(yaml.safe_dump(run) + block(document, 'pictures:'))
        assert read_config(path).pictures
