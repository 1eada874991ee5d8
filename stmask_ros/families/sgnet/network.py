# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""SG-Net: SipMask with coefficients for several grids, and optional heads of ours."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.families.sgnet.config import SGNetConfig
from stmask_ros.families.sgnet.granularity import (
    box_areas,
    grids_of,
    level_areas,
    levels_of_cells,
)
from stmask_ros.families.sgnet.motion import (
    MotionHead,
    former_centers,
    motion_scores,
)
from stmask_ros.families.sipmask.detection import Survivors
from stmask_ros.families.sipmask.network import (
    HeadOutput,
    Predictions,
    backbone_and_neck,
    convolved_at,
    embeddings_at,
    head_output,
    prototype_layers,
    pyramid_of,
    track_layer,
)
from stmask_ros.families.sipmask.towers import Towers, joined_levels
from stmask_ros.families.sipmask.tracks import TrackTable
from stmask_ros.layers.deformable import by_cell

# Of the published code's assembly, whatever grid it chose.
REFERENCE_SPLIT = 2


class SGNetHead(Towers):
    """SipMask's head with a layer of coefficients for each grid (specification, section 2)."""

    def __init__(self, config: SGNetConfig) -> None:
        """Create the layers under the names of the published code."""
        super().__init__(config)
        for grid in config.coefficient_grids:
            self.add_module(_name(grid), nn.Conv2d(
                config.channels, grid**2 * config.num_prototypes, 3, padding=1
            ))
        self.sgnet_lat0, self.sgnet_lat = prototype_layers(config)
        self.sgnet_track = track_layer(config)

    def coefficient_layer(self, grid: int) -> nn.Conv2d:
        """Return the layer of a grid."""
        layer = self.get_submodule(_name(grid))
        assert isinstance(layer, nn.Conv2d)
        return layer

    def forward(self, pyramid: Sequence[Tensor]) -> HeadOutput:
        """P3 to P7, [B, channels, h, w] each -> see HeadOutput."""
        return head_output(self.predict(pyramid), self.sgnet_lat0, self.sgnet_lat)


class SpatialAttention(nn.Module):
    """
    Weighs prototypes by place, from their largest and mean value there.

    The paper names such a module and nothing more: our reading (specification, section 6.2).
    """

    def __init__(self) -> None:
        """Create the layer."""
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, prototypes: Tensor) -> Tensor:
        """[B, prototypes, H, W] -> the same."""
        summary = torch.cat((prototypes.amax(1, True), prototypes.mean(1, True)), 1)
        weight: Tensor = self.conv(summary.to(self.conv.weight.dtype)).sigmoid()
        return prototypes * weight


