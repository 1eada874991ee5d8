# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What SipMask learns from: two frames of a clip at one size, and the objects in both."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stmask_ros.families.all import family_named
from stmask_ros.families.family import Augmentation
from stmask_ros.families.frames import AnnotatedFrame
from stmask_ros.families.sipmask.training.examples import Example, example, padded_targets

STILL = Augmentation(flip=False, color_jitter=0.0)
HEIGHT, WIDTH = 60, 80


def frame(*objects: tuple[int, int, int]) -> AnnotatedFrame:
    """Return a frame with squares of 20 pixels; objects: id, left and top [pixel] of each."""
    masks = np.zeros((len(objects), HEIGHT, WIDTH), bool)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for mask, (number, left, top) in zip(masks, objects, strict=True):
        if left >= 0:
            mask[top:top + 20, left:left + 20] = True
            image[mask] = 40 * number
    ids = np.array([number for number, _, _ in objects], np.int64)
    return AnnotatedFrame(image, masks, ids + 10, ids)


def made(clip: list[AnnotatedFrame], augmentation: Augmentation, seed: int) -> Example:
    """Return an example at twice the size of the clip."""
    sides = {'training_long_sides': (2 * WIDTH, 2 * WIDTH),
             'training_short_sides': (2 * HEIGHT, 2 * HEIGHT)}
    config = family_named('sipmask').configuration('sipmask_tiny', 3, sides)
    return example(clip, config, augmentation, np.random.default_rng(seed))


def in_order(clip: list[AnnotatedFrame], augmentation: Augmentation = STILL) -> Example:
    """Return the first example whose frame is the clip's first."""
    count = clip[0].masks.any((1, 2)).sum()
    return next(its for seed in range(20) if len(
        (its := made(clip, augmentation, seed)).targets.labels) == count)


CLIP = [frame((1, 10, 5), (2, 50, 30), (3, -1, -1)), frame((2, 40, 30))]


def test_objects_are_found_again_in_the_reference_frame() -> None:
    targets = in_order(CLIP).targets
    assert targets.labels.tolist() == [11, 12]  # what is not to be seen is no target
    assert targets.matches.tolist() == [0, 1]  # 0: not there
    assert targets.boxes.tolist() == [[20, 10, 58, 48], [100, 60, 138, 98]]
    assert targets.reference_boxes.tolist() == [[80, 60, 118, 98]]
    assert targets.masks.sum((1, 2)).tolist() == [1600, 1600]


def test_an_empty_reference_matches_nothing() -> None:
    targets = in_order([CLIP[0], frame()]).targets
    assert targets.matches.tolist() == [0, 0]
    assert targets.reference_boxes.shape == (0, 4)


def test_frames_are_mirrored_together() -> None:
    mirrored = 0
    for seed in range(12):
        its = made([CLIP[1], CLIP[1]], Augmentation(flip=True, color_jitter=0.0), seed)
        left = float(its.targets.boxes[0, 0])
        assert left in (80, 40)
        assert torch.equal(its.targets.boxes, its.targets.reference_boxes)
        mirrored += left == 40
    assert 0 < mirrored < 12


def test_colours_of_both_frames_vary_and_masks_stay() -> None:
    plain, varied = (
        made(CLIP, Augmentation(flip=False, color_jitter=jitter), 3) for jitter in (0.0, 0.5))
    assert not np.array_equal(plain.image.pixels, varied.image.pixels)
    assert torch.equal(plain.targets.masks, varied.targets.masks)


def test_masks_are_padded_to_those_of_a_batch() -> None:
    targets = in_order(CLIP).targets
    padded = padded_targets(targets, (128, 192), torch.device('cpu'))
    assert padded.masks.shape == (2, 128, 192)
    assert torch.equal(padded.masks[:, :120, :160], targets.masks)
    assert not padded.masks[:, 120:].any() and not padded.masks[..., 160:].any()
    assert padded.boxes is targets.boxes or torch.equal(padded.boxes, targets.boxes)


@pytest.mark.parametrize('seed', range(3))
def test_an_example_is_the_same_for_the_same_seed(seed: int) -> None:
    first, second = (made(CLIP, Augmentation(), seed) for _ in range(2))
    assert np.array_equal(first.image.pixels, second.image.pixels)
    assert torch.equal(first.targets.boxes, second.targets.boxes)
