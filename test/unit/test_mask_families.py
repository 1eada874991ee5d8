# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""SipMask and SG-Net behind the one interface: steps, memories, checkpoints."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mask_models import CONFIGURATIONS, mask_model, mask_segmenter
from small_models import noise
from torch import Tensor

from stmask_ros.families.all import family_named
from stmask_ros.families.errors import ModelError
from stmask_ros.families.sgnet.config import SGNetConfig
from stmask_ros.families.sipmask.config import SipMaskConfig
from stmask_ros.families.sipmask.detection import Survivors
from stmask_ros.families.sipmask.follow import follow
from stmask_ros.families.sipmask.tracks import SipMaskTracker, TrackTable
from stmask_ros.models.checkpoint import load_model
from stmask_ros.models.conversion import convert
from stmask_ros.tracking.results import FrameResult, TrackStatus
from stmask_ros.tracking.segmenter import VideoSegmenter

CPU = torch.device('cpu')
every = pytest.mark.parametrize(('family', 'name', 'options'), CONFIGURATIONS)


def run(segmenter: VideoSegmenter, seeds: list[int]) -> list[FrameResult]:
    state, results = segmenter.initial_state(), []
    for seed in seeds:
        (result,), (state,) = segmenter.step([noise(seed)], [state])
        results.append(result)
    return results


def assert_equal(a: FrameResult, b: FrameResult, exactly: bool = True) -> None:
    for field in fields(FrameResult):
        ours, theirs = getattr(a, field.name), getattr(b, field.name)
        if field.name == 'masks':
            areas = [[mask.area for mask in masks] for masks in (ours, theirs)]
            np.testing.assert_allclose(*areas, atol=0 if exactly else 2)
        elif exactly or not np.issubdtype(np.asarray(ours).dtype, np.floating):
            np.testing.assert_array_equal(ours, theirs, field.name)
        else:
            np.testing.assert_allclose(ours, theirs, atol=1e-3, err_msg=field.name)


@every
def test_one_id_for_one_detection(family: str, name: str, options: dict[str, Any]) -> None:
    results = run(mask_segmenter(family, name, options), [1, 1, 2, 1, 3])
    assert all(len(result) for result in results)
    for result in results:
        assert len(set(result.track_ids)) == len(result)
        assert set(result.class_ids) <= {1, 2, 3}
        assert np.isfinite(result.boxes).all()
    # The same picture again: the same objects.
    assert set(results[1].track_ids) <= set(results[0].track_ids)
    assert max(mask.area for result in results for mask in result.masks) > 50


@every
@torch.inference_mode()
def test_cameras_do_not_disturb_each_other(
    family: str, name: str, options: dict[str, Any]
) -> None:
    """To the bit on a CPU; in tables of fixed lengths, in ids and classes."""
    alone = mask_segmenter(family, name, options)
    seeds = [[1, 2, 1, 4], [5, 5, 6, 7], [8, 9, 8, 9]]
    expected = [run(alone, its) for its in seeds]
    for in_batches in (False, True):
        segmenter = mask_segmenter(family, name, options, in_batches)
        states = [segmenter.initial_state() for _ in seeds]
        for t in range(4):
            images = [noise(its[t]) for its in seeds]
            results, states = segmenter.step(images, states)
            for camera, result in enumerate(results):
                assert_equal(result, expected[camera][t], exactly=not in_batches)


@every
def test_sizes_of_frames(family: str, name: str, options: dict[str, Any]) -> None:
    """Portrait, small, one pixel; and the picture of a larger frame, reported in its pixels."""
    segmenter = mask_segmenter(family, name, options)
    for height, width in ((128, 90), (17, 300), (1, 1), (2, 5)):
        (result,), _ = segmenter.step([noise(1, height, width)], [segmenter.initial_state()])
        assert (result.image_height, result.image_width) == (height, width)
        for mask in result.masks:
            assert mask.x_offset + mask.pixels.shape[1] <= width
            assert mask.y_offset + mask.pixels.shape[0] <= height
    image, state = noise(1), segmenter.initial_state()
    (small,), _ = segmenter.step([image], [state])
    (large,), _ = segmenter.step([image], [state], sizes=[(270, 384)])
    np.testing.assert_allclose(large.boxes, 3 * small.boxes, atol=1e-3)
    for one, other in zip(small.masks, large.masks, strict=True):
        assert other.area == pytest.approx(9 * one.area, rel=0.3, abs=40)


@every
def test_a_track_ends_and_its_id_does_not_come_back(
    family: str, name: str, options: dict[str, Any]
) -> None:
    segmenter = mask_segmenter(family, name, options, max_missed=1)
    results = run(segmenter, [1, 2, 3, 4, 5, 6])
    ended: set[int] = set()
    for result in results:
        assert not ended & set(result.track_ids)
        over = result.statuses == int(TrackStatus.TERMINATED)
        assert all(mask.area == 0 for mask, gone in zip(result.masks, over, strict=True) if gone)
        ended |= set(result.track_ids[over].tolist())
    assert ended


def test_memory_is_bounded(long: bool) -> None:
    """Whatever comes and goes; the objects of the frame are never forgotten for it."""
    # Every object is of a class that was not there for long, and so a new one.
    rules, config = SipMaskTracker(max_missed=50), SipMaskConfig(num_classes=600)
    tracks, next_id = TrackTable.empty(config, CPU), 1
    generator = torch.Generator().manual_seed(0)
    for frame in range(20_000 if long else 200):
        corner = 100 * torch.rand(6, 2, generator=generator)
        classes = (6 * frame + torch.arange(6)) % 600 + 1
        found = Survivors(
            torch.cat((corner, corner + 20), 1), torch.rand(6, generator=generator), classes,
            classes,
        )
        embeddings = torch.randn(6, config.embedding_size, generator=generator) / 100
        after = follow(tracks, found, embeddings, next_id, frame, rules)
        next_id += int((after.tracks.ages == 1).sum())
        tracks = after.tracks.rows(~after.tracks.forgotten(rules))
        shown = after.tracks.ids[after.owners >= 0]
        assert set(shown.tolist()) <= set(tracks.ids.tolist())
        assert len(tracks) <= rules.capacity
        assert sorted(set(tracks.ids.tolist())) == tracks.ids.tolist()
    assert len(tracks) == rules.capacity


