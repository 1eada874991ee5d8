# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""SipMask-VIS: a frame in, dense predictions out; coefficients and embeddings where asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.families.sipmask.config import BACKBONES, SipMaskConfig
from stmask_ros.families.sipmask.detection import Survivors
from stmask_ros.families.sipmask.neck import STRIDES, Neck
from stmask_ros.families.sipmask.towers import TowerOutput, Towers, joined_levels
from stmask_ros.families.sipmask.tracks import TrackTable
from stmask_ros.layers.caffe_resnet import CaffeResNet
from stmask_ros.layers.deformable import by_cell
from stmask_ros.layers.rows import pick
from stmask_ros.layers.sparse import Table, cells_of, convolve

# Sub-regions of a box along each side.
GRID = 2


class HeadOutput(NamedTuple):
    """
    towers: dense predictions, see TowerOutput.

    mask_features: before its ReLU, [B, mask channels, h, w] at stride 8.
    prototypes: [B, prototypes, 4 * h, 4 * w], none negative, at stride 2.
    track_features: [B, 3 * channels, h, w] at stride 8, of which an embedding is made.
    """

    towers: TowerOutput
    mask_features: Tensor
    prototypes: Tensor
    track_features: Tensor


class Predictions(NamedTuple):
    """
    The network's view of a batch of frames; intermediate maps are kept for who looks.

    stages: of the backbone, C2 to C5. pyramid: P3 to P7. head: see HeadOutput. Where an engine
    runs the network, those maps are empty that no step reads.
    """

    stages: tuple[Tensor, ...]
    pyramid: list[Tensor]
    head: HeadOutput


class SipMaskHead(Towers):
    """FCOS with coefficients, prototypes and a tracking map (specification, section 5)."""

    def __init__(self, config: SipMaskConfig) -> None:
        """Create the layers under the names of the released weights."""
        super().__init__(config)
        self.sip_cof = nn.Conv2d(
            config.channels, GRID**2 * config.num_prototypes, 3, padding=1
        )
        self.sip_mask_lat0, self.sip_mask_lat = prototype_layers(config)
        self.sipmask_track = track_layer(config)

    def forward(self, pyramid: Sequence[Tensor]) -> HeadOutput:
        """P3 to P7, [B, channels, h, w] each -> see HeadOutput."""
        return head_output(self.predict(pyramid), self.sip_mask_lat0, self.sip_mask_lat)


def prototype_layers(config: SipMaskConfig) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Return the two convolutions that make prototypes of the box towers."""
    return (
        nn.Conv2d(3 * config.channels, config.mask_channels, config.mask_kernel,
                  padding=config.mask_kernel // 2),
        nn.Conv2d(config.mask_channels, config.num_prototypes, 3, padding=1),
    )


def track_layer(config: SipMaskConfig) -> nn.Conv2d:
    """Return the convolution that makes embeddings of the tracking towers."""
    return nn.Conv2d(3 * config.channels, config.embedding_size, config.track_kernel,
                     padding=config.track_kernel // 2)


def head_output(towers: TowerOutput, first: nn.Module, second: nn.Module) -> HeadOutput:
    """Return the towers with the prototypes that the two layers make of them."""
    features = first(joined_levels(towers.box_towers[:3]))
    prototypes = F.interpolate(
        F.relu(second(F.relu(features))), scale_factor=4, mode='bilinear', align_corners=False
    )
    return HeadOutput(
        towers, features, prototypes.float(), joined_levels(towers.track_towers)
    )


class SipMask(nn.Module):
    """The network of a configuration. Parameters are named as in the released checkpoints."""

    def __init__(self, config: SipMaskConfig) -> None:
        """Create the network with random weights."""
        super().__init__()
        self.config = config
        self.backbone, self.neck = backbone_and_neck(config)
        self.bbox_head = SipMaskHead(config)

    def forward(self, images: Tensor) -> Predictions:
        """images: float [B, 3, H, W] as preprocess() makes them, H and W multiples of 32."""
        stages, pyramid = pyramid_of(self.backbone, self.neck, images)
        return Predictions(stages, pyramid, self.bbox_head(pyramid))

    def coefficients(self, predictions: Predictions) -> Tensor:
        """Return the mask coefficients of all cells, [B, N, 4 * prototypes], sub-region major."""
        return by_cell([self.bbox_head.sip_cof(x) for x in predictions.head.towers.aligned])

    def coefficients_at(
        self, predictions: Predictions, frame: int | slice, cells: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """
        Return coefficients of chosen cells, [..., D, 4 * prototypes], and their grids, [..., D].

        frame: of the batch, cells int64 [D]; or a slice, [B, D]. boxes: not looked at.
        """
        aligned, sizes = predictions.head.towers.aligned, predictions.head.towers.level_sizes
        (coefficients,) = convolved_at([self.bbox_head.sip_cof], aligned, sizes, frame, cells)
        return coefficients, torch.full_like(cells, GRID)

    def coefficients_to_learn(
        self, predictions: Predictions, frames: Tensor, cells: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return coefficients [P, 4 * prototypes] and grids [P] of the cells of a batch."""
        return self.coefficients(predictions)[frames, cells], torch.full_like(cells, GRID)

    def tracking_map(self, predictions: Predictions) -> Tensor:
        """Return the embeddings [B, embedding size, h, w] of all cells of stride 8."""
        embeddings: Tensor = self.bbox_head.sipmask_track(predictions.head.track_features)
        return embeddings

    def tracking_map_of(self, images: Tensor) -> Tensor:
        """Return the tracking_map() of images [B, 3, H, W], and nothing else of them."""
        _, pyramid = pyramid_of(self.backbone, self.neck, images)
        features = joined_levels([self.bbox_head.track_convs(level) for level in pyramid[:3]])
        embeddings: Tensor = self.bbox_head.sipmask_track(features)
        return embeddings

    def embeddings_at(
        self, predictions: Predictions, frame: int | slice, cells: Tensor
    ) -> Tensor:
        """
        Return the embeddings [..., D, embedding size] of chosen cells of stride 8.

        cells: int64 [..., D], see embedding_cells. frame: see coefficients_at.
        """
        return embeddings_at(self.bbox_head.sipmask_track, predictions, frame, cells)

    def motion(
        self, predictions: Predictions, frame: int | slice, former: Tensor, detections: Survivors,
        tracks: TrackTable, scales: Tensor,
    ) -> tuple[Tensor | None, Tensor]:
        """Return no scores of motion, and nothing to remember: see SG-Net."""
        return None, former


