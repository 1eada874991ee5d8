# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The whole network over the reference's three frames, stage by stage (GOLDEN.md there)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from stmask_ros.families.state import StreamState
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.detection import Candidates, Detections, cross_class_nms, suppress
from stmask_ros.families.stmask.heads import InstanceOutput
from stmask_ros.families.stmask.network import Predictions, STMask
from stmask_ros.families.stmask.preprocess import preprocess
from stmask_ros.families.stmask.temporal_fusion import (
    TemporalFeatures,
    correlate,
    fuse,
    pool_regions,
)
from stmask_ros.families.stmask.tracks import TrackerConfig
from stmask_ros.layers.boxes import center_size, decode
from stmask_ros.tracking.results import FrameResult
from stmask_ros.tracking.segmenter import VideoSegmenter

NAME = 'STMask_plus_resnet50_ada'
FRAMES = (0, 1, 2)
Golden = dict[str, npt.NDArray[Any]]


@dataclass
class Run:
    """What the network and the segmenter made of the three frames."""

    predictions: list[Predictions]
    instances: list[InstanceOutput]
    results: dict[float, list[FrameResult]]
    states: dict[float, list[StreamState]]
    network: STMask


@pytest.fixture(scope='module')
def run(reference: Any) -> Run:
    """Step the filled network through the three frames, at both thresholds."""
    model = reference.model(NAME)
    segmenters = {
        threshold: VideoSegmenter(
            model, torch.device('cpu'),
            TrackerConfig(score_threshold=threshold, retirement='never'),
        )
        for threshold in (0.2, 0.05)
    }
    network = segmenters[0.2].network
    seen: list[Predictions] = []
    network.register_forward_hook(lambda _, __, out: seen.append(out))
    run = Run([], [], {}, {}, network)
    for threshold, segmenter in segmenters.items():
        state = segmenter.initial_state()
        run.results[threshold], run.states[threshold] = [], []
        for t in FRAMES:
            (result,), (state,) = segmenter.step([reference.inputs.frame(t)], [state])
            run.results[threshold].append(result)
            run.states[threshold].append(state)
    run.predictions = seen[:3]
    with torch.inference_mode():
        run.instances = [network.instances(prediction) for prediction in run.predictions]
    return run


@pytest.fixture(scope='module')
def golden(reference: Any) -> list[Golden]:
    """Return the reference's values of each frame."""
    return _frames(reference, f'golden_{NAME}')


def _frames(reference: Any, name: str) -> list[Golden]:
    with np.load(reference.folder / f'{name}.npz') as file:
        return [
            {k.removeprefix(f'f{t}/'): file[k] for k in file.files if k.startswith(f'f{t}/')}
            for t in FRAMES
        ]


def close(actual: Tensor, expected: npt.NDArray[Any], atol: float = 1e-4) -> None:
    """Assert equality to the tolerance that the reference suggests for features."""
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=atol)


def statistics(x: Tensor) -> list[float]:
    """Return what the reference notes of a feature map."""
    x = x.double()
    return [x.mean(), x.std(), x.abs().mean(), x.min(), x.max()]


@pytest.mark.parametrize('t', FRAMES)
def test_input(t: int, reference: Any, golden: list[Golden]) -> None:
    """Preprocessing."""
    image = reference.inputs.frame(t)
    x = preprocess([image], STMaskConfig.named(NAME), torch.device('cpu'))[0]
    assert x.shape == (3, 384, 640)
    close(x[:, ::16, ::16], golden[t]['pre.slice'], 1e-5)
    close(x[:, 200], golden[t]['pre.row200'], 1e-5)
    np.testing.assert_allclose(x.abs().sum((1, 2)), golden[t]['pre.abssum'], rtol=1e-5)


