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
from torchvision.ops import roi_align

from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.heads import HeadOutput, InstanceOutput
from stmask_ros.layers.boxes import priors, to_cells
from stmask_ros.layers.csp import SLOPE

LEVELS = 3
# A distance is a mean over 0 to 10 cells.
BINS = 11
SAMPLES = 2
# Of the features, in training: there are few pictures with masks.
FORGOTTEN = 0.2


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
        self.num_classes = config.num_classes
        self.centerness_layer = None
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(SLOPE, inplace=True),
                nn.Conv2d(channels, config.num_classes + 4 * BINS, 1),
            )
            for _ in range(LEVELS)
        )
        self.mask_layer = SpreadBranch(channels, config.num_coefficients, self.kernel)
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
        logits, bins = cells.split((self.num_classes, 4 * BINS), 2)
        distances = bins.unflatten(2, (4, BINS)).softmax(3) @ torch.arange(
            BINS, dtype=bins.dtype, device=bins.device
        )
        return HeadOutput(
            distances, logits, torch.ones_like(logits[..., 0]), list(pyramid),
            tuple((int(p.shape[-2]), int(p.shape[-1])) for p in pyramid), 'sigmoid',
        )

    def predicting(self) -> list[nn.Module]:
        """Return the layers whose outputs are predictions."""
        branches = (*self.levels, self.mask_layer, self.track_layer)
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
        cells = priors(output.level_sizes, ((1.0, 1.0),), anchors.device)
        boxes = self.boxes(output, cells)[frames, anchors]
        features = self._spread(output.upfeatures, boxes, frames, anchors)
        coefficients, embeddings = self.mask_layer(features), self.track_layer(features)
        return InstanceOutput(
            coefficients.float(), F.normalize(embeddings.float(), dim=-1)
        )

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
            pooled = roi_align(level.float(), rois, self.kernel, 1.0, SAMPLES, aligned=True)
            features = torch.where(here.view(-1, 1, 1, 1), pooled, features)
            start = end
        return features.to(pyramid[0].dtype)
