# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Files that a command writes: they appear whole or not at all, and replace only its own."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

MARK = '.stmask-output.json'
_STAGE = '.stmask-part-'


class OutputError(OSError):
    """An output cannot be written; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Mark:
    """What a folder carries that a command writes into: its name, and the files it has made."""

    command: str
    files: tuple[str, ...] = ()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """
    Yield a path beside `path` to write to; at the end of the block, the file there becomes `path`.

    Of several writers the last one wins. If the block fails, `path` stays as it was. Raises
    OutputError that names the file if it cannot be written.
    """
    part = path.with_name(f'.{path.stem}.{os.getpid()}{path.suffix}')
    try:
        yield part
        _flush(part)
        part.replace(path)
    except OSError as error:
        raise _placed(error, part, path) from error
    finally:
        part.unlink(missing_ok=True)


def remove_parts(path: Path) -> None:
    """Remove what writers of `path` left that were killed. Nobody may be writing it."""
    for part in path.parent.glob(f'.{path.stem}.*{path.suffix}'):
        part.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file as whole_file does."""
    with whole_file(path) as part:
        part.write_text(text, encoding='utf-8')


def check_free(path: Path, overwrite: bool) -> None:
    """Raise OutputError if something is at `path` that is not to be overwritten."""
    if path.exists() and not overwrite:
        raise OutputError(
            f'{path} is there already: choose another name, or replace it with --overwrite'
        )


def claim(folder: Path, command: str, overwrite: bool = False) -> Mark:
    """
    Make a folder a command's, and return its mark.

    folder: is new, empty, or carries the mark of an earlier run of the command; any, with
    overwrite. Raises OutputError, and touches nothing, if it is another.
    """
    # Looked at before the mark: another worker of the same run may be about to write both.
    occupied = folder.is_dir() and any(MARK[:7] not in path.name for path in folder.iterdir())
    mark = _read_mark(folder)
    if mark is None or mark.command != command:
        if occupied and not overwrite:
            whose = f'of stmask {mark.command}' if mark else f'not of an earlier stmask {command}'
            raise OutputError(
                f'{folder} holds files, and is {whose}: nothing in it was touched. Choose a new '
                'folder, or write into this one with --overwrite, which replaces files of the '
                'same names and leaves all others alone'
            )
        mark = Mark(command)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f'{folder} cannot be made: {error.strerror}') from error
        _write_mark(folder, mark)
    return mark


@contextmanager
def output_folder(
    folder: Path, command: str, overwrite: bool = False, inputs: Sequence[Path] = ()
) -> Iterator[Path]:
    """
    Yield a folder to write to; what lies there at the end of the block appears in `folder`.

    It replaces what the folder's mark names, and with overwrite what has the same name; see
    `claim`. inputs: what the command reads. If the block fails, nothing appears and nothing is
    lost. Raises OutputError as `claim`, if the folder holds an input, while another run writes
    into it, and if something cannot be written.
    """
    _check_inputs(folder, inputs)
    new = not folder.exists()
    mark = claim(folder, command, overwrite)
    try:
        refusal = f'another stmask {command} is writing into {folder}'
        with locked(folder, refusal), _stage(folder) as stage:
            yield stage
            _publish(stage, folder, mark, overwrite)
    finally:
        if new and [path.name for path in folder.iterdir()] == [MARK]:
            shutil.rmtree(folder)


def _check_inputs(folder: Path, inputs: Sequence[Path]) -> None:
    for path in inputs:
        if path.exists() and path.resolve().is_relative_to(folder.resolve()):
            raise OutputError(
                f'{path} is what is read, and lies in {folder}: choose another folder to write to'
            )


@contextmanager
def locked(folder: Path, refusal: str) -> Iterator[None]:
    """Keep other programs from writing into a folder; OutputError with `refusal` if one does."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise OutputError(refusal) from None
    finally:
        os.close(handle)


@contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    """Yield a folder in the locked `folder`, thus on its file system, that is gone afterwards."""
    for left in folder.glob(f'{_STAGE}*'):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    stage = Path(tempfile.mkdtemp(prefix=_STAGE, dir=folder))
    try:
        yield stage
    except OSError as error:
        raise _placed(error, stage, folder) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _placed(error: OSError, part: Path, path: Path) -> OutputError:
    """Return an error of writing below `part`, told of what was to appear below `path`."""
    text = str(error)
    if not isinstance(error, OutputError):
        text = f'{error.filename or path} cannot be written: {error.strerror or error}'
    return OutputError(text.replace(str(part), str(path)))


def _publish(stage: Path, folder: Path, mark: Mark, overwrite: bool) -> None:
    files = tuple(sorted(
        path.relative_to(stage).as_posix() for path in stage.rglob('*') if not path.is_dir()
    ))
    for name in set(files) - set(mark.files):
        check_free(folder / name, overwrite)
    for name in files:
        _flush(stage / name)
    _write_mark(folder, Mark(mark.command, tuple(sorted({*files, *mark.files}))))
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).replace(folder / name)
    for name in set(mark.files) - set(files):
        _remove(folder, name)
    _write_mark(folder, Mark(mark.command, files))


def _remove(folder: Path, name: str) -> None:
    """Remove a file of an earlier run, and the folders that it leaves empty."""
    (folder / name).unlink(missing_ok=True)
    for parent in PurePosixPath(name).parents[:-1]:
        if any((folder / parent).iterdir()):
            break
        (folder / parent).rmdir()


def _flush(path: Path) -> None:
    """Have a file on the disk, where a full one may tell only now."""
    with path.open('rb') as file:
        os.fsync(file.fileno())


def _read_mark(folder: Path) -> Mark | None:
    file = folder / MARK
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
        mark = Mark(str(content['command']), tuple(map(str, content['files'])))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise OutputError(f'{file} is damaged ({error}): choose another folder') from error
    for name in mark.files:  # a mark from elsewhere removes nothing outside its folder
        if not (folder / name).parent.resolve().is_relative_to(folder.resolve()):
            raise OutputError(f'{file} names {name}, which is not in {folder}')
    return mark


def _write_mark(folder: Path, mark: Mark) -> None:
    write_whole(folder / MARK, json.dumps(asdict(mark), indent=1) + '\n')
