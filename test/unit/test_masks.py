"""Masks survive every encoding, in Python and in C++, and damaged data is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from stmask_ros.evaluation.rle import SegmentationError, decode_tracks
from stmask_ros.masks import BoolArray, MaskEncoding, RegionMask, decode, run_lengths

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
    assert np.array_equal(decode(encoded(region, encoding)).to_full(*full.shape), full)


@settings(deadline=None)
@given(full_masks.filter(lambda mask: mask.any()))
def test_the_region_is_tight(full: BoolArray) -> None:
    pixels = RegionMask.from_full(full).pixels
    assert all(edge.any() for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))


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
    with pytest.raises(ValueError, match=r'expected|invalid'):
        decode(whole._replace(data=whole.data[:-cut]))


@settings(deadline=None)
@given(full_masks)
def test_run_lengths_are_those_of_pycocotools(full: BoolArray) -> None:
    counts = coco_mask.encode(np.asfortranarray(full, np.uint8))['counts']
    flat = full.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    expected = np.diff(np.concatenate(([0], changes, [flat.size]))).tolist()
    assert run_lengths(counts).tolist() == ([0, *expected] if flat[0] else expected)


def test_unknown_and_absent_encodings_are_refused() -> None:
    with pytest.raises(ValueError, match='9'):
        decode(Mask(9, 0, 0, 1, 1, b'\xff'))
    with pytest.raises(ValueError, match='no mask'):
        decode(Mask(MaskEncoding.NONE, 0, 0, 1, 1, b''))


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
    with pytest.raises(ValueError, match='expected runs of 262144 pixels'):
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
