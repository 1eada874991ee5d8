# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Every operator against the reference's own inputs and outputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from stmask_ros.families.stmask.association import associate
from stmask_ros.families.stmask.calibration import CalibratedConv, aligned_offsets
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.detection import (
    Candidates,
    Detections,
    Survivors,
    cross_class_nms,
    greedy_nms,
    per_class_nms,
)
from stmask_ros.families.stmask.masks import (
    assemble,
    crop_window,
    mask_iou,
    region_mask,
    visible_part,
)
from stmask_ros.families.stmask.preprocess import Extent
from stmask_ros.families.stmask.temporal_fusion import TemporalNet, correlate, pool_regions
from stmask_ros.families.stmask.tracks import TrackerConfig, TrackTable
from stmask_ros.layers import boxes
from stmask_ros.layers.deformable import (
    ModulatedDeformableConv2d,
    by_cell,
    by_level,
    deformable_convolution,
)

Load = Callable[[str], dict[str, npt.NDArray[Any]]]


def close(actual: Tensor, expected: npt.NDArray[Any], atol: float = 2e-5) -> None:
    """Assert that a tensor equals the reference to atol."""
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=1e-5, atol=atol)


def tensors(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
    """Return the numeric arrays as tensors."""
    return {k: torch.from_numpy(v) for k, v in arrays.items() if v.dtype.kind != 'U'}


def test_boxes(operator: Load) -> None:
    """Decoding, encoding, IoU and the one-sided clamp."""
    golden = operator('boxes')
    given = tensors(golden)
    close(boxes.decode(given['loc'], given['priors']), golden['decoded'], 2e-6)
    close(boxes.encode(given['gt'], given['priors']), golden['encoded'], 1e-4)
    close(boxes.box_iou(given['decoded'], given['gt']), golden['jaccard'], 2e-6)
    close(boxes.center_size(given['decoded']), golden['center_size'], 2e-6)
    close(boxes.to_cells(given['san_in'], (24, 40)), golden['san_hw_24_40'])


@pytest.mark.parametrize('training', [False, True])
def test_modulated_deformable_convolution(operator: Load, training: bool) -> None:
    """DCNv2, by the inference path and by the differentiable one."""
    golden = operator('dcn_v2')
    layer = ModulatedDeformableConv2d(8, 10, stride=2)
    layer.load_state_dict({k: v for k, v in tensors(golden).items() if k not in ('x', 'out')})
    with torch.set_grad_enabled(training):
        close(layer(torch.from_numpy(golden['x'])), golden['out'])


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('kernel', [(3, 3), (3, 5), (5, 3)])
@pytest.mark.parametrize('mode', ['ada', 'ali'])
def test_calibrated_convolution(
    operator: Load, mode: str, kernel: tuple[int, int], training: bool
) -> None:
    """FCB, offsets and output, for each kernel."""
    prefix = f'{kernel[0]}x{kernel[1]}/'
    golden = {
        k.removeprefix(prefix): v for k, v in operator(f'fcb_{mode}').items()
        if k.startswith(prefix)
    }
    given = tensors(golden)
    layer = CalibratedConv(16, 12, kernel, adaptive=mode == 'ada')
    layer.load_state_dict(
        {k.removeprefix('w/'): v for k, v in given.items() if k.startswith('w/')}
    )
    with torch.set_grad_enabled(training):
        size = (given['shape'].shape[2], given['shape'].shape[3])
        box_deltas = by_cell([given['shape']])
        (offset,) = (
            by_level(aligned_offsets(box_deltas, kernel), [size]) if layer.conv_offset is None
            else [layer.conv_offset(given['shape'])]
        )
        close(offset, golden['offset'])
        adapted = deformable_convolution(
            given['x'], offset, layer.conv_adaption.weight, padding=layer.padding
        )
        close(adapted, golden['adapt_prerelu'])
        (out,) = by_level(layer([given['x']], box_deltas), [size])
        close(out, golden['out'])


def test_correlation(operator: Load) -> None:
    """The 11x11 correlation, through its leaky ReLU."""
    golden = operator('correlation')
    actual = correlate(torch.from_numpy(golden['a']), torch.from_numpy(golden['b']), 11)
    close(actual, golden['out'])
    close(actual.relu(), golden['out_after_relu'])


def test_pooled_regions(operator: Load) -> None:
    """Regions of interest, degenerate and outside ones too."""
    golden = operator('roi_feat')
    given = tensors(golden)
    frames = torch.zeros(len(given['boxes']), dtype=torch.int64)
    close(pool_regions(given['feat'], given['boxes'], frames), golden['out'])


def test_temporal_net(operator: Load, reference: Any) -> None:
    """TemporalNet on given regions."""
    golden = operator('temporal_net')
    net = TemporalNet(633, (512, 512, 1024), 32)
    net.load_state_dict(_temporal_weights(reference))
    with torch.inference_mode():
        deltas, coefficients = net(torch.from_numpy(golden['x'].astype(np.float32)))
    close(deltas, golden['loc'])
    close(coefficients, golden['coeff'])


@pytest.mark.parametrize(
    ('name', 'suppress'),
    [
        ('tf_cc', cross_class_nms), ('tf_fast', per_class_nms), ('plain_cc', cross_class_nms),
        ('plain_fast', per_class_nms), ('plain_traditional', greedy_nms),
    ],
)
def test_nms(operator: Load, name: str, suppress: Callable[..., Survivors]) -> None:
    """Each kind of suppression: order, class and score of every survivor."""
    golden = operator('nms')
    given = tensors(golden)
    # The plain vectors were made without centerness.
    centerness = given['centerness'] if name.startswith('tf') else torch.ones(400)
    probabilities = given['conf'][:, 1:]
    candidates = Candidates(
        torch.ones(400, dtype=torch.bool), torch.arange(400), given['box'], probabilities,
        centerness,
    )
    kept = suppress(candidates, 0.5, 0.05)
    kept = kept.only(kept.valid)
    np.testing.assert_array_equal(kept.anchors.numpy(), golden[f'{name}/index'])
    np.testing.assert_array_equal(kept.classes.numpy(), golden[f'{name}/class'])
    close(kept.scores, golden[f'{name}/score'], 1e-7)
    close(kept.boxes, golden[f'{name}/box'], 1e-6)


def test_crop(operator: Load) -> None:
    """The window of a box on the prototype map."""
    golden = operator('crop')
    given = tensors(golden)
    window = crop_window(given['boxes'], 24, 40)
    np.testing.assert_array_equal(window.permute(1, 2, 0).numpy(), golden['crop_mask'] != 0)
    close(given['masks'] * window.permute(1, 2, 0), golden['cropped'], 0)


def test_mask_assembly(operator: Load, reference: Any) -> None:
    """Soft masks, their IoU, and their pixels at 640x360 as run lengths."""
    golden = operator('mask_assembly')
    given = tensors(golden)
    prototypes = 0.5 * reference.randn('ops/mask/proto', (96, 160, 32)).relu()
    masks = assemble(prototypes, given['coeff'], given['boxes'])
    rows, columns = (96 // 24, 160 // 40)
    close(masks[:, ::rows, ::columns], golden['masks_slice'])
    np.testing.assert_allclose(masks.sum((1, 2)).numpy(), golden['soft_sum'], rtol=1e-5)
    np.testing.assert_array_equal((masks > 0.5).sum((1, 2)).numpy(), golden['pixel_count'])
    close(mask_iou(masks, masks.flip(0)), golden['mask_iou'], 1e-6)
    extent = Extent.of(STMaskConfig())
    for soft, expected in zip(
        visible_part(masks, extent).numpy(), golden['up360x640_rle'], strict=True
    ):
        wanted = coco_mask.decode({'size': [360, 640], 'counts': str(expected)}).astype(bool)
        assert np.count_nonzero(region_mask(soft, 360, 640).to_full(360, 640) != wanted) <= 1


def test_tracker_with_fusion(operator: Load, reference: Any) -> None:
    """Sixteen scripted frames: ids, scores, boxes and masks after each."""
    golden = operator('tracker_tf')
    network = TemporalNet(633, (512, 512, 1024), 32)
    network.load_state_dict(_temporal_weights(reference))
    stream = ScriptedStream(network, reference)
    for t in range(len(json.loads(str(golden['script'])))):
        frame = {
            k.removeprefix(f'f{t}/'): v for k, v in golden.items() if k.startswith(f'f{t}/')
        }
        tracks = stream.step(t, _detections(frame))
        np.testing.assert_array_equal(tracks.missed.numpy(), frame['mem.tracked_mask'])
        np.testing.assert_array_equal(tracks.classes.numpy(), frame['mem.class'])
        close(tracks.scores, frame['mem.score'])
        close(tracks.boxes, frame['mem.box'], 1e-4)
        close(tracks.coefficients, frame['mem.mask_coeff'], 1e-4)
        shown = stream.shown(tracks)
        np.testing.assert_array_equal(shown.ids.numpy() - 1, frame['out.box_ids'])
        close(shown.boxes, frame['out.box'], 1e-4)
        pixels = (shown.masks > 0.5).sum((1, 2)).numpy()
        assert np.abs(pixels - frame['out.mask_pixels']).max() <= 1


def test_tracker_without_fusion(operator: Load, reference: Any) -> None:
    """The same rules with nothing carried: the ids that each detection got."""
    golden = operator('tracker_notf')
    stream = ScriptedStream(None, reference)
    for t in sorted({int(k.split('/')[0][1:]) for k in golden}):
        frame = {
            k.removeprefix(f'f{t}/'): v for k, v in golden.items() if k.startswith(f'f{t}/')
        }
        tracks = stream.step(t, _detections(frame))
        seen = tracks.rows(tracks.missed == 0)
        seen = seen.rows(seen.scores.argsort(descending=True))
        np.testing.assert_array_equal(seen.ids.numpy() - 1, frame['out.box_ids'])
        close(seen.scores, frame['out.score'], 1e-6)
        close(seen.boxes, frame['out.box'], 1e-6)
        np.testing.assert_array_equal(seen.classes.numpy(), frame['out.class'])


class ScriptedStream:
    """A stream whose features and prototypes are generated and whose detections are given."""

    config = TrackerConfig(retirement='never')

    def __init__(self, network: TemporalNet | None, reference: Any) -> None:
        """Start without tracks."""
        self.network = network
        self.reference = reference
        self.tracks = TrackTable.empty(
            STMaskConfig(input_height=192, input_width=320), torch.device('cpu')
        )
        self.features: tuple[Tensor, Tensor] | None = None

    @torch.inference_mode()
    def step(self, t: int, detections: Detections) -> TrackTable:
        """Carry the tracks to frame t and associate; return them as shown."""
        randn = self.reference.randn
        features = (
            0.3 * randn(f'ops/trk/fpn/{t}', (1, 256, 12, 20)).relu(),
            0.3 * randn(f'ops/trk/t2s/{t}', (1, 256, 12, 20)).relu(),
        )
        prototypes = (
            0.2 * randn(f'ops/trk/proto/{t}', (48, 80, 32))
            + 0.6 * randn('ops/trk/proto/base', (48, 80, 32))
        ).relu()
        tracks = self._carried(features, prototypes)
        masks = assemble(prototypes, detections.coefficients, detections.boxes)
        shown, self.tracks = associate(
            tracks, detections, masks, len(tracks) + 1, t, self.config, self.network is not None
        )
        self.features = features
        return shown

    def _carried(self, features: tuple[Tensor, Tensor], prototypes: Tensor) -> TrackTable:
        tracks = replace(self.tracks, missed=self.tracks.missed + 1)
        if self.network is None or self.features is None or len(tracks) == 0:
            return tracks
        correlation = correlate(self.features[0], features[0], 11)
        joint = torch.cat((correlation, self.features[1], features[1]), 1).relu()
        frames = torch.zeros_like(tracks.ids)
        deltas, changes = self.network(pool_regions(joint, tracks.boxes, frames))
        moved = boxes.decode(deltas, boxes.center_size(tracks.boxes))
        coefficients = tracks.coefficients + changes
        return replace(
            tracks, boxes=moved, coefficients=coefficients,
            masks=assemble(prototypes, coefficients, moved), scores=0.95 * tracks.scores,
        )

    def shown(self, tracks: TrackTable) -> TrackTable:
        """Return what the reference puts out."""
        area = (tracks.masks > 0.5).sum((1, 2))
        return tracks.rows((tracks.missed <= 10) & (area > 1) & (tracks.scores > 0.05))


def _temporal_weights(reference: Any) -> dict[str, Tensor]:
    manifest = reference.manifest('STMask_plus_resnet50_ada')
    chosen = {k: v for k, v in manifest.items() if k.startswith('TemporalNet.')}
    filled = reference.filler.fill_state_dict(chosen)
    return {k.removeprefix('TemporalNet.'): torch.from_numpy(v) for k, v in filled.items()}


def _detections(frame: dict[str, npt.NDArray[Any]]) -> Detections:
    embeddings = frame.get('in.track', np.zeros((0, 128), np.float32))
    return Detections(
        torch.from_numpy(frame['in.box']), torch.from_numpy(frame['in.score']),
        torch.from_numpy(frame['in.class']).long(),
        torch.zeros(len(frame['in.class']), 40), torch.from_numpy(frame['in.mask_coeff']),
        torch.from_numpy(embeddings),
    )
