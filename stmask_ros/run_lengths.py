# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Where the pixels of masks are, from run lengths: lists, or the compressed text of COCO."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
Counts = list[int] | str | bytes
Values = TypeVar('Values', Int64Array, npt.NDArray[np.float64])

# Largest mask that is decoded [pixel], as in include/stmask_ros/mask_codec.hpp: nobody can ask for
# more memory than this.
MAXIMUM_PIXELS = 1 << 28

# The longest text of a number; larger ones are no run of a mask.
MOST_CHARACTERS = 7

# Every character carries five bits of a number above '0'; the sixth says that it goes on, and
# the fifth of the last character is the sign.
_BITS = 5
_FIVE_BITS = 31
_GOES_ON = 32
_ZERO = ord('0')
_SIGN = 16

class RunError(ValueError):
    """Runs that are no mask of their image; `mask` is the index of the first such mask."""

    def __init__(self, mask: int, message: str) -> None:
        """Complain about a mask."""
        super().__init__(message)
        self.mask = mask


def decode_spans(
    counts: Sequence[Counts], sizes: Int64Array, *, exact: bool
) -> tuple[npt.NDArray[np.int32], Int64Array, Int64Array]:
    """
    Decode the runs of N masks in one go.

    counts: of each mask the runs, column by column, beginning with pixels outside of it; as a
    list or as compressed text. sizes: int64 [N, 2], height and width [pixel] of each mask's image.
    exact: whether the runs of a text must fill the image; otherwise they may end early, and the
    last one outside is not looked at, as pycocotools does. Those of a list always must, as there.
    Returns the spans int32 [S, 2], first pixel and the one after the last of every run of mask
    pixels, in the order of the masks; int64 [N], how many each mask has; int64 [N], its area.
    Raises RunError. pycocotools trusts texts: on damaged ones it writes outside its memory.
    """
    _check_sizes(sizes)
    pixels = sizes.prod(axis=1)
    outside, inside, span_counts = _decode(counts, sizes, exact)
    _check_runs(outside, inside, span_counts, sizes, pixels)
    areas = grouped_sums(inside, span_counts)
    steps = outside + inside
    ends = grouped_sums(steps, span_counts)
    _check_ends(areas, ends, sizes, pixels)
    if exact:
        texts = [not isinstance(entry, list) for entry in counts]
        _check_totals(np.where(texts, ends, pixels), sizes)
    if len(counts) > 1:
        _start_anew(steps, span_counts, ends)
    span_ends = steps.cumsum()
    spans = np.empty((len(steps), 2), np.int32)
    spans[:, 0] = span_ends - inside
    spans[:, 1] = span_ends
    return spans, span_counts, areas


def grouped_sums(values: Values, counts: Int64Array) -> Values:
    """Return the sums [N] of the first counts[0] values, of the next counts[1], and so on."""
    if len(counts) == 1:
        return cast('Values', values.sum(keepdims=True))
    sums = np.zeros(len(counts), values.dtype)
    if values.size:
        sums[counts > 0] = np.add.reduceat(values, _firsts(counts))
    return sums


def short(value: Any) -> str:
    """Return what a value looks like, or the beginning of that."""
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


