# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Pairs, batches and configuration files of a training."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from stmask_ros.evaluation.annotations import load_annotations
from stmask_ros.families.errors import TrainingError
from stmask_ros.families.examples import boxes_of, color_jittered
from stmask_ros.families.family import Augmentation
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.family import STMASK
from stmask_ros.families.stmask.training.examples import Example, examples
from stmask_ros.training.clip_files import write_clips
from stmask_ros.training.clips import SyntheticClips, VideoClips
from stmask_ros.training.config import read_config
from stmask_ros.training.cutouts import Library
from stmask_ros.training.frames import AnnotatedFrame, ClassMap
from stmask_ros.training.loader import ClipDataset, ClipSampler, Place, build_loader
from stmask_ros.training.synthetic import ClipConfig, ClipGenerator

CONFIG = STMaskConfig.named('stmask_lite', input_height=90, input_width=160)
CLIPS = ClipConfig(height=90, width=160, frames=8, smallest_area=20)


def frame() -> AnnotatedFrame:
    image = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)
    masks = np.zeros((2, 90, 160), np.bool_)
    masks[0, 20:80, 30:110] = True
    masks[1, 5:9, 150:160] = True
    return AnnotatedFrame(image, masks, np.array([1, 2]), np.array([4, 9]))


@pytest.fixture(scope='module')
def generator() -> ClipGenerator:
    whole = replace(frame(), masks=frame().masks[:1], labels=np.array([2]), ids=np.array([1]))
    return ClipGenerator(Library.of([whole]), CLIPS, seed=1)


def dataset(
    generator: ClipGenerator, color_jitter: float = 0.0
) -> ClipDataset[list[Example]]:
    """Return seven pairs."""
    augmentation = Augmentation(True, color_jitter)
    return ClipDataset(
        [SyntheticClips(generator, 5, 7)],
        lambda clip, rng: STMASK.training.example(CONFIG, clip, augmentation, rng), seed=3,
    )