def test_a_frame_without_detections_shows_nothing_and_forgets_nothing() -> None:
    segmenter = mask_segmenter('sgnet', 'sgnet_tiny', {})
    (first,), (state,) = segmenter.step([noise(1)], [segmenter.initial_state()])
    tracker, segmenter.tracker = segmenter.tracker, SipMaskTracker(score_threshold=1.0)
    (nothing,), (state,) = segmenter.step([noise(1)], [state])
    assert len(nothing) == 0
    segmenter.tracker = tracker
    (again,), _ = segmenter.step([noise(1)], [state])
    assert set(again.track_ids) <= set(first.track_ids)


# Checkpoints.


def saved(network: torch.nn.Module, path: Path, rename: dict[str, str]) -> Path:
    tensors = {}
    for key, value in network.state_dict().items():
        for old, new in rename.items():
            key = key.replace(old, new)
        tensors[f'module.{key}'] = value
    torch.save({'meta': {'epoch': 12}, 'state_dict': tensors, 'optimizer': {}}, path)
    return path


@pytest.mark.parametrize('changes', [
    {}, {'class_units': 3, 'box_units': 4, 'track_units': 4}, {'mask_kernel': 3},
    {'track_kernel': 3, 'mask_kernel': 3},
])
def test_checkpoints_of_every_generation(changes: dict[str, int], tmp_path: Path) -> None:
    """With the older name of the tracking layer; converted, loaded, equal."""
    model = mask_model('sipmask', 'sipmask_tiny', changes)
    path = saved(model.network, tmp_path / 'old.pth', {'sipmask_track': 'fovea_track'})
    out = tmp_path / 'new.safetensors'
    description = convert(path, out, classes='one,two,three')
    assert description.family == 'sipmask'
    assert dict(description.options) == changes
    loaded = load_model(out).network.state_dict()
    for key, value in model.network.state_dict().items():
        assert torch.equal(loaded[key], value), key


@every
def test_the_configuration_is_read_from_the_tensors(
    family: str, name: str, options: dict[str, Any]
) -> None:
    model = mask_model(family, name, options)
    chosen = family_named(family)
    found = chosen.recognise(chosen.renamed(model.network.state_dict()))
    config = chosen.configuration(found.configuration, found.num_classes, found.options)
    untold = {'granularity': model.network.config.granularity} if family == 'sgnet' else {}
    assert chosen.configuration(found.configuration, 3, {**found.options, **untold}) == (
        model.network.config)
    assert config.num_classes == 3


@pytest.mark.parametrize(('part', 'reason'), [
    ('track', 'no tracking layers'), ('neck.lateral_convs.0.conv.bias', 'lateral_convs'),
])
def test_what_does_not_fit_is_refused_with_the_reason(
    part: str, reason: str, tmp_path: Path
) -> None:
    model = mask_model('sipmask', 'sipmask_tiny', {})
    tensors = {k: v for k, v in model.network.state_dict().items() if part not in k}
    torch.save(tensors, tmp_path / 'wrong.pth')
    with pytest.raises(ModelError, match=reason):
        convert(tmp_path / 'wrong.pth', tmp_path / 'out.safetensors', classes='one,two,three')


@pytest.mark.parametrize('changes', [
    {'channels': 30}, {'backbone': 'vgg'}, {'mask_kernel': 2}, {'long_side': 0},
    {'training_long_sides': (5, 4)}, {'grids': (2, 3), 'thresholds': (1.0, 2.0)},
    {'granularity': 'none'}, {'grids': (1,), 'thresholds': ()},
])
def test_configurations_that_do_not_exist(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match='|'.join(changes)):
        SGNetConfig(**changes)


@pytest.mark.parametrize('changes', [
    {'score_threshold': 2.0}, {'capacity': 0}, {'max_missed': -1}, {'shown_class': 'best'},
])
def test_trackers_that_do_not_exist(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        SipMaskTracker(**changes)


@torch.inference_mode()
def test_sub_networks_compute_what_is_asked_for_alone() -> None:
    """Coefficients and embeddings at chosen cells are those of the whole maps."""
    for family, name, options in CONFIGURATIONS:
        network = mask_model(family, name, options).network
        predictions = network(50 * torch.randn(2, 3, 96, 128))
        cells = torch.tensor([0, 7, 191, 200, 250])
        boxes = torch.tensor([[0.0, 0, 20, 20], [0, 0, 25, 25], [0, 0, 60, 60], [1, 1, 2, 2],
                              [0, 0, 23, 23]])
        for frame in (0, 1):
            sparse = network.coefficients_at(predictions, frame, cells, boxes)
            dense = network.coefficients_at(
                predictions, slice(None), cells.expand(2, -1), boxes.expand(2, -1, -1)
            )
            assert_close(sparse[0], dense[0][frame])
            assert torch.equal(sparse[1], dense[1][frame])
            places = torch.arange(0, 192, 31)
            assert_close(
                network.embeddings_at(predictions, frame, places),
                network.tracking_map(predictions)[frame].flatten(1)[:, places].T,
            )


def assert_close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
