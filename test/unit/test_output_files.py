# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a command writes: whole or not at all, and never over what it did not make."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from stmask_ros.output_files import OutputError, claim, output_folder, whole_file, write_whole


def fill(folder: Path, *names: str, text: str = 'mine') -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    """Return the text of every file but the mark."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob('*') if path.is_file() and not path.name.startswith('.stmask')
    }


def write(folder: Path, *names: str, command: str = 'demo', overwrite: bool = False) -> None:
    with output_folder(folder, command, overwrite) as stage:
        fill(stage, *names, text='written')


def test_a_new_and_an_empty_folder_are_written_into(tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    for folder in (tmp_path / 'deep' / 'new', tmp_path / 'empty'):
        write(folder, 'a', 'bag/b')
        assert contents(folder) == {'a': 'written', 'bag/b': 'written'}


def test_a_folder_of_the_user_is_refused_untouched(tmp_path: Path) -> None:
    fill(tmp_path, 'thesis.tex', 'bag/metadata.yaml')
    with pytest.raises(OutputError, match=r'holds files.*--overwrite'):
        write(tmp_path, 'bag/metadata.yaml')
    assert contents(tmp_path) == {'thesis.tex': 'mine', 'bag/metadata.yaml': 'mine'}
    assert len(list(tmp_path.iterdir())) == 2


def test_overwrite_replaces_the_same_names_alone(tmp_path: Path) -> None:
    fill(tmp_path, 'thesis.tex', 'bag/metadata.yaml', 'bag/notes')
    write(tmp_path, 'bag/metadata.yaml', overwrite=True)
    assert contents(tmp_path) == {
        'thesis.tex': 'mine', 'bag/metadata.yaml': 'written', 'bag/notes': 'mine'
    }


def test_another_run_replaces_what_the_first_made_and_leaves_the_rest(tmp_path: Path) -> None:
    write(tmp_path, 'a', 'old/b', 'old/c')
    fill(tmp_path, 'thesis.tex', 'old/c.notes')
    (tmp_path / 'a').write_text('earlier')
    write(tmp_path, 'a', 'new')
    assert contents(tmp_path) == {
        'a': 'written', 'new': 'written', 'thesis.tex': 'mine', 'old/c.notes': 'mine'
    }


def test_a_file_of_the_user_in_the_way_stays(tmp_path: Path) -> None:
    write(tmp_path, 'a')
    fill(tmp_path, 'b')
    with pytest.raises(OutputError, match=r'b is there already'):
        write(tmp_path, 'a', 'b')
    assert contents(tmp_path) == {'a': 'written', 'b': 'mine'}


def test_the_folder_of_another_command_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 'a', command='clips')
    with pytest.raises(OutputError, match='is of stmask clips'):
        write(tmp_path, 'a')


def write_half(folder: Path) -> None:
    with output_folder(folder, 'demo') as stage:
        fill(stage, 'a', 'b')
        raise ValueError('half')


def test_a_run_that_fails_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path / 'old', 'a')
    for folder in ('old', 'new'):
        with pytest.raises(ValueError, match='half'):
            write_half(tmp_path / folder)
    assert contents(tmp_path / 'old') == {'a': 'written'}
    assert not (tmp_path / 'new').exists()


def test_an_input_in_the_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 'bag/b')
    with (pytest.raises(OutputError, match='is what is read'),
          output_folder(tmp_path, 'demo', inputs=[tmp_path / 'bag'])):
        pass
    assert contents(tmp_path) == {'bag/b': 'written'}


def test_two_runs_at_once_do_not_mix(tmp_path: Path) -> None:
    with output_folder(tmp_path, 'demo') as stage:
        fill(stage, 'a', text='first')
        with pytest.raises(OutputError, match='another stmask demo'):
            write(tmp_path, 'a')
    assert contents(tmp_path) == {'a': 'first'}


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    claim(tmp_path, 'demo')
    fill(tmp_path, '.stmask-part-killed/bag/b')
    write(tmp_path, 'a')
    assert {path.name for path in tmp_path.iterdir()} == {'a', '.stmask-output.json'}


def test_a_mark_removes_nothing_outside_its_folder(tmp_path: Path) -> None:
    fill(tmp_path, 'thesis.tex')
    out = tmp_path / 'out'
    write(out, 'a')
    mark = out / '.stmask-output.json'
    mark.write_text(mark.read_text().replace('"a"', '"../thesis.tex"'))
    with pytest.raises(OutputError, match='is not in'):
        write(out, 'a')
    assert (tmp_path / 'thesis.tex').read_text() == 'mine'


def write_half_a_file(path: Path) -> None:
    with whole_file(path) as part:
        part.write_text('new')
        raise ValueError('half')


def test_a_file_that_fails_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / 'a.json'
    write_whole(path, 'old')
    with pytest.raises(ValueError, match='half'):
        write_half_a_file(path)
    assert contents(tmp_path) == {'a.json': 'old'}


FULL_DISK = """
import resource, sys
from pathlib import Path
from stmask_ros.output_files import output_folder, write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
if sys.argv[2] == 'file':
    write_whole(Path(sys.argv[1]) / 'a.json', 'x' * 1_000_000)
else:
    with output_folder(Path(sys.argv[1]), 'demo') as stage:
        (stage / 'a.json').write_text('x' * 1_000)
        write_whole(stage / 'b.json', 'x' * 1_000_000)
"""


@pytest.mark.parametrize('kind', ['file', 'folder'])
def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path: Path, kind: str) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    name = 'a.json' if kind == 'file' else 'b.json'
    claim(tmp_path, 'demo')
    process = subprocess.run(
        [sys.executable, '-c', FULL_DISK, str(tmp_path), kind],
        capture_output=True, text=True, timeout=60, check=False,
    )
    assert f'OutputError: {tmp_path / name} cannot be written: File too large' in process.stderr
    assert contents(tmp_path) == {}
