"""Where the pixels of many masks are, from run lengths: lists, or the text of pycocotools."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
Counts = list[int] | str | bytes

# Every character carries five bits of a number above '0'; the sixth says that it goes on, and
# the fifth of the last character is the sign.
_BITS = 5
_FIVE_BITS = 31
_GOES_ON = 32
_ZERO = ord('0')
_SIGN = 16
_MOST_CHARACTERS = 7


class RunError(ValueError):
    """Runs that are no mask of their image; `mask` is the index of the first such mask."""

    def __init__(self, mask: int, message: str) -> None:
        """Complain about a mask."""
        super().__init__(message)
        self.mask = mask


def decode_spans(
    counts: Sequence[Counts], sizes: Int64Array
) -> tuple[npt.NDArray[np.int32], Int64Array, Int64Array]:
    """
    Decode the runs of N masks in one go.

    counts: of each mask the runs, column by column, beginning with pixels outside of it; as a
    list or as compressed text. sizes: int64 [N, 2], height and width of each mask's image.
    Returns the spans int32 [S, 2], first pixel and the one after the last of every run of mask
    pixels, in the order of the masks; int64 [N], how many each mask has; int64 [N], its area.
    """
    pairs, span_counts = _decode(counts, sizes)
    inside = pairs[:, 1]
    after = span_counts.cumsum()
    ends = (pairs[:, 0] + inside).cumsum()
    borders = np.concatenate([[0], ends])[after]
    starts_at = np.concatenate([[0], borders])[:-1]
    areas: Int64Array = np.diff(np.concatenate([[0], inside.cumsum()])[after], prepend=0)
    _check(pairs, after, areas, borders - starts_at, sizes)
    ends -= np.repeat(starts_at, span_counts)
    spans = np.empty(pairs.shape, np.int32)
    spans[:, 0] = ends - inside
    spans[:, 1] = ends
    return spans, span_counts, areas


def short(value: Any) -> str:
    """Return what a value looks like, or the beginning of that."""
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


def _decode(counts: Sequence[Counts], sizes: Int64Array) -> tuple[Int64Array, Int64Array]:
    """
    Return all masks' runs in pairs, and how many pairs each has, int64 [N].

    pairs: int64 [S, 2], pixels outside and inside. Those after a mask's last are left out.
    """
    lists = [entry for entry in counts if isinstance(entry, list)]
    if len(lists) == len(counts):
        return _from_lists(lists, sizes)
    if not lists:
        return _from_texts([
            entry if isinstance(entry, bytes) else entry.encode(errors='surrogatepass')
            for entry in counts if not isinstance(entry, list)
        ])
    parts = [
        _decode_one(index, entry, sizes[index:index + 1]) for index, entry in enumerate(counts)
    ]
    return np.concatenate([pairs for pairs, _ in parts]), np.concatenate([n for _, n in parts])


def _decode_one(
    index: int, counts: Counts, size: Int64Array
) -> tuple[Int64Array, Int64Array]:
    try:
        return _decode([counts], size)
    except RunError as error:
        raise RunError(index, str(error)) from error


def _from_lists(
    counts: Sequence[list[int]], sizes: Int64Array
) -> tuple[Int64Array, Int64Array]:
    values = array('q')
    index = 0
    try:
        for index, entry in enumerate(counts):  # noqa: B007
            values.fromlist(entry)
    except (TypeError, OverflowError) as error:
        raise _not_whole(index, counts[index]) from error
    runs = np.frombuffer(values, np.int64)
    lengths = np.array([len(entry) for entry in counts], np.int64)
    ends = lengths.cumsum()
    if runs.min(initial=0) < 0:
        index = int(np.searchsorted(ends, (runs < 0).argmax(), side='right'))
        raise _not_whole(index, counts[index])
    totals = np.diff(np.concatenate([[0], runs.cumsum()])[ends], prepend=0)
    for index in np.flatnonzero(totals != sizes.prod(axis=1))[:1].tolist():
        raise RunError(
            index, f'the runs add up to {totals[index]} pixels, but size '
            f'{sizes[index].tolist()} has {sizes[index].prod()}'
        )
    return runs[_paired(lengths)].reshape(-1, 2), lengths // 2


def _not_whole(index: int, runs: list[int]) -> RunError:
    return RunError(index, f'expected whole numbers >= 0 as runs, got {short(runs)}')


def _from_texts(texts: Sequence[bytes]) -> tuple[Int64Array, Int64Array]:
    digits = np.frombuffer(b''.join(texts), np.uint8) - np.uint8(_ZERO)
    borders = np.cumsum([len(text) for text in texts])
    last = (digits < _GOES_ON).nonzero()[0]
    characters = np.concatenate([last[:1] + 1, last[1:] - last[:-1]])
    _check_texts(texts, digits, borders, last, characters)
    numbers = (digits[last].astype(np.int64) ^ _SIGN) - _SIGN
    longer, place = (characters > 1).nonzero()[0], 1
    while longer.size:
        bits = digits[last[longer] - place] & _FIVE_BITS
        numbers[longer] = (numbers[longer] << _BITS) | bits
        place += 1
        longer = longer[characters[longer] > place]
    lengths = np.diff(np.searchsorted(last, borders), prepend=0)
    pairs = numbers[_paired(lengths)].reshape(-1, 2)
    return _summed(pairs, lengths // 2), lengths // 2


def _check_texts(
    texts: Sequence[bytes], digits: npt.NDArray[np.uint8], borders: Int64Array,
    last: Int64Array, characters: Int64Array,
) -> None:
    finals = borders[borders > 0] - 1
    bad = digits >= 2 * _GOES_ON
    bad[finals] |= digits[finals] >= _GOES_ON
    bad[last[characters > _MOST_CHARACTERS]] = True
    if bad.any():
        index = int(np.searchsorted(borders, bad.argmax(), side='right'))
        found = short(texts[index].decode(errors='replace'))
        raise RunError(
            index, f'expected a list of runs or compressed RLE text as counts, got {found}'
        )


def _summed(pairs: Int64Array, counts: Int64Array) -> Int64Array:
    """Undo the differences: pairs are relative to the one before, but for a mask's first."""
    counts = counts[counts > 0]
    starts = counts.cumsum() - counts
    first = pairs[starts]
    summed = pairs.cumsum(axis=0)
    # The first pixels outside count for nothing that follows, the first ones inside do.
    summed -= np.repeat(summed[starts] - first * (0, 1), counts, axis=0)
    summed[starts, 0] = first[:, 0]
    return summed


def _paired(lengths: Int64Array) -> npt.NDArray[np.bool_]:
    """Return bool [R]: False for the last run of a mask that has an odd number of them."""
    kept = np.ones(int(lengths.sum()), bool)
    kept[lengths.cumsum()[lengths % 2 == 1] - 1] = False
    return kept


def _check(
    pairs: Int64Array, after: Int64Array, areas: Int64Array, ends: Int64Array, sizes: Int64Array
) -> None:
    pixels = sizes.prod(axis=1)
    for index in (areas > pixels).nonzero()[0][:1].tolist():
        raise RunError(
            index, f'{areas[index]} pixels in a mask of size {sizes[index].tolist()}'
        )
    for index in (ends > pixels).nonzero()[0][:1].tolist():
        raise RunError(index, f'runs that end outside a mask of size {sizes[index].tolist()}')
    if pairs.min(initial=0) < 0:
        pair = (pairs < 0).any(axis=1).argmax()
        index = int(np.searchsorted(after, pair, side='right'))
        raise RunError(index, 'compressed counts with a run of negative length')
