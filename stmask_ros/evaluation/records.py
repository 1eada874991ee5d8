# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""JSON files of data sets, read so that every complaint names the file and the entry."""

from __future__ import annotations

import json
import logging
import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from stmask_ros.evaluation.long_lists import LongList, load_document
from stmask_ros.run_lengths import short

RESULTS_NAME = 'results.json'

_LOGGER = logging.getLogger(__name__)
_BYTE_ORDER_MARK = b'\xef\xbb\xbf'

# Of a picture's side, and of all its pixels: more than any camera has.
MOST_SIDE = 1 << 16
MOST_PIXELS = 1 << 27


class DatasetError(ValueError):
    """A file that is not what the format asks for; the text says what is wrong and where."""


@dataclass
class BadEntries:
    """
    What to do with entries that are not what the format asks for.

    skip: leave them out and count them, instead of raising the first complaint.
    """

    skip: bool = False
    complaints: list[str] = field(default_factory=list)

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """Take the complaint of one entry, if bad ones are skipped."""
        try:
            yield
        except DatasetError as error:
            if not self.skip:
                raise
            self.complaints.append(str(error))

    def tell(self) -> None:
        """Warn of what was left out."""
        if self.complaints:
            _LOGGER.warning(
                'left out %d bad entries; the first: %s', len(self.complaints), self.complaints[0])


@contextmanager
def json_document(path: Path, key: str | None = None) -> Iterator[Any]:
    """
    Give a file's JSON with the list under a key, or itself, as one to be decoded on the way.

    path: also a zip with results.json. NaN and Infinity, which Python writes though JSON has no
    such numbers, are read, for the entry to be named. Raises DatasetError.
    """
    text = _read(path)
    try:
        yield _with_numbers_that_are_none(text) or load_document(text, key)
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise DatasetError(f'{path}: not a JSON file: {error}') from error


def _with_numbers_that_are_none(text: bytes) -> Any:
    """Return a document with NaN or Infinity in it, decoded at once; None for others."""
    if b'NaN' not in text and b'Infinity' not in text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None  # whose place the other decoder tells


def _read(path: Path) -> bytes:
    if path.suffix != '.zip':
        return path.read_bytes().removeprefix(_BYTE_ORDER_MARK)
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(RESULTS_NAME).removeprefix(_BYTE_ORDER_MARK)
    except (
        KeyError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError
    ) as error:
        raise DatasetError(
            f'{path}: expected a zip with {RESULTS_NAME} at its top level: {error}'
        ) from error


@dataclass(frozen=True)
class Record:
    """A JSON object and where it stands, so that every complaint can name the place."""

    values: Any
    where: str

    def __post_init__(self) -> None:
        """Raise DatasetError if it is no object."""
        if not isinstance(self.values, dict):
            raise DatasetError(f'{self.where}: expected an object, got {kind(self.values)}')

    def has(self, name: str) -> bool:
        """Return whether there is a value that is not null."""
        return self.values.get(name) is not None

    def integer(self, name: str) -> int:
        """Return a whole number; DatasetError, as all below, if it is none."""
        value = self._value(name)
        if not isinstance(value, int) or abs(value) >= 1 << 63:
            raise self._unexpected(name, 'a whole number')
        return value

    def side(self, name: str) -> int:
        """Return a side of a picture [pixel]."""
        value = self.integer(name)
        if not 0 < value <= MOST_SIDE:
            raise self._unexpected(name, f'1 to {MOST_SIDE} pixels')
        return value

    def size(self) -> tuple[int, int]:
        """Return height and width of a picture [pixel]."""
        height, width = self.side('height'), self.side('width')
        if height * width > MOST_PIXELS:
            raise DatasetError(
                f'{self.where}: {width}x{height} are more than {MOST_PIXELS} pixels')
        return height, width

    def number(self, name: str) -> float:
        """Return a finite number."""
        value = self._value(name)
        if not is_finite(value):
            raise self._unexpected(name, 'a finite number')
        return float(value)

    def text(self, name: str) -> str:
        """Return a text."""
        value = self._value(name)
        if not isinstance(value, str):
            raise self._unexpected(name, 'text')
        return value

    def items(self, name: str) -> list[Any]:
        """Return a list."""
        value = self._value(name)
        if not isinstance(value, list):
            raise self._unexpected(name, 'a list')
        return value

    def long_list(self, name: str) -> list[Any] | LongList:
        """Return a list that may be decoded on the way."""
        value = self._value(name)
        return value if isinstance(value, LongList) else self.items(name)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        values = self.items(name)
        if not all(isinstance(value, str) for value in values):
            raise self._unexpected(name, 'a list of texts')
        return tuple(values)

    def numbers(self, name: str) -> list[float | None]:
        """Return a list of finite numbers and nulls."""
        values = self.items(name)
        if not all(value is None or is_finite(value) for value in values):
            raise self._unexpected(name, 'a list of numbers and nulls')
        return values

    def records(self, name: str) -> Iterable[tuple[Any, str]]:
        """Return the entries of a list, each with the place where it stands."""
        return [
            (entry, f'{self.where}: {name}[{index}]')
            for index, entry in enumerate(self.items(name))
        ]

    def _value(self, name: str) -> Any:
        if name not in self.values:
            raise DatasetError(f"{self.where}: '{name}' is missing")
        return self.values[name]

    def _unexpected(self, name: str, expected: str) -> DatasetError:
        return DatasetError(
            f"{self.where}: '{name}': expected {expected}, got {short(self.values[name])}")


def is_finite(value: Any) -> bool:
    """Return whether a JSON value is a number that a float holds."""
    try:
        return isinstance(value, (int, float)) and math.isfinite(value)
    except OverflowError:  # of a whole number with hundreds of digits
        return False


def kind(value: Any) -> str:
    """Return what a JSON value is, in few words."""
    return 'null' if value is None else f'{type(value).__name__} {value!r:.40}'