def prepared(frame: AnnotatedFrame, config: STMaskConfig, flipped: bool) -> Example:
    """Return a frame as the network takes it, mirrored or not."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        if bool(np.random.default_rng(seed).integers(2)) == flipped:
            return examples([frame], config, Augmentation(), rng)[0]
    raise AssertionError('a coin that falls one way twenty times')


def test_boxes_of_masks_reach_from_edge_to_edge() -> None:
    masks = torch.from_numpy(frame().masks)
    expected = [[30 / 160, 20 / 90, 110 / 160, 80 / 90], [150 / 160, 5 / 90, 1, 9 / 90]]
    assert torch.allclose(boxes_of(masks), torch.tensor(expected))


def test_masks_are_padded_as_the_image_is() -> None:
    targets = prepared(frame(), CONFIG, flipped=False).targets
    assert targets.masks.shape == (2, 96, 160)
    assert not targets.masks[:, 90:].any()
    assert targets.boxes[0].tolist() == pytest.approx([30 / 160, 20 / 96, 110 / 160, 80 / 96])


def test_a_mirrored_frame_mirrors_everything() -> None:
    plain, mirrored = (prepared(frame(), CONFIG, flipped) for flipped in (False, True))
    assert np.array_equal(plain.image[:, ::-1], mirrored.image)
    assert torch.equal(plain.targets.masks.flip(2), mirrored.targets.masks)
    boxes = plain.targets.boxes[:, [2, 1, 0, 3]]
    boxes[:, [0, 2]] = 1 - boxes[:, [0, 2]]
    assert torch.allclose(boxes, mirrored.targets.boxes)
    assert mirrored.targets.ids.tolist() == [4, 9]


def test_an_object_that_vanishes_at_the_input_size_is_left_out() -> None:
    small = STMaskConfig.named('stmask_lite', input_height=32, input_width=32)
    thin = frame()
    thin.masks[1] = False
    thin.masks[1, 0, 0] = True
    thin.masks[1, 89, 159] = False
    kept = prepared(replace(thin, masks=np.roll(thin.masks, 1, axis=2)), small, flipped=False)
    assert kept.targets.ids.tolist() == [4]


def test_pairs_of_a_video(generator: ClipGenerator, tmp_path: Path) -> None:
    clip = generator.clip(0)
    annotations = load_annotations(write_clips(tmp_path, [clip], ('a', 'b')))
    images, classes = tmp_path / 'JPEGImages', ClassMap(('b',), {})
    pairs = VideoClips(annotations, images, classes, gap=2)
    steps = []
    for number in range(len(pairs)):
        first, second = pairs.clip(number, np.random.default_rng(number))
        frames = [clip.frame(i) for i in range(CLIPS.frames)]
        places = [
            next(i for i, f in enumerate(frames) if np.array_equal(f.image, seen.image))
            for seen in (first, second)
        ]
        steps.append(places[1] - places[0])
        assert np.array_equal(first.masks, frames[places[0]].masks)
        assert set(first.labels.tolist()) == {1}  # the second class there is the first here
    assert set(steps) <= {1, 2}
    assert len(set(steps)) == 2
    with pytest.raises(ValueError, match='no annotated object'):
        VideoClips(annotations, images, ClassMap(('c',), {}), gap=2)


def test_clips_of_several_frames(generator: ClipGenerator, tmp_path: Path) -> None:
    """In the order of time, none twice while there are others."""
    video = generator.clip(0)
    annotations = load_annotations(write_clips(tmp_path, [video], ('a', 'b')))
    frames = [video.frame(i).image for i in range(CLIPS.frames)]
    real = VideoClips(annotations, tmp_path / 'JPEGImages', ClassMap(('b',), {}), 2, length=5)
    for number in range(len(real)):
        clip = real.clip(number, np.random.default_rng(number))
        places = [next(i for i, f in enumerate(frames) if np.array_equal(f, seen.image))
                  for seen in clip]
        assert len(places) == 5
        assert places == sorted(set(places))
    made = SyntheticClips(generator, 5, 3, length=5).clip(0, np.random.default_rng(0))
    assert len(made) == 5
    assert all(not np.array_equal(a.image, b.image) for a, b in pairwise(made))


def test_batches_do_not_depend_on_who_makes_them(generator: ClipGenerator) -> None:
    pairs = dataset(generator)

    def batches(workers: int, iterations: range, rank: int = 0, world: int = 1):
        sampler = ClipSampler(len(pairs), 4, 3, iterations, rank, world)
        return list(build_loader(pairs, sampler, workers))

    straight = batches(0, range(4))
    resumed = [*batches(0, range(2)), *batches(2, range(2, 4))]
    shared = [batches(0, range(4), rank, 2) for rank in (0, 1)]
    for iteration, batch in enumerate(straight):
        flat, again_flat = (list(chain(*some)) for some in (batch, resumed[iteration]))
        for example, again in zip(flat, again_flat, strict=True):
            assert np.array_equal(example.image, again.image)
            assert torch.equal(example.targets.masks, again.targets.masks)
        halves = [shared[rank][iteration] for rank in (0, 1)]
        together = [half[i] for i in (0, 1) for half in halves]
        assert all(
            np.array_equal(a.image, b.image)
            for a, b in zip(flat, chain(*together), strict=True)
        )


def test_every_pair_comes_once_in_an_epoch() -> None:
    places = [place for batch in ClipSampler(6, 2, 0, range(6)) for place in batch]
    assert [place.position for place in places] == list(range(12))
    epochs = [[place.number for place in places[start:start + 6]] for start in (0, 6)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(6))
    assert epochs[0] != epochs[1]


def test_the_same_place_is_the_same_pair(generator: ClipGenerator) -> None:
    pairs = dataset(generator)
    once, again, later = (pairs[Place(2, position)] for position in (5, 5, 12))
    assert np.array_equal(once[0].image, again[0].image)
    assert not np.array_equal(once[0].image, later[0].image)


def test_both_images_of_a_pair_change_their_colors_alike(generator: ClipGenerator) -> None:
    def pair(color_jitter: float) -> list[Example]:
        return dataset(generator, color_jitter)[Place(2, 5)]

    plain, changed, again = pair(0.0), pair(0.5), pair(0.5)
    for before, after, same in zip(plain, changed, again, strict=True):
        assert np.array_equal(after.image, same.image)
        assert after.image.dtype == np.uint8
        assert not np.array_equal(before.image, after.image)
        assert torch.equal(before.targets.masks, after.targets.masks)
    rng = np.random.default_rng(0)
    twice = color_jittered([frame(), frame()], 0.5, rng)
    assert np.array_equal(twice[0].image, twice[1].image)
    grey = replace(frame(), image=np.full_like(frame().image, 90))
    jittered_grey = color_jittered([grey], 1.0, rng)[0].image.astype(int)
    assert abs(jittered_grey - 90).max() <= 1  # nothing to saturate, turn or contrast: rounding


GOOD = """
name: mine
configuration: stmask_lite
classes: [a, b]
out: out
options: {channels: 32}
batch_size: 4
steps: [10, 20]
loss: {max_masks: 50, weights: {track: 2}}
videos:
  - {annotations: train.json, images: JPEGImages, classes: {names: {c: a}}}
"""


def test_a_configuration_file(tmp_path: Path) -> None:
    path = tmp_path / 'run.yaml'
    path.write_text(GOOD)
    config = read_config(path)
    assert config.videos[0].annotations == tmp_path / 'train.json'
    assert config.videos[0].classes.names == {'c': 'a'}
    assert config.loss.weights.track == 2.0
    assert config.steps == (10, 20)
    assert config.network_config().channels == 32


@pytest.mark.parametrize(('line', 'problem'), [
    ('batchsize: 4', 'unknown options batchsize; known: name, '),
    ('batch_size: four', "batch_size: expected int, got 'four'"),
    ('batch_size: 0', 'batch_size: expected 1 or more, got 0'),
    ('color_jitter: 1.5', 'color_jitter: expected 0 to 1, got 1.5'),
    ('optimiser: adam', "optimiser: expected sgd or adamw, got 'adam'"),
    ('loss: {weight: 1}', r'loss\.unknown options weight'),
    ('videos: [{images: x}]', r'videos\[0\]\.missing: annotations'),
    ('videos: []', 'nothing to train on'),
])
def test_what_is_wrong_with_a_configuration(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / 'run.yaml'
    kept = [text for text in GOOD.split('\n') if not text.startswith(line.split(':')[0])]
    if line.startswith('videos'):
        kept = [text for text in kept if 'train.json' not in text]
    path.write_text('\n'.join([*kept, line]))
    with pytest.raises(TrainingError, match=problem):
        read_config(path)


