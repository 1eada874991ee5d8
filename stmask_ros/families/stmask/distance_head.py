# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A detection head of distances, and STMask's branches on its boxes.

Each cell has one box: a class is a sigmoid, and a side's distance from the cell's center is the
mean of a distribution (Generalized Focal Loss, Li et al., NeurIPS 2020, section 3). Mask
coefficients and embeddings are convolutions whose kernel's cells are spread over the box, as FCB's
are (equations 6 to 8).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.heads import HeadOutput, InstanceOutput
from stmask_ros.layers.boxes import priors, to_cells
from stmask_ros.layers.csp import SLOPE
from stmask_ros.layers.vision_operators import roi_align

LEVELS = 3
# A distance is a mean over 0 to 10 cells.
BINS = 11
SAMPLES = 2
# Of the features, in training: there are few pictures with masks.
FORGOTTEN = 0.2
# A class that was taught is not seen where one of its rivals has this score.
RIVAL_SCORE = 0.1
# Taken off a logit, it leaves no score.
NOTHING = 100.0


class SpreadBranch(nn.Sequential):
    """A convolution over the features of a box, a ReLU, and a linear layer."""

    def __init__(self, channels: int, out: int, kernel: tuple[int, int]) -> None:
        """Create the layers; kernel is (height, width)."""
        super().__init__(
            nn.Dropout2d(FORGOTTEN), nn.Conv2d(channels, 2 * channels, kernel),
            nn.ReLU(inplace=True), nn.Flatten(),
            nn.Linear(2 * channels, out),
        )


