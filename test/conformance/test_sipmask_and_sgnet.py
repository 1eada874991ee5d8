# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""SipMask and SG-Net over the reference's frames, stage by stage (GOLDEN.md there)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from siblings import Golden, Sibling, close, frames_of, statistics
from torch import Tensor

from stmask_ros.families.frames import Image
from stmask_ros.families.sgnet.config import SGNetConfig
from stmask_ros.families.sgnet.granularity import grids_of, level_areas
from stmask_ros.families.sgnet.network import SGNet
from stmask_ros.families.sipmask.association import Seen, matching_scores, pixel_iou
from stmask_ros.families.sipmask.config import SipMaskConfig
from stmask_ros.families.sipmask.detection import (
    Candidates,
    DetectionRules,
    best_candidates,
    suppress,
)
from stmask_ros.families.sipmask.frame_step import StepInput, StepOutput, compute
from stmask_ros.families.sipmask.masks import binary_masks
from stmask_ros.families.sipmask.memory import StreamMemory
from stmask_ros.families.sipmask.network import Predictions, SipMask, embedding_cells
from stmask_ros.families.sipmask.preprocess import padded_batch, preprocess, scale_of, scaled
from stmask_ros.families.sipmask.tracks import SipMaskTracker, TrackTable
from stmask_ros.models.checkpoint import Model, ModelDescription
from stmask_ros.tracking.segmenter import VideoSegmenter

CPU = torch.device('cpu')
Network = SipMask | SGNet
LEVELS = ('P3', 'P4', 'P5', 'P6', 'P7')

# Of boxes [pixel]. In float32 their distances, up to 1200 pixels, are up to 4e-3 from float64, the
# reference's own too, and by how much depends on the processor.
ROUNDING = 5e-3


@dataclass(frozen=True)
class Frame:
    """A frame of a golden, and what the network and a step made of it."""

    golden: Golden
    image: Image
    scale: Tensor
    predictions: Predictions
    before: StreamMemory
    output: StepOutput


@pytest.fixture(scope='module', params=['sipmask', 'sgnet'])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope='module')
def sibling(reference_numbers: Path, family: str) -> Sibling:
    return Sibling.of(reference_numbers, family)


@pytest.fixture(scope='module')
def network(sibling: Sibling, family: str) -> Network:
    network = build(family, 50)
    network.load_state_dict(sibling.weights())
    return network.eval().requires_grad_(False)


def build(family: str, depth: int) -> Network:
    """Return a network with the reference's behaviour."""
    if family == 'sipmask':
        names = {50: 'sipmask_r50_caffe_fpn_gn_1x', 101: 'sipmask_r101_caffe_fpn_gn'}
        return SipMask(SipMaskConfig.named(names[depth]))
    names = {50: 'sgnet_r50_caffe_fpn_gn_1x', 101: 'sgnet_r101_caffe_fpn_gn_ms_4x'}
    return SGNet(SGNetConfig.named(names[depth], granularity='reference'))


@pytest.fixture(scope='module')
def frames(sibling: Sibling, network: Network) -> list[Frame]:
    """Step through the frames of one size."""
    return stepped(sibling, network, 'golden_resnet50')


@pytest.fixture(scope='module')
def enlarged_frames(sibling: Sibling, network: Network) -> list[Frame]:
    """Step through the frames that are enlarged."""
    return stepped(sibling, network, 'golden_resnet50_scaled')


@pytest.fixture(scope='module')
def both(frames: list[Frame], enlarged_frames: list[Frame]) -> list[Frame]:
    return frames + enlarged_frames


@torch.inference_mode()
def stepped(sibling: Sibling, network: Network, name: str) -> list[Frame]:
    golden = sibling.numbers(name)
    spec = json.loads(str(golden['spec']))
    rules, memory = SipMaskTracker.as_published(), StreamMemory.empty(network.config, CPU)
    frames = []
    for chosen, values in zip(spec['frames'], frames_of(golden), strict=True):
        image = sibling.clip.frame(chosen['t'], *spec['size'], spec['seed'])
        kept: list[Predictions] = []
        hook = network.register_forward_hook(lambda _, __, out, kept=kept: kept.append(out))
        scale = torch.tensor([scale_of(image.shape[:2], network.config)])
        output = compute(network, StepInput(
            *padded_batch([scaled(image, network.config)]), scale, memory.former, memory.tracks,
            len(memory.tracks) + 1, chosen['t'],
        ), rules)
        hook.remove()
        frames.append(Frame(values, image, scale, kept[0], memory, output))
        (memory,) = output.memories([len(output.remembered)])
    return frames


