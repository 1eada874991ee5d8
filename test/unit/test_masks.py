# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Masks survive every encoding, in Python and in C++, and damaged data is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.rle import SegmentationError, decode_tracks
from stmask_ros.lifting.errors import LiftingError
from stmask_ros.lifting.instances import InstanceFrame
from stmask_ros.masks import (
    MAXIMUM_PIXELS_IN_ALL,
    BoolArray,
    MaskEncoding,
    RegionMask,
    check_total,
    decode,
    decode_all,
)
from stmask_ros.run_lengths import MAXIMUM_PIXELS, MOST_CHARACTERS, RunError, decode_spans
from stmask_ros.tracking.results import TrackStatus

ROOT = Path(__file__).resolve().parents[2]
REFUSED = b'\xff'
WITH_PIXELS = [MaskEncoding.COCO_RLE, MaskEncoding.BITPACK, MaskEncoding.MONO8]

full_masks = arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)))


class Mask(NamedTuple):
    """The fields of an InstanceMask."""

    encoding: int
    x_offset: int
    y_offset: int
    width: int
    height: int
    data: bytes


def encoded(region: RegionMask, encoding: MaskEncoding) -> Mask:
    return Mask(encoding, region.x_offset, region.y_offset, region.width, region.height,
                region.encode(encoding))


@settings(deadline=None)
@given(full_masks, st.sampled_from(WITH_PIXELS))
@example(np.zeros((3, 5), bool), MaskEncoding.COCO_RLE)
@example(np.ones((7, 1), bool), MaskEncoding.BITPACK)
def test_every_encoding_is_lossless(full: BoolArray, encoding: MaskEncoding) -> None:
    region = RegionMask.from_full(full)
    assert region.area == full.sum()
    decoded = decode(encoded(region, encoding)).to_full(*full.shape)
    assert decoded.dtype == np.bool_
    assert np.array_equal(decoded, full)


@settings(deadline=None)
@given(full_masks.filter(lambda mask: mask.any()))
def test_the_region_is_tight(full: BoolArray) -> None:
    pixels = RegionMask.from_full(full).pixels
    assert all(edge.any() for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))


def test_an_empty_mask_has_neither_place_nor_data() -> None:
    for empty in (RegionMask.from_full(np.zeros((3, 5), bool)), RegionMask.empty()):
        assert (empty.x_offset, empty.y_offset, empty.pixels.shape) == (0, 0, (0, 0))
        assert {empty.encode(encoding) for encoding in MaskEncoding} == {b''}