class DistanceHead(nn.Module):
    """One small detection head a level, and two branches that see the boxes of chosen cells."""

    def __init__(self, config: STMaskConfig) -> None:
        """Create the layers. The kernel of the branches is the configuration's only one."""
        super().__init__()
        channels, (self.kernel,) = config.channels, config.kernels
        self.outputs = config.outputs_of_classes
        self.num_outputs = sum(self.outputs)
        self.centerness_layer = None
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(SLOPE, inplace=True),
                nn.Conv2d(channels, self.num_outputs + 4 * BINS, 1),
            )
            for _ in range(LEVELS)
        )
        self.mask_layer = SpreadBranch(channels, config.num_coefficients, self.kernel)
        self.taught_mask_layers = nn.ModuleList(
            SpreadBranch(channels, config.num_coefficients, self.kernel)
            for _ in range(max(config.branches_of_classes))
        )
        self.branches: Tensor
        self.register_buffer(
            'branches', torch.tensor(config.branches_of_classes), persistent=False)
        # 1 where the output of a row keeps that of a column away, which was taught later.
        self.rivals: Tensor | None
        is_taught = config.mask_branches or config.class_outputs
        self.register_buffer(
            'rivals', torch.zeros(self.num_outputs, self.num_outputs) if is_taught else None)
        self.track_layer = SpreadBranch(channels, config.embedding_size, self.kernel)

    def forward(self, pyramid: Sequence[Tensor]) -> HeadOutput:
        """
        P3 to P5, [B, channels, H, W] each -> dense predictions of all cells.

        box_deltas are the distances of a box's sides from the cell's center [cells]; class_logits
        are of sigmoids, without a background; upfeatures is the pyramid.
        """
        cells = torch.cat([
            level(feature).flatten(2).mT for level, feature in zip(
                self.levels, pyramid, strict=True
            )
        ], 1).float()
        logits, bins = cells.split((self.num_outputs, 4 * BINS), 2)
        classes = self._of_classes(self._yielding(logits))
        # Softmax over the last dimension takes eight times as long where that has so few numbers.
        shares = bins.mT.unflatten(1, (4, BINS)).contiguous().softmax(2)
        steps = torch.arange(BINS, dtype=bins.dtype, device=bins.device).unsqueeze(1)
        distances = (shares * steps).sum(2).mT
        return HeadOutput(
            distances, classes, torch.ones_like(logits[..., 0]), list(pyramid),
            tuple((int(p.shape[-2]), int(p.shape[-1])) for p in pyramid), 'sigmoid',
            self._rivals_of_classes(),
        )

    def _yielding(self, logits: Tensor) -> Tensor:
        if self.rivals is None:
            return logits
        is_sure = (logits.sigmoid() > RIVAL_SCORE).to(logits.dtype)
        return logits - NOTHING * (is_sure @ self.rivals.to(logits.dtype)).clamp(max=1)

    def _rivals_of_classes(self) -> Tensor | None:
        """Return HeadOutput's: a class yields if all of its outputs do, to any of another."""
        if self.rivals is None:
            return None
        if max(self.outputs) == 1:
            return self.rivals > 0
        rows = torch.stack([part.amax(0) for part in self.rivals.split(self.outputs, 0)])
        return torch.stack([part.amin(1) for part in rows.split(self.outputs, 1)], 1) > 0

    def _of_classes(self, logits: Tensor) -> Tensor:
        if max(self.outputs) == 1:
            return logits
        return torch.cat([part.amax(2, keepdim=True) for part in logits.split(self.outputs, 2)], 2)

    def hidden(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Return what the outputs of all cells are linear in, [B, A, channels]."""
        return torch.cat([
            level[:-1](feature).flatten(2).mT  # type: ignore[index]
            for level, feature in zip(self.levels, pyramid, strict=True)
        ], 1)

    def predicting_boxes(self) -> list[nn.Conv2d]:
        """Return the layers whose outputs are classes and boxes, one a level."""
        return [level[-1] for level in self.levels]  # type: ignore[index]

    def predicting(self) -> list[nn.Module]:
        """Return the layers whose outputs are predictions."""
        branches = (
            *self.levels, self.mask_layer, *self.taught_mask_layers, self.track_layer)
        return [layer for branch in branches for layer in list(branch.children())[-1:]]

    def boxes(self, output: HeadOutput, anchors: Tensor) -> Tensor:
        """Return the boxes [B, A, 4]; anchors: [A, 4], cells as (center, size)."""
        top_left, bottom_right = output.box_deltas.split(2, 2)
        center, size = anchors.split(2, 1)
        return torch.cat((center - top_left * size, center + bottom_right * size), 2)

    def instances(self, output: HeadOutput) -> InstanceOutput:
        """Return mask coefficients and embeddings of all cells [B, A, ...]: many of no use."""
        batch, count = output.box_deltas.shape[:2]
        anchors = torch.arange(count, device=output.box_deltas.device).expand(batch, count)
        return self.instances_at(output, slice(None), anchors)

    def instances_at(
        self, output: HeadOutput, frame: int | slice, anchors: Tensor
    ) -> InstanceOutput:
        """Return them of chosen cells, int64 [N] of one frame, or [B, N] of all."""
        if isinstance(frame, int):
            return self.instances_of(output, torch.full_like(anchors, frame), anchors)
        rows = torch.arange(len(anchors), device=anchors.device).unsqueeze(1).expand_as(anchors)
        found = self.instances_of(output, rows.flatten(), anchors.flatten())
        return InstanceOutput(*(values.unflatten(0, anchors.shape) for values in found))

    def instances_of(
        self, output: HeadOutput, frames: Tensor, anchors: Tensor
    ) -> InstanceOutput:
        """Return them of N cells; frames, anchors: int64 [N], of the batch and of its cells."""
        features = self.regions_of(output, frames, anchors)
        coefficients, embeddings = self.mask_layer(features), self.track_layer(features)
        if self.taught_mask_layers:
            branches = self._branches_of(output, frames, anchors)
            for number, layer in enumerate(self.taught_mask_layers, 1):
                coefficients = torch.where(branches == number, layer(features), coefficients)
        return InstanceOutput(
            coefficients.float(), F.normalize(embeddings.float(), dim=-1)
        )

    def _branches_of(self, output: HeadOutput, frames: Tensor, anchors: Tensor) -> Tensor:
        """Return the mask branches [N, 1] of cells, each by its best class."""
        best = output.class_logits[frames, anchors].argmax(1, keepdim=True)
        return self.branches[best]

    def regions_of(self, output: HeadOutput, frames: Tensor, anchors: Tensor) -> Tensor:
        """Return the features [N, channels, height, width] of their boxes, for the branches."""
        cells = priors(output.level_sizes, ((1.0, 1.0),), anchors.device)
        boxes = self.boxes(output, cells)[frames, anchors]
        return self._spread(output.upfeatures, boxes, frames, anchors)

    def _spread(
        self, pyramid: Sequence[Tensor], boxes: Tensor, frames: Tensor, anchors: Tensor
    ) -> Tensor:
        """
        Return the features [N, channels, height, width] of boxes [N, 4], each of its level.

        frames: int64 [N], of the batch. anchors: int64 [N], which tell the level.
        """
        features = boxes.new_zeros(len(boxes), pyramid[0].shape[1], *self.kernel)
        start = 0
        for level in pyramid:
            end = start + level.shape[2] * level.shape[3]
            here = (anchors >= start) & (anchors < end)
            # A box of another level has no size here: it costs nothing.
            cells = to_cells(boxes, level.shape[2:]) * here.unsqueeze(1)
            rois = torch.cat((frames.to(cells.dtype).unsqueeze(1), cells), 1)
            pooled = roi_align(level.float(), rois, self.kernel, SAMPLES)
            features = torch.where(here.view(-1, 1, 1, 1), pooled, features)
            start = end
        return features.to(pyramid[0].dtype)