def test_input(frames: list[Frame]) -> None:
    for frame in frames:
        assert digest(frame.image) == str(frame.golden['image.sha256'])
    x = preprocess([frames[0].image], SipMaskConfig(), CPU)[0]
    close(x[:, ::16, ::16], frames[0].golden['pre.slice'], 1e-4)
    np.testing.assert_allclose(x.double().sum((1, 2)), frames[0].golden['pre.sum'], rtol=1e-6)


def test_resized_images(enlarged_frames: list[Frame]) -> None:
    for frame in enlarged_frames:
        assert digest(frame.image) == str(frame.golden['image.sha256'])
        assert digest(scaled(frame.image, SipMaskConfig()).pixels) == str(
            frame.golden['resized.sha256'])


def digest(pixels: Image) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def test_feature_maps(frames: list[Frame], network: Network) -> None:
    """C2 to C5, P3 to P7, every tower, the prototypes and the tracking map."""
    golden, now = frames[0].golden, frames[0].predictions
    towers = now.head.towers
    for name, x in zip(('C2', 'C3', 'C4', 'C5'), now.stages, strict=True):
        assert_slice(golden, name, x, x.shape[1] // 16)
        np.testing.assert_allclose(statistics(x), golden[f'{name}.stats'], atol=5e-4)
    for kind, maps, channels in (
        ('', now.pyramid, 16), ('cls_tower.', towers.class_towers, 16),
        ('reg_tower.', towers.box_towers, 16), ('offset.', towers.offsets, 6),
        ('aligned.', towers.aligned, 16),
    ):
        for level, x in zip(LEVELS, maps, strict=True):
            assert_slice(golden, kind + level, x, channels)
            np.testing.assert_allclose(
                statistics(x), golden[f'{kind}{level}.stats'], atol=5e-4)
    for level, x in zip(LEVELS, towers.track_towers, strict=False):
        assert_slice(golden, f'track_tower.{level}', x, 16)
    assert_slice(golden, 'mask_lat0', now.head.mask_features, 32)
    prototypes = now.head.prototypes[0]
    close(prototypes[:, ::8, ::8], golden['proto.slice'], 5e-4)
    close(prototypes[::8, 40:44], golden['proto.rows'], 5e-4)
    np.testing.assert_allclose(statistics(prototypes), golden['proto.stats'], atol=5e-4)
    track = network.tracking_map(now)[0]
    close(track[::16, ::4, ::4], golden['track.slice'], 1e-5)
    np.testing.assert_allclose(statistics(track), golden['track.stats'], atol=1e-4)


def assert_slice(golden: Golden, name: str, x: Tensor, channels: int) -> None:
    stride = max(1, x.shape[2] // 12)
    close(x[0, ::channels, ::stride, ::stride], golden[f'{name}.slice'], 5e-4)


def test_class_logits_and_coefficients(frames: list[Frame], network: Network) -> None:
    golden, now = frames[0].golden, frames[0].predictions
    sizes = now.head.towers.level_sizes
    logits = by_level(now.head.towers.class_logits[0], sizes)
    for i, level in enumerate(LEVELS):
        step = 2 if i < 2 else 1
        close(logits[i][:, ::step, ::step], golden[f'cls.{level}'], 5e-4)
        np.testing.assert_allclose(
            statistics(logits[i]), golden[f'cls.{level}.stats'], atol=5e-4)
    for name, cells in dense_coefficients(network, now).items():
        for level, x in zip(LEVELS, by_level(cells[0], sizes), strict=True):
            channels = 8 if name == 'cof' else x.shape[0] // 16
            assert_slice(golden, f'{name}.{level}', x[None], channels)


@torch.inference_mode()
def dense_coefficients(network: Network, now: Predictions) -> dict[str, Tensor]:
    """Return the coefficients of all cells under the names in the goldens."""
    if isinstance(network, SipMask):
        return {'cof': network.coefficients(now)}
    return {f'cof_{grid}_{grid}': network.coefficients(now, grid) for grid in (1, 2, 3, 4)}


def by_level(cells: Tensor, sizes: tuple[tuple[int, int], ...]) -> list[Tensor]:
    parts = cells.split([height * width for height, width in sizes])
    return [part.T.unflatten(1, size) for part, size in zip(parts, sizes, strict=True)]


def test_dense_predictions(both: list[Frame]) -> None:
    """Distances, centerness, and the best candidates of each level."""
    for frame in both:
        golden, towers = frame.golden, frame.predictions.head.towers
        close(towers.distances[0], golden['reg'], 1e-2)
        close(towers.centerness[0], golden['ctr'], 5e-4)
        sizes = torch.tensor(scaled(frame.image, SipMaskConfig()).geometry.scaled)
        best = best_candidates(towers, 0, sizes, frame.scale[0], 200)
        assert set(best.cells.tolist()) == set(golden['cand.index'].tolist())
        ours, theirs = np.argsort(best.cells.numpy()), np.argsort(golden['cand.index'])
        close(best.boxes[ours], golden['cand.boxes'][theirs], ROUNDING)
        close(towers.class_logits[0][best.cells[ours]], golden['cand.cls'][theirs], 5e-4)


def test_suppression_from_reference_inputs(both: list[Frame]) -> None:
    """Replayed from the reference's own candidates, the same are left, in order."""
    for frame in both:
        golden = frame.golden
        index = torch.from_numpy(golden['cand.index'])
        kept = suppress(Candidates(
            torch.ones_like(index, dtype=torch.bool), index,
            torch.from_numpy(golden['cand.boxes']),
            torch.from_numpy(golden['cand.cls']).sigmoid(),
            torch.from_numpy(golden['ctr'])[index].sigmoid(),
        ), DetectionRules())
        np.testing.assert_array_equal(kept.cells, golden['det.index'])
        np.testing.assert_array_equal(kept.classes - 1, golden['det.labels'])
        close(kept.boxes, golden['det.boxes'][:, :4], 1e-4)
        close(kept.scores, golden['det.boxes'][:, 4], 1e-6)


def test_detections(both: list[Frame], network: Network) -> None:
    """Boxes, scores, coefficients, embeddings; matched by cell and class, as scores are close."""
    for frame in both:
        golden, found = frame.golden, frame.output.detections
        order = order_of(frame)
        close(found.boxes[order], golden['det.boxes'][:, :4], ROUNDING)
        close(found.scores[order], golden['det.boxes'][:, 4], 5e-5)
        cells = found.cells[order]
        with torch.inference_mode():
            coefficients, grids = network.coefficients_at(frame.predictions, 0, cells, cells)
            size = frame.predictions.pyramid[0].shape[2:]
            at = embedding_cells(found.boxes[order], frame.scale[0], (size[0], size[1]))
            embeddings = network.embeddings_at(frame.predictions, 0, at)
        close(coefficients, golden['det.cof'], 5e-4)
        assert set(grids.tolist()) == {2}
        np.testing.assert_array_equal(
            torch.stack((at // size[1], at % size[1]), 1), golden['emb.cell'])
        close(embeddings, golden['emb'], 1e-5)


def order_of(frame: Frame) -> list[int]:
    """Return where our detections are that the reference lists."""
    found = frame.output.detections
    pairs = list(zip(found.cells.tolist(), (found.classes - 1).tolist(), strict=True))
    golden = frame.golden
    wanted = zip(golden['det.index'].tolist(), golden['det.labels'].tolist(), strict=True)
    return [pairs.index(pair) for pair in wanted]


def test_association(both: list[Frame]) -> None:
    """Totals, claims, and what is remembered."""
    for frame in both:
        golden, order = frame.golden, order_of(frame)
        after = frame.output.remembered
        if 'trk.score' in golden:
            assert_totals(golden, frame.before.tracks)
        ids = golden['ids']
        np.testing.assert_array_equal(frame.output.claims[order], ids)
        boxes = torch.cat((after.boxes, after.scores[:, None]), 1)
        close(boxes, golden['mem.boxes'], ROUNDING)
        np.testing.assert_array_equal(after.classes - 1, golden['mem.labels'])
        close(after.embeddings[:, ::16], golden['mem.emb'], 1e-5)
        close(after.embeddings.double().sum(1), golden['mem.emb.sum'], 1e-3)


def assert_totals(golden: Golden, tracks: TrackTable) -> None:
    boxes = torch.from_numpy(golden['det.boxes'])
    found = Seen(
        boxes[:, :4], torch.from_numpy(golden['emb']), torch.from_numpy(golden['det.labels']) + 1
    )
    close(pixel_iou(found.boxes, tracks.boxes), golden['trk.iou'], 1e-3)
    close(matching_scores(found, boxes[:, 4], tracks.seen), golden['trk.score'], 1e-3)


def test_masks(both: list[Frame]) -> None:
    """Assembled sub-regions and pixels of the image, and which of them are reported."""
    for frame in both:
        golden, order = frame.golden, order_of(frame)
        soft = frame.output.soft[order]
        np.testing.assert_allclose(
            soft.double().sum((1, 2)), golden['crop.soft_sum'], rtol=1e-3, atol=1)
        if 'crop.slice' in golden:
            close(soft[:, ::4, ::4], golden['crop.slice'], 2e-3)
        height, width = frame.image.shape[:2]
        scale = scale_of((height, width), SipMaskConfig())
        for mask, bits, near in zip(binary_masks(soft, (scale, scale), (height, width)),
                                    golden['mask.bits'], golden['mask.near'], strict=True):
            ours = np.packbits(mask.to_full(height, width))
            assert np.unpackbits(ours ^ bits).sum() <= near


@pytest.mark.parametrize('depth', [50, 101])
def test_names_and_shapes(sibling: Sibling, family: str, depth: int) -> None:
    """Of the parameters and buffers of both depths."""
    with torch.device('meta'):
        network = build(family, depth)
    ours = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert ours == {key: value['shape'] for key, value in sibling.manifest(depth).items()}
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == {
        ('sipmask', 50): 33_433_394, ('sipmask', 101): 52_425_522,
        ('sgnet', 50): 35_351_154, ('sgnet', 101): 54_343_282,
    }[family, depth]


@pytest.mark.parametrize('family', ['sgnet'], indirect=True, scope='module')
def test_what_the_published_code_takes_for_areas(both: list[Frame]) -> None:
    """SG-Net alone: of each level, and the grid that follows."""
    for frame in both:
        towers = frame.predictions.head.towers
        areas = level_areas(towers.distances[0], towers.level_sizes)
        np.testing.assert_allclose(areas, frame.golden['level_area'], rtol=1e-4, atol=0.1)
        places = grids_of(areas, (2, 3, 4), (500, 1000))
        np.testing.assert_array_equal(places + 2, frame.golden['level_grid'])


@pytest.mark.parametrize('file', ['golden_resnet50', 'golden_resnet50_scaled'])
def test_results(file: str, sibling: Sibling, network: Network, family: str) -> None:
    """What a user gets: ids, classes, boxes, scores and masks that the reference reports."""
    golden = sibling.numbers(file)
    spec = json.loads(str(golden['spec']))
    classes = tuple(f'class_{i + 1}' for i in range(40))
    description = ModelDescription(family, '', classes, family=family)
    segmenter = VideoSegmenter(
        Model(description, network, 'filled'), CPU, SipMaskTracker.as_published()
    )
    state = segmenter.initial_state()
    for chosen, g in zip(spec['frames'], frames_of(golden), strict=True):
        image = sibling.clip.frame(chosen['t'], *spec['size'], spec['seed'])
        (result,), (state,) = segmenter.step([image], [state])
        order = np.argsort(g['out.ids'])
        rows = g['out.detection'][order]
        ours = np.argsort(result.track_ids)
        np.testing.assert_array_equal(result.track_ids[ours] - 1, g['out.ids'][order])
        np.testing.assert_array_equal(result.class_ids[ours] - 1, g['det.labels'][rows])
        # A result orders the edges of inverted boxes; state.memory.tracks has them as they are.
        boxes = np.sort(g['det.boxes'][rows, :4].reshape(-1, 2, 2), axis=1).reshape(-1, 4)
        np.testing.assert_allclose(result.boxes[ours], boxes, atol=ROUNDING)
        np.testing.assert_allclose(result.scores[ours], g['det.boxes'][rows, 4], atol=5e-5)
        for mine, row in zip(ours, rows, strict=True):
            bits = np.packbits(result.masks[mine].to_full(*image.shape[:2]))
            wrong = np.unpackbits(bits ^ g['mask.bits'][row]).sum()
            assert wrong <= g['mask.near'][row]
