# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
JSON files that are mostly one long list, decoded a few items at a time.

Decoded at once, millions of numbers cost more time in fresh memory than in work; a few items at a
time, the memory of some serves the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

Int64Array = npt.NDArray[np.int64]

_OPENING = re.compile(rb'\s*\[\s*(?=\{)')
_VALUE = re.compile(rb'\s*:\s*\[\s*(?=\{)')
_COMMA = re.compile(rb'\s*,\s*')
_OPEN, _CLOSE = ord('{'), ord('}')
# Taken together, of a text [byte] and of a list that is decoded already: what fits into a cache.
_CHUNK = 1 << 18
_BLOCK = 32


@dataclass(frozen=True)
class LongList:
    """
    A list of JSON objects that are decoded when they are asked for.

    text: of the document. key: whose value the list is; None if it is the whole document.
    spans: where each object begins and ends in the text.
    """

    text: bytes
    key: str | None
    spans: Sequence[tuple[int, int]]

    def blocks(self) -> Iterator[list[Any]]:
        """Yield the items, a few at a time; orjson.JSONDecodeError if the text is not JSON."""
        block: list[Any] = []
        first = 0
        for index, (start, end) in enumerate(self.spans):
            try:
                block.append(orjson.loads(memoryview(self.text)[start:end]))
            except orjson.JSONDecodeError:
                # Braces in a name misled: from here on, the items of the whole.
                whole = orjson.loads(self.text)
                yield block + (whole if self.key is None else whole[self.key])[index:]
                return
            if end - first > _CHUNK:
                yield block
                block, first = [], end
        yield block


def in_blocks(items: LongList | Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield the items of a list, decoded or not, a few at a time."""
    if isinstance(items, LongList):
        yield from items.blocks()
    else:
        for start in range(0, len(items), _BLOCK):
            yield items[start:start + _BLOCK]


def load_document(text: bytes, key: str | None = None) -> Any:
    """
    Return a JSON document with the list under this key of its root, or itself, as a LongList.

    Where that cannot be told apart for certain, all of it is decoded at once. Raises
    orjson.JSONDecodeError.
    """
    document = _split(text, key)
    return orjson.loads(text) if document is None else document


def _split(text: bytes, key: str | None) -> Any:
    opening = _opening(text, key)
    if opening is None or not (spans := _spans(text, opening)):
        return None
    # What is left without the items tells whether they are all of the right list.
    try:
        rest = orjson.loads(text[:opening] + text[spans[-1][1]:])
    except orjson.JSONDecodeError:
        return None
    items = LongList(text, key, spans)
    if key is None:
        return items if rest == [] else None
    return rest | {key: items} if isinstance(rest, dict) and rest.get(key) == [] else None


def _opening(text: bytes, key: str | None) -> int | None:
    """Return where the list's items begin, None if that is not in one place."""
    if key is None:
        opening = _OPENING.match(text)
    else:
        name = b'"%b"' % key.encode()
        place = text.find(name)
        is_one = 0 <= place == text.rfind(name)
        opening = _VALUE.match(text, place + len(name)) if is_one else None
    return None if opening is None else opening.end()


def _spans(text: bytes, opening: int) -> list[tuple[int, int]]:
    """
    Return the spans of the objects from there to the end of their list, by their braces alone.

    Braces in a name mislead, and then a span is no JSON, or what follows the last one is none.
    """
    places, steps = _braces(text, opening)
    depths = steps.cumsum()
    count = (depths < 0).argmax() or len(depths)
    places, steps, depths = places[:count], steps[:count], depths[:count]
    starts = places[(depths == 1) & (steps == 1)].tolist()
    ends = (places[depths == 0] + 1).tolist()
    gaps = [text[end:start] for end, start in zip(ends, starts[1:], strict=False)]
    # The list goes on as long as there are only commas in between.
    others = [gap for gap in set(gaps) if not _COMMA.fullmatch(gap)]
    last = min(map(gaps.index, others), default=len(gaps))
    return list(zip(starts, ends, strict=False))[:last + 1]


def _braces(text: bytes, start: int) -> tuple[Int64Array, Int64Array]:
    """Return where in a text the braces are, int64 [N], and 1 or -1 for each."""
    places = []
    for first in range(start, len(text), _CHUNK):
        codes = np.frombuffer(text, np.uint8, min(_CHUNK, len(text) - first), first)
        places.append(((codes == _OPEN) | (codes == _CLOSE)).nonzero()[0] + first)
    found = np.concatenate(places)
    return found, np.where(np.frombuffer(text, np.uint8)[found] == _OPEN, 1, -1)
