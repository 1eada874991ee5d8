# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The files of a bag in the order of their messages, whatever its recorder left of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

import yaml
import zstandard
from rosbags.interfaces import Qos

from stmask_ros.bags.mcap_file import McapFile
from stmask_ros.bags.serialised import (
    Channel,
    CutOffError,
    SerialisedMessage,
    StorageFile,
)
from stmask_ros.bags.sqlite_file import SqliteFile
from stmask_ros.names import natural_order

METADATA = 'metadata.yaml'
_KINDS: dict[str, type[McapFile | SqliteFile]] = {'.mcap': McapFile, '.db3': SqliteFile}
_ZSTD = '.zstd'


class BagError(Exception):
    """A bag cannot be read or written; the message says which, why, and what was expected."""


@dataclass(frozen=True)
class BagContents:
    """
    What a bag holds.

    files: in the order of their first messages. missing: those that the metadata names and that
    are not there. compression: of messages, by a plugin other than zstd's; '' if none.
    """

    path: Path
    files: tuple[StorageFile, ...]
    missing: tuple[str, ...]
    compression: str

    @property
    def channels(self) -> list[Channel]:
        """Return the topics of all files, each once, in the order of their names."""
        found = {channel.topic: channel for file in self.files for channel in file.channels}
        return [found[topic] for topic in sorted(found)]

    def messages(self, topics: Sequence[str] = ()) -> Iterator[SerialisedMessage]:
        """
        Yield the messages of some topics or of all, in the order of recording.

        Of a damaged bag everything that can be read, and then BagError.
        """
        if self.compression:
            raise BagError(
                f'the messages of the bag {self.path} are compressed with {self.compression}; '
                'only zstd can be read: decompress it with `ros2 bag convert`')
        count = 0
        damage = [f'{name} is not there' for name in self.missing]
        for file in self.files:
            try:
                for message in file.messages(topics):
                    count += 1
                    yield message
            except (CutOffError, OSError) as error:  # noqa: PERF203
                damage.append(str(error))
        if damage:
            after = f' beyond {count} messages' if count else ''
            raise BagError(f'the bag {self.path} cannot be read{after}: {"; ".join(damage)}')


def open_bag(path: Path) -> BagContents:
    """
    Return what a bag holds; BagError if it is none.

    path: its folder, with or without metadata.yaml, or one of its files (.mcap or .db3, also
    with .zstd behind).
    """
    if path.suffix == '.bag':
        raise BagError(
            f'{path} is a bag of ROS 1: make one of ROS 2 of it with `rosbags-convert --src '
            f'{path.name} --dst {path.stem}`')
    if not path.exists():
        raise BagError(f'the bag {path} cannot be read: it does not exist')
    metadata = _metadata(path)
    names = [PurePath(name).name for name in metadata.get('relative_file_paths') or ()]
    paths = storage_paths(path) if not names else [path / name for name in names]
    present = [file for file in paths if file.is_file() and is_storage(file)]
    if not present:
        raise BagError(
            f'the bag {path} cannot be read: expected files that end in .mcap or .db3, and found '
            'none')
    files = [_opened(file) for file in present]
    times = [(file.first_time is None, file.first_time or 0) for file in files]
    order = sorted(range(len(files)), key=times.__getitem__)
    return BagContents(
        path, tuple(files[index] for index in order),
        tuple(file.name for file in paths if file not in present), _compression(metadata),
    )


def is_storage(path: Path) -> bool:
    """Return whether a file's name is that of a file of a bag."""
    return Path(path.name.removesuffix(_ZSTD)).suffix in _KINDS


def storage_paths(path: Path) -> list[Path]:
    """Return the files of a bag's folder, numbers by value, or the file itself."""
    if not path.is_dir():
        return [path]
    return sorted(filter(is_storage, path.iterdir()), key=lambda file: natural_order(file.name))


def bag_topics(path: Path) -> dict[str, str]:
    """
    Return the type of every topic in CDR, in the order of their names.

    Of a bag that was cut off, the topics of what is readable. Raises BagError if that is nothing.
    """
    channels = _channels(path)
    return {channel.topic: channel.type_name for channel in channels if channel.encoding == 'cdr'}


def foreign_topics(path: Path) -> dict[str, str]:
    """Return the encoding of every topic that is not in CDR, which is left aside; or BagError."""
    channels = _channels(path)
    return {channel.topic: channel.encoding for channel in channels if channel.encoding != 'cdr'}


def offered_qos(path: Path) -> dict[str, Sequence[Qos]]:
    """Return the quality of service that each topic was recorded with; or BagError."""
    return {channel.topic: channel.offered for channel in _channels(path)}


def _channels(path: Path) -> list[Channel]:
    """Return the topics of a bag; BagError if not even one of a damaged bag can be read."""
    bag = open_bag(path)
    channels = bag.channels
    if not channels:
        for _ in bag.messages():
            pass  # raises the damage, if there is any
    return channels


def listing(topics: Mapping[str, str]) -> str:
    """Return topics with their types as text."""
    return ', '.join(f'{name} ({kind})' for name, kind in topics.items()) or 'nothing'


def _metadata(path: Path) -> dict[str, Any]:
    """Return what metadata.yaml says; nothing if there is none, or it was cut off itself."""
    try:
        content = yaml.safe_load((path / METADATA).read_text())['rosbag2_bagfile_information']
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _compression(metadata: dict[str, Any]) -> str:
    name = str(metadata.get('compression_format') or '')
    return '' if name in ('', 'zstd', 'none') else name


def _opened(path: Path) -> StorageFile:
    if path.suffix == _ZSTD:
        return _Decompressed(path)
    return _KINDS[path.suffix](path)


class _Decompressed:
    """A file of a bag that was compressed as a whole; see StorageFile."""

    def __init__(self, path: Path) -> None:
        self._folder = TemporaryDirectory()
        plain = Path(self._folder.name) / path.stem
        self._damage = ''
        try:
            _decompress(path, plain)
        except (zstandard.ZstdError, OSError) as error:
            self._damage = f'{path.name} breaks off: {error}'
        self._file = _KINDS[plain.suffix](plain)

    @property
    def channels(self) -> Sequence[Channel]:
        return self._file.channels

    @property
    def first_time(self) -> int | None:
        return self._file.first_time

    def messages(self, topics: Sequence[str]) -> Iterator[SerialisedMessage]:
        try:
            yield from self._file.messages(topics)
        except CutOffError as error:
            raise CutOffError(self._damage or str(error)) from error
        if self._damage:
            raise CutOffError(self._damage)


def _decompress(packed: Path, plain: Path) -> None:
    """Write what a file holds; OSError beyond half of what is free on the disk, also in memory."""
    most = shutil.disk_usage(plain.parent).free // 2
    size = 0
    with packed.open('rb') as source, plain.open('wb') as file:
        for piece in zstandard.ZstdDecompressor().read_to_iter(source):
            size += len(piece)
            if size > most:
                raise OSError(
                    f'it holds more than half of what is free in {plain.parent.parent}; '
                    'decompress it with `zstd -d`, or set TMPDIR to a folder with more room')
            file.write(piece)