class SGNet(nn.Module):
    """The network of a configuration. Parameters are named as in the published code."""

    def __init__(self, config: SGNetConfig) -> None:
        """Create the network with random weights."""
        super().__init__()
        self.config = config
        self.backbone, self.neck = backbone_and_neck(config)
        self.bbox_head = SGNetHead(config)
        self.motion_head: MotionHead | None = None
        if config.motion:
            self.motion_head = MotionHead(config.channels, config.motion_reads)
        self.attention = SpatialAttention() if config.spatial_attention else None

    def forward(self, images: Tensor) -> Predictions:
        """images: float [B, 3, H, W] as preprocess() makes them, H and W multiples of 32."""
        stages, pyramid = pyramid_of(self.backbone, self.neck, images)
        head = self.bbox_head(pyramid)
        if self.attention is not None:
            head = head._replace(prototypes=self.attention(head.prototypes))
        return Predictions(stages, pyramid, head)

    def coefficients(self, predictions: Predictions, grid: int) -> Tensor:
        """Return a grid's coefficients of all cells, [B, N, grid^2 * prototypes]."""
        layer = self.bbox_head.coefficient_layer(grid)
        return by_cell([layer(x) for x in predictions.head.towers.aligned])

    def coefficients_at(
        self, predictions: Predictions, frame: int | slice, cells: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """
        Return coefficients of chosen cells, [..., D, S * prototypes], and their grids, [..., D].

        S: of the largest grid; coefficients of a smaller one end in zeros. frame: of the batch,
        cells int64 [D]; or a slice, [B, D]. boxes: [..., D, 4] [pixel of the prototypes].
        """
        towers = predictions.head.towers
        layers = [self.bbox_head.coefficient_layer(grid) for grid in self.config.grids]
        each = convolved_at(layers, towers.aligned, towers.level_sizes, frame, cells)
        places = self.grid_places(predictions, frame, cells, boxes)
        chosen = padded_choice(each, places)
        if self.config.granularity == 'reference':
            return chosen, torch.full_like(cells, REFERENCE_SPLIT)
        return chosen, self._grids(places)

    def coefficients_to_learn(
        self, predictions: Predictions, frames: Tensor, cells: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """
        Return coefficients [P, S * prototypes] and grids [P] of the cells that learn masks.

        Of a batch: frames, cells int64 [P], boxes [P, 4] as predicted [pixel of the prototypes].
        Unless each object has its own area, an image's cells share one grid.
        """
        areas = box_areas(boxes)
        if self.config.granularity != 'instance':
            count = len(predictions.head.prototypes)
            sums = areas.new_zeros(count).index_add(0, frames, areas)
            areas = (sums / torch.bincount(frames, minlength=count))[frames]
        places = grids_of(areas, self.config.grids, self.config.thresholds)
        each = [self.coefficients(predictions, grid)[frames, cells] for grid in self.config.grids]
        return padded_choice(each, places), self._grids(places)

    def grid_places(
        self, predictions: Predictions, frame: int | slice, cells: Tensor, boxes: Tensor
    ) -> Tensor:
        """Return which of the configured grids each of the boxes gets, int64 [..., D]."""
        config = self.config
        if config.granularity == 'reference':
            towers = predictions.head.towers
            areas = level_areas(towers.distances[frame], towers.level_sizes)
            level = levels_of_cells(towers.level_sizes, cells.device)[cells]
            areas = areas.gather(-1, level)
        else:
            areas = box_areas(boxes)
        if config.granularity == 'image':
            areas = areas.mean(-1, keepdim=True).expand_as(areas)
        return grids_of(areas, config.grids, config.thresholds)

    def _grids(self, places: Tensor) -> Tensor:
        grids = torch.zeros_like(places)
        for place, grid in enumerate(self.config.grids):
            grids = grids + (places == place) * grid
        return grids

    def tracking_map(self, predictions: Predictions) -> Tensor:
        """Return the embeddings [B, embedding size, h, w] of all cells of stride 8."""
        embeddings: Tensor = self.bbox_head.sgnet_track(predictions.head.track_features)
        return embeddings

    def tracking_map_of(self, images: Tensor) -> Tensor:
        """Return the tracking_map() of images [B, 3, H, W], and nothing else of them."""
        _, pyramid = pyramid_of(self.backbone, self.neck, images)
        features = joined_levels([self.bbox_head.track_convs(level) for level in pyramid[:3]])
        embeddings: Tensor = self.bbox_head.sgnet_track(features)
        return embeddings

    def embeddings_at(
        self, predictions: Predictions, frame: int | slice, cells: Tensor
    ) -> Tensor:
        """Return the embeddings [..., D, embedding size] of cells int64 [..., D] of stride 8."""
        return embeddings_at(self.bbox_head.sgnet_track, predictions, frame, cells)

    def motion(
        self, predictions: Predictions, frame: int | slice, former: Tensor, detections: Survivors,
        tracks: TrackTable, scales: Tensor,
    ) -> tuple[Tensor | None, Tensor]:
        """
        Return how well motion joins detections and tracks [..., D, T], and what to remember.

        former: features of the frame before [B, ...]; of another size, before the first frame.
        """
        if self.motion_head is None:
            return None, former
        current = self.motion_head.features(predictions)
        if former.shape != current.shape:
            former = torch.zeros_like(current)
        displacement = self.motion_head(former, current)[frame]
        centers = former_centers(displacement, detections.boxes, scales)
        return motion_scores(centers, tracks), current


def padded_choice(each: Sequence[Tensor], places: Tensor) -> Tensor:
    """Return for each row the coefficients [..., D, C] of its place, zeros behind, [..., D, S]."""
    most = max(values.shape[-1] for values in each)
    chosen = each[0].new_zeros(*places.shape, most)
    for place, values in enumerate(each):
        mine = F.pad(values, (0, most - values.shape[-1]))
        chosen = torch.where((places == place).unsqueeze(-1), mine, chosen)
    return chosen


def _name(grid: int) -> str:
    return f'sgnet_cof_{grid}_{grid}'