@pytest.mark.parametrize(('x', 'y', 'pixels', 'told'), [
    (0, 0, np.ones((2, 3), np.uint8), r'expected bool \[height, width\], got uint8 \[2, 3\]$'),
    (0, 0, np.ones((2, 3, 1), bool), r'expected bool \[height, width\], got bool \[2, 3, 1\]$'),
    (-1, 0, np.ones((2, 3), bool), r'^mask offset \(-1, 0\) is negative$'),
    (0, -2, np.ones((2, 3), bool), r'^mask offset \(0, -2\) is negative$'),
])
def test_what_is_no_mask_is_told(x: int, y: int, pixels: BoolArray, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        RegionMask(x, y, pixels)


def test_runs_are_those_of_coco_and_go_down_the_columns() -> None:
    # Two columns: outside inside inside | inside outside outside, hence runs of 1, 3 and 2.
    region = RegionMask(0, 0, np.array([[0, 1], [1, 0], [1, 0]], bool))
    assert region.encode(MaskEncoding.COCO_RLE) == b'132'
    uncompressed = {'size': [3, 2], 'counts': [1, 3, 2]}
    assert coco_mask.frPyObjects(uncompressed, 3, 2)['counts'] == b'132'


@pytest.mark.parametrize('encoding', WITH_PIXELS)
@pytest.mark.parametrize('cut', [1, 5])
def test_data_that_does_not_fill_the_region_is_refused(encoding: MaskEncoding, cut: int) -> None:
    checkerboard = np.indices((16, 16)).sum(axis=0) % 2 == 0
    whole = encoded(RegionMask(0, 0, checkerboard), encoding)
    with pytest.raises(ValueError, match=r'expected|invalid|add up'):
        decode(whole._replace(data=whole.data[:-cut]))


@settings(deadline=None)
@given(st.lists(full_masks, max_size=4))
def test_spans_are_those_of_the_pixels(masks: list[BoolArray]) -> None:
    encodings = [coco_mask.encode(np.asfortranarray(mask, np.uint8)) for mask in masks]
    sizes = np.array([mask.shape for mask in masks], np.int64).reshape(-1, 2)
    for exact in (False, True):
        spans, counts, areas = decode_spans(
            [encoding['counts'] for encoding in encodings], sizes, exact=exact)
        assert areas.tolist() == [mask.sum() for mask in masks]
        ends = counts.cumsum()
        for mask, first, last in zip(masks, ends - counts, ends, strict=True):
            inside = [np.arange(*span) for span in spans[first:last].tolist()]
            expected = np.flatnonzero(mask.T)
            assert np.concatenate([*inside, expected[:0]]).tolist() == expected.tolist()


@pytest.mark.parametrize(('numbers', 'area', 'complaint'), [
    ([2, 3, 7], 3, None), ([12], 0, None), ([0, 12], 12, None), ([2, 3, 7, -3], 3, None),
    ([2, 3], 3, 'add up to 5 pixels'), ([0], 0, 'add up to 0 pixels'), ([], 0, 'add up to 0'),
    ([2, 3, 6], 3, 'add up to 11 pixels'), ([2, 3, 8], 3, 'end outside'),
    ([2, 3, 1 << 33], 3, 'pixels in a mask'), ([2, 3, -7], 3, 'negative')])
def test_the_caller_chooses_whether_runs_must_fill_the_image(
    numbers: list[int], area: int, complaint: str | None
) -> None:
    size, text = np.array([[3, 4]]), written(numbers)
    assert decode_spans([text], size, exact=False)[2].tolist() == [area]
    if complaint is None:
        assert decode_spans([text], size, exact=True)[2].tolist() == [area]
    else:
        with pytest.raises(RunError, match=complaint):
            decode_spans([text], size, exact=True)


def test_a_complaint_names_the_first_wrong_mask_of_many() -> None:
    texts = [written([2, 3, 7]), written([12]), written([2, 3]), b'o']
    with pytest.raises(RunError) as caught:
        decode_spans(texts[:3], np.array([[3, 4]] * 3), exact=True)
    assert caught.value.mask == 2
    lists = [[2, 3, 7], texts[0], [5, 7]]
    spans, counts, _ = decode_spans(lists, np.array([[3, 4]] * 3), exact=True)
    assert spans[np.repeat(np.arange(3), counts) == 2].tolist() == [[5, 12]]


def test_runs_have_no_more_characters_than_their_pixels_can_need() -> None:
    most = MOST_CHARACTERS * 2
    with pytest.raises(ValueError, match='add up to 0 pixels'):
        decode(Mask(MaskEncoding.COCO_RLE, 0, 0, 1, 1, b'0' * most))
    with pytest.raises(ValueError, match=f'{most + 1} bytes are more than 1x1 pixels can need'):
        decode(Mask(MaskEncoding.COCO_RLE, 0, 0, 1, 1, b'0' * (most + 1)))


def test_unknown_and_absent_encodings_are_refused() -> None:
    with pytest.raises(ValueError, match='9'):
        decode(Mask(9, 0, 0, 1, 1, b'\xff'))
    for width in (1, MAXIMUM_PIXELS):
        with pytest.raises(ValueError, match=r'^the message carries no mask \(encoding NONE\)$'):
            decode(Mask(MaskEncoding.NONE, 0, 0, width, 1, b''))


def test_a_region_outside_the_image_is_refused() -> None:
    region = RegionMask(6, 0, np.ones((2, 3), bool))
    with pytest.raises(ValueError, match='outside the image'):
        region.to_full(8, 8)


DECODE_NOISE = """
import numpy
from stmask_ros.masks import RegionMask
random = numpy.random.default_rng(1)
for _ in range(3000):
    height, width, length = map(int, random.integers([1, 1, 0], [13, 13, 30]))
    try:
        RegionMask.decode(1, 0, 0, width, height, random.bytes(length))
    except ValueError:
        pass
"""


def test_arbitrary_bytes_as_runs_are_decoded_or_refused() -> None:
    # In a process of its own: a decoder that writes outside its memory ends it.
    subprocess.run([sys.executable, '-c', DECODE_NOISE], cwd=ROOT, check=True)


@pytest.fixture(scope='session')
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a program that decodes masks with the C++ header."""
    compiler = shutil.which('c++') or shutil.which('g++')
    if compiler is None:
        pytest.skip('no C++ compiler on this machine')
    program = tmp_path_factory.mktemp('cpp') / 'decode_masks'
    subprocess.run(
        [compiler, '-std=c++17', '-O1', '-Wall', '-Wextra', '-Werror', '-I', ROOT / 'include',
         ROOT / 'test' / 'cpp' / 'decode_masks.cpp', '-o', program], check=True)
    return program


def decode_in_cpp(decoder: Path, masks: Sequence[Mask], size: tuple[int, int]) -> list[bytes]:
    """Return the full image of each mask, a byte a pixel; REFUSED for one that was refused."""
    question = b''.join(
        (' '.join(map(str, (*mask[:5], *size, len(mask.data)))) + '\n').encode() + mask.data
        for mask in masks)
    answer = subprocess.run([decoder], input=question, capture_output=True, check=True).stdout
    images = []
    while answer:
        length, answer = answer.split(b'\n', 1)
        images.append(answer[:int(length)])
        answer = answer[int(length):]
    assert len(images) == len(masks)
    return images


def random_full_mask(random: np.random.Generator, size: tuple[int, int]) -> BoolArray:
    """Return noise, a block, or nothing: short runs, long ones, none."""
    kind = random.integers(3)
    if kind == 0:
        return random.random(size) < random.random()
    mask = np.zeros(size, bool)
    if kind == 1:
        top, left = (int(random.integers(0, extent)) for extent in size)
        mask[top:top + 60, left:left + 90] = True
    return mask


@pytest.mark.parametrize('encoding', WITH_PIXELS)
def test_cpp_decodes_what_python_encodes(decoder: Path, encoding: MaskEncoding) -> None:
    random, size = np.random.default_rng(4), (120, 160)
    full = [random_full_mask(random, size) for _ in range(60)]
    masks = [encoded(RegionMask.from_full(mask), encoding) for mask in full]
    for mask, image in zip(full, decode_in_cpp(decoder, masks, size), strict=True):
        assert image == mask.astype(np.uint8).tobytes()


def test_cpp_refuses_what_cannot_be_decoded(decoder: Path) -> None:
    rle, bits, mono = MaskEncoding.COCO_RLE, MaskEncoding.BITPACK, MaskEncoding.MONO8
    wrong = [
        Mask(MaskEncoding.NONE, 0, 0, 2, 2, b''), Mask(9, 0, 0, 2, 2, b'\1\1\1\1'),
        Mask(rle, 0, 0, 2, 2, b''), Mask(rle, 0, 0, 2, 2, b'5'), Mask(rle, 0, 0, 2, 2, b'o'),
        Mask(rle, 0, 0, 2, 2, b'\xff'), Mask(rle, 0, 0, 2, 2, b'ooooooooooooooo0'),
        Mask(rle, 0, 0, 1 << 31, 1 << 31, b'0'), Mask(bits, 0, 0, 3, 3, b'\0'),
        Mask(mono, 0, 0, 2, 2, b'\0' * 5), Mask(mono, 3, 0, 2, 2, b'\1' * 4),
        Mask(mono, 0xffffffff, 0, 2, 2, b'\1' * 4),
    ]
    assert decode_in_cpp(decoder, wrong, (4, 4)) == [REFUSED] * len(wrong)


def test_cpp_survives_arbitrary_runs(decoder: Path) -> None:
    random = np.random.default_rng(5)
    masks = [Mask(MaskEncoding.COCO_RLE, 0, 0, 4, 4,
                  random.integers(40, 115, random.integers(0, 12), np.uint8).tobytes())
             for _ in range(3000)]
    assert {len(image) for image in decode_in_cpp(decoder, masks, (4, 4))} == {1, 16}


# What someone sends who means harm.


def written(numbers: Sequence[int]) -> bytes:
    """Return numbers as a COCO string, without making them differences."""
    characters = bytearray()
    for number in numbers:
        while True:
            digit, number = number & 31, number >> 5
            more = number != (-1 if digit & 16 else 0)
            characters.append(ord('0') + digit + (32 if more else 0))
            if not more:
                break
    return bytes(characters)


def wrapping_runs(total: int) -> bytes:
    """Return runs, none negative, whose sum is 2**64 + total."""
    step, runs, places = (1 << 34) - 1, [0, 0, 0], []
    while sum(runs) < (1 << 64) + total:
        for _ in range(1024):
            runs.append(runs[-2] + step)
    excess = sum(runs) - (1 << 64) - total
    # Less at one place, and at all of its kind that follow, until the sum is exact.
    for distance in (1 << 14, 1):
        place = len(runs) - 1 - 2 * (distance - 1)
        places.append((place, excess // distance))
        for later in range(place, len(runs), 2):
            runs[later] -= excess // distance
        excess -= excess // distance * distance
    assert sum(runs) == (1 << 64) + total
    differences = runs[:3] + [b - a for a, b in zip(runs[1:], runs[3:], strict=False)]
    return written(differences)


def test_runs_whose_sum_wraps_are_refused(decoder: Path) -> None:
    mask = Mask(MaskEncoding.COCO_RLE, 0, 0, 512, 512, wrapping_runs(512 * 512))
    assert len(mask.data) < 1_000_000
    with pytest.raises(ValueError, match='pixels in a mask of size'):
        decode(mask)
    with pytest.raises(SegmentationError):
        decode_tracks([[{'size': [512, 512], 'counts': mask.data}]])
    assert decode_in_cpp(decoder, [mask], (512, 512)) == [REFUSED]


@pytest.mark.parametrize('encoding', WITH_PIXELS)
def test_a_few_bytes_do_not_cost_gigabytes(decoder: Path, encoding: MaskEncoding) -> None:
    mask = Mask(encoding, 0, 0, 65_535, 65_535, b'oooooo0')
    tracemalloc.start()
    with pytest.raises(ValueError, match='too large'):
        decode(mask)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert decode_in_cpp(decoder, [mask], (65_535, 65_535)) == [REFUSED]


def test_many_masks_of_a_few_bytes_do_not_cost_gigabytes() -> None:
    side = 1 << 12
    masks = [Mask(MaskEncoding.COCO_RLE, 0, 0, side, side, written([side * side]))] * 10_000
    message = message_of(masks)
    tracemalloc.start()
    with pytest.raises(ValueError, match='pixels in all are too large'):
        decode_all(masks)
    with pytest.raises(LiftingError, match='pixels in all are too large'):
        InstanceFrame.from_message(message)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_full_image_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match='too large'):
        RegionMask(0, 0, np.ones((2, 2), bool)).to_full(8, 0xffffffff)


def hostile(random: np.random.Generator, size: tuple[int, int]) -> Mask:
    """Return a mask that is right, nearly right, or noise."""
    kind = MaskEncoding(int(random.integers(1, 4)))
    mask = encoded(RegionMask.from_full(random_full_mask(random, size)), kind)
    change = random.integers(9)
    data = bytearray(mask.data)
    if change == 1 and data:  # a byte is another
        data[random.integers(len(data))] = random.integers(256)
    elif change == 2:  # bytes too few or too many
        del data[len(data) - int(random.integers(0, len(data) + 1)):]
        data += random.bytes(int(random.integers(0, 4)))
    elif change == 3:  # numbers, some of them large, that may add up
        numbers = random.integers(-40, 40, random.integers(1, 12)).tolist()
        numbers[random.integers(len(numbers))] = int(random.integers(-(1 << 34), 1 << 34))
        data = bytearray(written(numbers))
    elif change == 4:  # runs without a pixel
        data += b'0' * int(random.integers(1, 2 * mask.width * mask.height + 3))
    elif change == 5:  # another encoding, known or not
        mask = mask._replace(encoding=int(random.integers(0, 256 if random.random() < 0.5 else 5)))
    elif change == 6:  # another region: empty, large, too large, outside the image
        field = ['x_offset', 'y_offset', 'width', 'height'][random.integers(4)]
        value = [0, 1, int(random.integers(0, 80)), 1 << 20, 0xffffffff][random.integers(5)]
        mask = mask._replace(**{field: value})
    elif change == 7:
        data = bytearray(random.integers(40, 115, random.integers(0, 12), np.uint8).tobytes())
    return mask._replace(data=bytes(data))


def answer_of(decode_mask: Callable[[Mask], BoolArray], mask: Mask) -> bytes:
    try:
        return decode_mask(mask).astype(np.uint8).tobytes()
    except ValueError:
        return REFUSED


def test_cpp_and_python_agree_on_everything(
    decoder: Path, request: pytest.FixtureRequest
) -> None:
    """Say the same of every mask: 2000 of them, with --long 100,000."""
    count = 100_000 if request.config.getoption('--long') else 2000
    random, agreed = np.random.default_rng(6), Counter[bool]()
    for _ in range(count // 500):
        size = (int(random.integers(1, 40)), int(random.integers(1, 40)))
        masks = [hostile(random, size) for _ in range(500)]
        for mask, image in zip(masks, decode_in_cpp(decoder, masks, size), strict=True):
            assert answer_of(lambda m: decode(m).to_full(*size), mask) == image, mask  # noqa: B023
            agreed[image == REFUSED] += 1
    assert min(agreed.values()) > count / 5


def test_many_masks_are_decoded_as_one_by_one() -> None:
    random, size = np.random.default_rng(8), (30, 40)
    masks = [encoded(RegionMask.from_full(random_full_mask(random, size)), kind)
             for kind in (MaskEncoding.COCO_RLE, MaskEncoding.BITPACK) for _ in range(20)]
    for mask, region in zip(masks, decode_all(masks), strict=True):
        assert np.array_equal(region.to_full(*size), decode(mask).to_full(*size))
    assert decode_all([]) == []
    for _ in range(200):
        damaged = [*masks[:3], hostile(random, size)]
        if damaged[-1].width * damaged[-1].height > 1 << 28:
            continue
        alone = answer_of(lambda mask: decode(mask).pixels, damaged[-1])
        together = answer_of(lambda _: decode_all(damaged)[-1].pixels, damaged[-1])  # noqa: B023
        assert together == alone


def message_of(masks: Sequence[Mask]) -> SimpleNamespace:
    instances = [
        SimpleNamespace(
            track_id=track_id, state=1, class_id=1, class_name='', score=0.5, mask=mask)
        for track_id, mask in enumerate(masks, 1)
    ]
    return SimpleNamespace(
        header=SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=0)), image_height=8,
        image_width=8, epoch=1, instances=instances)


def test_a_broken_mask_of_many_is_told_by_its_track() -> None:
    mask = encoded(RegionMask(0, 0, np.ones((3, 2), bool)), MaskEncoding.COCO_RLE)
    message = message_of([mask] * 3)
    instances = message.instances
    assert [mask.area for mask in InstanceFrame.from_message(message).masks] == [6, 6, 6]
    instances[1].mask = mask._replace(data=written([2]))
    with pytest.raises(LiftingError, match=r'mask of track 2 cannot be read: .* add up to 2'):
        InstanceFrame.from_message(message)
    instances[1].state = TrackStatus.TERMINATED  # whose mask is not looked at
    assert [mask.area for mask in InstanceFrame.from_message(message).masks] == [6, 0, 6]


def test_the_evaluator_refuses_what_wraps_and_agrees_on_the_rest() -> None:
    """Runs in files end with what is inside, and what follows counts as outside."""
    random = np.random.default_rng(7)
    for _ in range(2000):
        size = (int(random.integers(1, 40)), int(random.integers(1, 40)))
        mask = hostile(random, size)
        if mask.encoding != MaskEncoding.COCO_RLE or not 0 < mask.width * mask.height < 1 << 28:
            continue
        try:
            region = decode(mask)
        except ValueError:
            continue
        (track,) = decode_tracks([[{'size': [mask.height, mask.width], 'counts': mask.data}]])
        assert track.areas.tolist() == [region.area]


def test_what_is_left_of_a_mask_stays_where_it_was() -> None:
    visible = np.zeros((20, 30), bool)
    visible[6:8, 12:15] = True
    left = RegionMask(10, 4, np.ones((8, 9), bool)).within(visible)
    assert np.array_equal(left.to_full(20, 30), visible)


def test_as_many_pixels_as_are_allowed_are_allowed() -> None:
    side = 1 << 12
    count = MAXIMUM_PIXELS_IN_ALL // side**2
    assert count * side**2 == MAXIMUM_PIXELS_IN_ALL
    masks = [Mask(MaskEncoding.NONE, 0, 0, side, side, b'')] * count
    check_total(masks)
    with pytest.raises(ValueError, match=f'at most {MAXIMUM_PIXELS_IN_ALL}'):
        check_total([*masks, Mask(MaskEncoding.NONE, 0, 0, 1, 1, b'')])