def convolved_at(
    layers: Sequence[nn.Conv2d], levels: Sequence[Tensor], sizes: tuple[tuple[int, int], ...],
    frame: int | slice, cells: Tensor,
) -> list[Tensor]:
    """
    Return convolutions of levels [B, C, h, w] at cells in the order (level, y, x), [..., D, out].

    Of one frame only the cells asked for are computed, with the values of the whole.
    """
    if isinstance(frame, slice):
        maps = [by_cell([layer(level[frame]) for level in levels]) for layer in layers]
        return [pick(each, cells).float() for each in maps]
    where = cells_of(sizes, cells.device)
    table = Table.of([level[frame] for level in levels], where)
    at = where.anchor_cells[cells]
    return [convolve(table, at, where, layer).float() for layer in layers]


def embeddings_at(
    layer: nn.Conv2d, predictions: Predictions, frame: int | slice, cells: Tensor
) -> Tensor:
    """Return the embeddings [..., D, size] that a layer makes at cells of stride 8."""
    features = predictions.head.track_features
    sizes = ((int(features.shape[2]), int(features.shape[3])),)
    (embeddings,) = convolved_at([layer], [features], sizes, frame, cells)
    return embeddings


def embedding_cells(boxes: Tensor, scales: Tensor, size: tuple[int, int]) -> Tensor:
    """
    Return the cell, int64 [..., D], of stride 8, at the center of each box [..., D, 4].

    boxes: [pixel of the image]. scales: float32 [...], to the network's pixels. size: (height,
    width) of the tracking map [cells].
    """
    corners = boxes * scales[..., None, None]
    centers = (corners[..., :2] + corners[..., 2:]) / 2 / STRIDES[0]
    # Never outside, but for numbers that are none.
    x, y = centers.nan_to_num().floor().long().unbind(-1)
    return y.clamp(0, size[0] - 1) * size[1] + x.clamp(0, size[1] - 1)


def backbone_and_neck(config: SipMaskConfig) -> tuple[CaffeResNet, Neck]:
    """Return the layers below the head."""
    blocks, width = BACKBONES[config.backbone]
    return CaffeResNet(blocks, width), Neck((8 * width, 16 * width, 32 * width), config.channels)


def pyramid_of(
    backbone: CaffeResNet, neck: Neck, images: Tensor
) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """Return C2 to C5 and P3 to P7 of images [B, 3, H, W]."""
    stages = backbone(images.to(backbone.conv1.weight.dtype))
    return stages, neck(stages[1:])