def _decode(
    counts: Sequence[Counts], sizes: Int64Array, exact: bool
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """
    Return all masks' runs of pixels outside and inside, int64 [S] each, and each mask's number S.

    Runs outside that are the last of their mask are left out, but for those of exact texts.
    """
    kinds = set(map(type, counts))
    if kinds <= {list}:
        return _from_lists(cast('Sequence[list[int]]', counts), sizes)
    if kinds <= {str}:
        return _from_texts(cast('Sequence[str]', counts), exact)
    if kinds <= {bytes}:
        return _from_texts(list(map(_text, cast('Sequence[bytes]', counts))), exact)
    parts = [
        _decode_one(index, entry, sizes[index:index + 1], exact)
        for index, entry in enumerate(counts)
    ]
    outside, inside, span_counts = (np.concatenate(part) for part in zip(*parts, strict=True))
    return outside, inside, span_counts


def _decode_one(
    index: int, counts: Counts, size: Int64Array, exact: bool
) -> tuple[Int64Array, Int64Array, Int64Array]:
    try:
        if isinstance(counts, list):
            return _from_lists([counts], size)
        return _from_texts([_text(counts)], exact)
    except RunError as error:
        raise RunError(index, str(error)) from error


def _text(counts: str | bytes) -> str:
    return counts.decode('latin-1') if isinstance(counts, bytes) else counts


def _from_lists(
    counts: Sequence[list[int]], sizes: Int64Array
) -> tuple[Int64Array, Int64Array, Int64Array]:
    # The type of pycocotools, which refuses numbers below 0; and Python converts to it fastest.
    values = array('I')
    rests = []
    index = 0
    try:
        for index, entry in enumerate(counts):  # noqa: B007
            values.fromlist(entry)
            rests.append(values.pop() if len(entry) % 2 else 0)
    except (TypeError, OverflowError) as error:
        raise _not_whole(index, counts[index]) from error
    runs = np.frombuffer(values, np.uintc).astype(np.int64)
    span_counts = np.array([len(entry) // 2 for entry in counts], np.int64)
    _check_totals(grouped_sums(runs, 2 * span_counts) + rests, sizes)
    return runs[::2], runs[1::2], span_counts


def _not_whole(index: int, runs: list[int]) -> RunError:
    return RunError(
        index, f'expected whole numbers from 0 to 2**32 - 1 as runs, got {short(runs)}'
    )


def _from_texts(
    texts: Sequence[str], exact: bool
) -> tuple[Int64Array, Int64Array, Int64Array]:
    # Up to the first character that is not ASCII, which is an error, characters are bytes.
    # A number more makes a last run outside one of a pair, which is not left out.
    end = '0' if exact else ''
    characters = (end.join(texts) + end).encode(errors='surrogatepass')
    digits = np.frombuffer(characters, np.uint8) - np.uint8(_ZERO)
    borders = np.array([len(text) + len(end) for text in texts], np.int64).cumsum()
    _check_texts(texts, digits, borders, len(end))
    (outside, inside), number_counts = _numbers(digits, borders)
    counts = number_counts // 2
    # A number is relative to the one before of its kind, but for the first outside.
    firsts = _firsts(counts)
    first_outside = outside[firsts]
    outside[firsts] = 0
    for steps in (outside, inside):
        if len(counts) > 1:
            _start_anew(steps, counts, grouped_sums(steps, counts))
        steps.cumsum(out=steps)
    outside[firsts] = first_outside
    if exact:
        inside[counts.cumsum()[number_counts % 2 == 0] - 1] = 0
    return outside, inside, counts


def _numbers(
    digits: npt.NDArray[np.uint8], borders: Int64Array
) -> tuple[Int64Array, Int64Array]:
    """
    Return all masks' numbers, int64 [2, S]: those outside, those inside; how many each mask has.

    digits: all characters; borders: int64 [N], where each mask ends. The last of an odd number of
    numbers is left out, but counted: it is outside, at the end of its mask.
    """
    more = (digits >= _GOES_ON).nonzero()[0]
    more_counts = _steps(np.searchsorted(more, borders))
    counts = _steps(borders) - more_counts
    odd = counts % 2 == 1
    last = digits < _GOES_ON
    last[borders[odd] - 1] = False
    small = ((digits ^ _SIGN).view(np.int8) - np.int8(_SIGN))[last]
    numbers = small.reshape(-1, 2).T.astype(np.int64, order='C')
    # The number that each character which goes on belongs to, unless that is left out.
    owners = more - np.arange(len(more))
    owned = owners != np.repeat(np.where(odd, counts.cumsum() - 1, -1), more_counts)
    owners -= np.repeat(odd.cumsum() - odd, more_counts)
    owners = owners % 2 * len(numbers[0]) + owners // 2
    _complete(numbers.reshape(-1), digits[more[owned]], owners[owned])
    return numbers, counts


def _complete(numbers: Int64Array, digits: npt.NDArray[np.uint8], owners: Int64Array) -> None:
    """
    Complete in place the few numbers of several characters, of which only the last is in.

    digits: all other characters, in their order; owners: int64, the index of each one's number.
    """
    if not owners.size:
        return
    starts = _steps(owners + 1).nonzero()[0]
    counts = _steps(np.append(starts[1:], owners.size))
    places = np.arange(len(owners)) - np.repeat(starts, counts)
    numbers[owners[starts]] <<= _BITS * counts
    np.add.at(numbers, owners, (digits & _FIVE_BITS).astype(np.int64) << _BITS * places)


def _check_texts(
    texts: Sequence[str], digits: npt.NDArray[np.uint8], borders: Int64Array, added: int
) -> None:
    """Raise RunError for the first damaged text; added: characters that end each of them."""
    more = (digits >= _GOES_ON).nonzero()[0]
    ends = borders[borders > added] - 1 - added
    # Of a number that is too long, all characters but the last go on, in a row.
    row = MOST_CHARACTERS - 1
    bad = np.concatenate([
        (digits >= 2 * _GOES_ON).nonzero()[0],
        ends[digits[ends] >= _GOES_ON],
        more[row:][more[row:] - more[:-row] == row],
    ])
    if bad.size:
        index = int(np.searchsorted(borders, bad.min(), side='right'))
        raise RunError(
            index, 'expected a list of runs or compressed RLE text as counts, '
            f'got {short(texts[index])}'
        )


def _steps(values: Int64Array) -> Int64Array:
    """Return the differences from each value to the next, beginning at 0; np.diff takes longer."""
    steps = values.copy()
    steps[1:] -= values[:-1]
    return steps


def _firsts(counts: Int64Array) -> Int64Array:
    """Return where in all masks' values those of each mask begin that has any."""
    counts = counts[counts > 0]
    return counts.cumsum() - counts


def _start_anew(values: Int64Array, counts: Int64Array, sums: Int64Array) -> None:
    """Change the values in place so that their running sum starts from 0 at each mask."""
    sums = sums[counts > 0]
    values[_firsts(counts)[1:]] -= sums[:-1]


def _check_sizes(sizes: Int64Array) -> None:
    # A product of whole numbers might wrap.
    wrong = (sizes < 0).any(axis=1) | (sizes.prod(axis=1, dtype=np.float64) > MAXIMUM_PIXELS)
    for index in wrong.nonzero()[0][:1].tolist():
        raise RunError(
            index, f'a size of {sizes[index].tolist()}: expected at most {MAXIMUM_PIXELS} pixels'
        )


def _check_runs(
    outside: Int64Array, inside: Int64Array, counts: Int64Array, sizes: Int64Array,
    pixels: Int64Array,
) -> None:
    """Look at runs one by one before they are added up: a sum can be made to wrap."""
    ends = counts.cumsum()
    for run in (np.minimum(outside, inside) < 0).nonzero()[0][:1]:
        index = int(np.searchsorted(ends, run, side='right'))
        raise RunError(index, 'compressed counts with a run of negative length')
    longer = np.maximum(outside, inside)
    for run in (longer > pixels.repeat(counts)).nonzero()[0][:1]:
        index = int(np.searchsorted(ends, run, side='right'))
        raise RunError(
            index, f'{longer[run]} pixels in a mask of size {sizes[index].tolist()}'
        )


def _check_ends(
    areas: Int64Array, ends: Int64Array, sizes: Int64Array, pixels: Int64Array
) -> None:
    for index in (areas > pixels).nonzero()[0][:1].tolist():
        raise RunError(
            index, f'{areas[index]} pixels in a mask of size {sizes[index].tolist()}'
        )
    for index in (ends > pixels).nonzero()[0][:1].tolist():
        raise RunError(index, f'runs that end outside a mask of size {sizes[index].tolist()}')


def _check_totals(totals: Int64Array, sizes: Int64Array) -> None:
    pixels = sizes.prod(axis=1)
    for index in (totals != pixels).nonzero()[0][:1].tolist():
        raise RunError(
            index, f'the runs add up to {totals[index]} pixels, but size '
            f'{sizes[index].tolist()} has {pixels[index]}'
        )