@pytest.mark.parametrize('t', FRAMES)
def test_feature_maps(t: int, run: Run, golden: list[Golden]) -> None:
    """C2 to C5, P3 to P7, the upfeature and the prototypes."""
    prediction = run.predictions[t]
    for name, x in zip(('C2', 'C3', 'C4', 'C5'), prediction.stages, strict=True):
        stride = max(1, x.shape[2] // 12)
        close(x[0, ::max(1, x.shape[1] // 16), ::stride, ::stride], golden[t][f'{name}.slice'])
        np.testing.assert_allclose(statistics(x), golden[t][f'{name}.stats'], atol=1e-4)
    for name, x, stride in zip(
        ('P3', 'P4', 'P5', 'P6', 'P7'), prediction.pyramid, (4, 2, 1, 1, 1), strict=True
    ):
        close(x[0, ::8, ::stride, ::stride], golden[t][f'{name}.slice'])
        np.testing.assert_allclose(statistics(x), golden[t][f'{name}.stats'], atol=1e-4)
    close(prediction.temporal.concatenated[0, ::8, ::2, ::2], golden[t]['T2S.slice'])
    close(prediction.prototypes[0, ::4, ::4], golden[t]['proto.slice'])
    np.testing.assert_allclose(
        statistics(prediction.prototypes), golden[t]['proto.stats'], atol=1e-4
    )


@pytest.mark.parametrize('t', FRAMES)
def test_dense_predictions(t: int, run: Run, golden: list[Golden]) -> None:
    """Every branch of the head, the priors, and the classes that follow."""
    prediction, instances = run.predictions[t], run.instances[t]
    head = prediction.head
    close(head.box_deltas[0], golden[t]['loc'])
    close(head.centerness[0], golden[t]['centerness_raw_order'])
    close(head.class_logits[0, ::11], golden[t]['conf.every11'], 2e-4)
    close(instances.mask_coefficients[0, ::11], golden[t]['mask_coeff.every11'])
    close(instances.embeddings[0, ::37], golden[t]['track.every37'])
    if t == 0:
        close(prediction.priors, golden[t]['priors'], 1e-6)
    close(prediction.boxes[0, ::11], golden[t]['decoded.every11'], 2e-5)
    best, classes = head.class_logits[0].softmax(-1)[:, 1:].max(-1)
    close(best, golden[t]['fg_score_max'], 5e-5)
    differing = np.flatnonzero(classes.numpy() + 1 != golden[t]['fg_class'])
    assert len(differing) <= 3


@pytest.mark.parametrize('t', FRAMES)
def test_suppression_from_reference_inputs(t: int, run: Run, golden: list[Golden]) -> None:
    """Replayed from the reference's own dense values, NMS keeps the same boxes in order."""
    g = golden[t]
    candidates = torch.from_numpy(g['cand.idx']).long()
    deltas = torch.from_numpy(g['loc'])[candidates]
    boxes = decode(deltas, run.predictions[t].priors[candidates])
    probabilities = torch.zeros(len(candidates), 40)
    classes = torch.from_numpy(g['fg_class'].astype(np.int64))[candidates] - 1
    best = torch.from_numpy(g['fg_score_max'])[candidates]
    probabilities[torch.arange(len(candidates)), classes] = best
    centerness = torch.from_numpy(g['centerness_raw_order'])[candidates]
    strong = torch.ones(len(candidates), dtype=torch.bool)
    kept = cross_class_nms(Candidates(strong, candidates, boxes, probabilities, centerness), 0.5)
    kept = kept.only(kept.valid)
    np.testing.assert_array_equal(kept.classes.numpy(), g['nms.class'])
    close(kept.scores, g['nms.score'], 1e-6)
    close(kept.boxes, g['nms.box'], 1e-6)


@pytest.mark.parametrize('t', FRAMES)
def test_detections(t: int, run: Run, golden: list[Golden]) -> None:
    """The same detections; those near rank 200 may differ, as the reference's margins say."""
    survivors = suppress(run.predictions[t], 0, 0.2, 0.5)
    with torch.inference_mode():
        class_scores = run.predictions[t].head.probabilities_at(0, survivors.anchors)
        instances = run.network.instances_at(run.predictions[t], 0, survivors.anchors)
    found = Detections.of(survivors, class_scores, instances)
    classes = found.classes.unsqueeze(1) - 1
    torch.testing.assert_close(found.class_scores.argmax(1), found.classes - 1)
    assert (found.class_scores.gather(1, classes).squeeze(1) >= found.scores).all()
    actual, expected = found.boxes.numpy(), golden[t]['nms.box']
    distance = np.abs(actual[:, None] - expected[None]).max(-1)
    pairs = [(int(row.argmin()), i) for i, row in enumerate(distance) if row.min() < 2e-5]
    assert len(pairs) >= len(expected) - 2
    assert abs(len(actual) - len(expected)) <= 2
    ours = np.array([i for _, i in pairs])
    theirs = np.array([j for j, _ in pairs])
    close(found.scores[ours], golden[t]['nms.score'][theirs], 5e-5)
    np.testing.assert_array_equal(found.classes[ours].numpy(), golden[t]['nms.class'][theirs])
    close(found.coefficients[ours], golden[t]['nms.mask_coeff'][theirs])
    close(found.embeddings[ours], golden[t]['nms.track'][theirs])


@pytest.mark.parametrize('t', FRAMES[1:])
def test_temporal_fusion(t: int, run: Run, golden: list[Golden]) -> None:
    """Correlation, pooled regions, and the change of each of the reference's boxes."""
    g = golden[t]
    before, now = run.predictions[t - 1].temporal, run.predictions[t].temporal
    correlation = correlate(before.correlated, now.correlated, 11)
    # The reference notes the correlation after the ReLU that follows.
    close(correlation.relu()[0, ::4, ::2, ::2], g['tf.corr.slice'])
    boxes = torch.from_numpy(g['tf.ref_box'])
    frames = torch.zeros(len(boxes), dtype=torch.int64)
    regions = pool_regions(fuse(before, now, 11), boxes, frames)
    close(regions[:8, ::16], g['tf.roi.slice'])
    with torch.inference_mode():
        deltas, changes = run.network.propagate(before, now, boxes, frames)
    close(deltas, g['tf.loc'])
    close(changes, g['tf.coeff_delta'])
    close(decode(deltas, center_size(boxes)), g['tf.box'], 2e-5)


@pytest.mark.parametrize('threshold', [0.2, 0.05])
@pytest.mark.parametrize('t', FRAMES)
def test_tracks(t: int, threshold: float, run: Run, reference: Any) -> None:
    """What is remembered after each frame."""
    g = _golden_at(reference, threshold)[t]
    tracks = run.states[threshold][t].memory.tracks
    np.testing.assert_array_equal(tracks.missed.numpy(), g['trk.mem.tracked_mask'])
    np.testing.assert_array_equal(tracks.classes.numpy(), g['trk.mem.class'])
    close(tracks.scores, g['trk.mem.score'], 5e-5)
    close(tracks.boxes, g['trk.mem.box'], 2e-5)


@pytest.mark.parametrize('threshold', [0.2, 0.05])
@pytest.mark.parametrize('t', FRAMES)
def test_results(t: int, threshold: float, run: Run, reference: Any) -> None:
    """Ids, classes, scores, boxes and masks at the size of the image."""
    g = _golden_at(reference, threshold)[t]
    result = run.results[threshold][t]
    np.testing.assert_array_equal(result.track_ids - 1, g['final.ids'])
    np.testing.assert_array_equal(result.class_ids, g['final.class'])
    np.testing.assert_allclose(result.scores, g['final.score'], atol=5e-5)
    # The reference truncates to whole pixels.
    np.testing.assert_allclose(result.boxes, g['final.box'] + 0.5, atol=0.5 + 2e-2)
    for mask, counts, area in zip(
        result.masks, g['final.rle'], g['final.mask_pixels'], strict=True
    ):
        expected = coco_mask.decode({'size': [360, 640], 'counts': str(counts)}).astype(bool)
        differing = np.count_nonzero(mask.to_full(360, 640) != expected)
        assert differing <= max(3, 0.005 * area)


def _golden_at(reference: Any, threshold: float) -> list[Golden]:
    suffix = '' if threshold == 0.2 else '_post_thr005'
    return _frames(reference, f'golden_{NAME}{suffix}')


def test_every_manifest_is_a_network(reference: Any) -> None:
    """Each released configuration has exactly the reference's keys and shapes."""
    manifests = sorted(reference.folder.glob('manifest_*.json'))
    assert manifests
    for manifest in manifests:
        name = manifest.stem.removeprefix('manifest_')
        with torch.device('meta'):
            network = STMask(STMaskConfig.named(name))
        expected = {k: v['shape'] for k, v in json.loads(manifest.read_text()).items()}
        assert {k: list(v.shape) for k, v in network.state_dict().items()} == expected, name


@pytest.mark.parametrize('t', FRAMES[1:])
def test_features_of_a_state_are_the_previous_frame(t: int, run: Run) -> None:
    """A state remembers the frame that it was made from, and nothing of the batch."""
    features: TemporalFeatures | None = run.states[0.2][t].memory.features
    assert features is not None
    torch.testing.assert_close(features.correlated, run.predictions[t].temporal.correlated)
