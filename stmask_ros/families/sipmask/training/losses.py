# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What training minimises: a pure function of dense predictions and targets (section 10)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from stmask_ros.families.sipmask.detection import Sizes, decode, locations
from stmask_ros.families.sipmask.masks import STRIDE, assemble, sub_regions
from stmask_ros.families.sipmask.network import embedding_cells
from stmask_ros.families.sipmask.training.targets import FrameTargets, Positives, assign

# Of predicted boxes, at half resolution; smaller ones have no mask to learn [pixel].
SMALLEST_AREA = 1.0
# How far the boxes of the reference image are moved, in parts of their size.
JITTER = 0.05

# Of all P positives of a batch, cells int64 [P] of frames int64 [P], with boxes [P, 4] [pixel of
# the prototypes] -> coefficients [P, S * prototypes] and grids int64 [P], see assemble().
ChosenCoefficients = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class DensePredictions:
    """
    What the network says of a batch of images, and of their reference images.

    class_logits: [B, N, classes]. distances: [B, N, 4] [pixel]. centerness: logits [B, N]. Of all
    cells, in the order (level, y, x) of level_sizes. coefficients: see ChosenCoefficients.
    prototypes: [B, prototypes, H / 2, W / 2]. tracking, reference_tracking: tracking maps
    [B, size, H / 8, W / 8] of the images and of their reference images.
    """

    class_logits: Tensor
    distances: Tensor
    centerness: Tensor
    coefficients: ChosenCoefficients
    prototypes: Tensor
    tracking: Tensor
    reference_tracking: Tensor
    level_sizes: Sizes


@dataclass(frozen=True)
class LossConfig:
    """
    The options of the loss.

    max_masks: cells of an image whose masks are compared, drawn by chance where there are more;
    None for all, as published.
    """

    max_masks: int | None = 100

    def __post_init__(self) -> None:
        """Raise ValueError for a value out of range."""
        if self.max_masks is not None and self.max_masks < 1:
            raise ValueError(f'max_masks: expected 1 or more, got {self.max_masks}')


@dataclass(frozen=True)
class SipMaskLosses:
    """
    The terms, scalars, all of weight 1.

    classification: focal. box: -ln IoU. centerness: cross-entropy. mask: cross-entropy in the
    sub-regions, weighted by how well box and class are aligned. match: of embeddings to the
    objects of the reference image.
    """

    classification: Tensor
    box: Tensor
    centerness: Tensor
    mask: Tensor
    match: Tensor

    def terms(self) -> dict[str, Tensor]:
        """Return the terms by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def total(self) -> Tensor:
        """The sum of the terms."""
        return torch.stack(list(self.terms().values())).sum()


def sipmask_losses(
    predictions: DensePredictions, targets: Sequence[FrameTargets],
    jitter: Sequence[Tensor], config: LossConfig | None = None,
) -> SipMaskLosses:
    """
    Return all losses of a batch.

    targets, jitter: one an image; jitter: [M, 4], uniform in [-JITTER, JITTER], of the reference
    boxes' centers and sizes, see drawn_jitter(). Terms that have nothing to learn from are zero,
    and still part of the graph.
    """
    config = config or LossConfig()
    assignments = [assign(target.boxes, predictions.level_sizes) for target in targets]
    positives = Positives.of(targets, assignments)
    rows = (positives.frames, positives.cells)
    points = locations(predictions.level_sizes, predictions.distances.device)
    boxes = decode(points[positives.cells], predictions.distances[rows])
    iou = pixel_iou_of_pairs(boxes, positives.boxes)
    weight = positives.centerness
    logits = predictions.centerness[rows]
    entropy = F.binary_cross_entropy_with_logits(logits, weight, reduction='sum')
    mask, match = _of_images(predictions, positives, boxes.detach(), targets, jitter, config)
    return SipMaskLosses(
        classification_loss(predictions.class_logits, positives),
        # Part of the graph even without positives.
        (weight * -iou.clamp(min=1e-6).log()).sum() / weight.sum().clamp(min=1e-12)
        + predictions.distances.sum() * 0,
        entropy / max(len(weight), 1) + predictions.centerness.sum() * 0,
        mask, match,
    )


def classification_loss(logits: Tensor, positives: Positives) -> Tensor:
    """Return the focal loss of all cells [B, N, classes], by positives and images."""
    truth = torch.zeros_like(logits)
    truth[positives.frames, positives.cells, positives.labels - 1] = 1
    loss: Tensor = sigmoid_focal_loss(logits, truth, alpha=0.25, gamma=2, reduction='sum')
    return loss / (len(positives.cells) + len(logits))


def pixel_iou_of_pairs(a: Tensor, b: Tensor) -> Tensor:
    """Return the IoU [P] of boxes [P, 4] and [P, 4], whose last pixels count."""
    top_left, bottom_right = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    intersection = (bottom_right - top_left + 1).clamp(min=0).prod(1)
    area_a, area_b = ((box[:, 2:] - box[:, :2] + 1).prod(1) for box in (a, b))
    return intersection / (area_a + area_b - intersection)


def _of_images(
    predictions: DensePredictions, positives: Positives, boxes: Tensor,
    targets: Sequence[FrameTargets], jitter: Sequence[Tensor], config: LossConfig,
) -> tuple[Tensor, Tensor]:
    # The losses of masks and of matches, means over the images.
    half = boxes / STRIDE
    large = (half[:, 2:] - half[:, :2]).prod(1) > SMALLEST_AREA
    # Part of the graph even without positives.
    mask = predictions.prototypes.sum() * 0
    match = (predictions.tracking.sum() + predictions.reference_tracking.sum()) * 0
    coefficients, grids = predictions.coefficients(positives.frames, positives.cells, half)
    mask = mask + coefficients.sum() * 0
    for frame, target in enumerate(targets):
        rows = (large & (positives.frames == frame)).nonzero().squeeze(1)
        if len(rows) == 0:
            continue
        drawn = drawn_rows(rows, config.max_masks)
        mask = mask + mask_loss(
            predictions, frame, positives.rows(drawn), half[drawn], coefficients[drawn],
            grids[drawn], target.masks,
        )
        match = match + match_loss(
            predictions, frame, positives.matches[rows], boxes[rows],
            jittered_centers(target.reference_boxes, jitter[frame]),
        )
    return mask / len(targets), match / len(targets)


def mask_loss(
    predictions: DensePredictions, frame: int, positives: Positives, boxes: Tensor,
    coefficients: Tensor, grids: Tensor, masks: Tensor,
) -> Tensor:
    """
    Return the cross-entropy of the masks of an image's positives, per pixel of their boxes.

    boxes: [P, 4], predicted [pixel of the prototypes]. coefficients, grids: see assemble().
    masks: bool [N, H, W], of the objects. Each weighs as much as its class and box are right
    (mask alignment weighting).
    """
    prototypes = predictions.prototypes[frame]
    soft = assemble(prototypes, coefficients, boxes, grids)
    truth = F.interpolate(masks[None].float(), size=prototypes.shape[1:], mode='bilinear')[0]
    _, inside = sub_regions(boxes, grids, *prototypes.shape[1:])
    truth = (truth > 0.5)[positives.objects] & inside
    entropy = F.binary_cross_entropy(soft, truth.float(), reduction='none').sum((1, 2))
    size = boxes[:, 2:] - boxes[:, :2]
    scores = predictions.class_logits[frame, positives.cells, positives.labels - 1].sigmoid()
    quality = (scores * pixel_iou_of_pairs(positives.boxes / STRIDE, boxes)).detach()
    # The weights sum up to the number of masks, whose mean is taken.
    weight = quality / (quality.sum() + 1e-4)
    return (weight * entropy / size[:, 0] / size[:, 1]).sum()


def match_loss(
    predictions: DensePredictions, frame: int, matches: Tensor, boxes: Tensor, centers: Tensor
) -> Tensor:
    """
    Return how unsure an image's positives are which object of the reference image they are.

    matches: int64 [P], 1 + the row of the object, 0 for none. boxes: [P, 4], predicted [pixel].
    centers: [M, 2], of the objects there [pixel].
    """
    ours = _embeddings(predictions.tracking[frame], boxes)
    theirs = _embeddings(predictions.reference_tracking[frame], torch.cat((centers, centers), 1))
    return F.cross_entropy(F.pad(ours @ theirs.T, (1, 0)), matches)


def _embeddings(tracking: Tensor, boxes: Tensor) -> Tensor:
    # A center outside of the map [size, h, w] takes the nearest cell.
    size = (int(tracking.shape[1]), int(tracking.shape[2]))
    cells = embedding_cells(boxes, boxes.new_ones(()), size)
    return tracking.flatten(1)[:, cells].T


def jittered_centers(boxes: Tensor, jitter: Tensor) -> Tensor:
    """Return the centers [M, 2] of boxes [M, 4], moved by jitter [M, 4] in parts of their size."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2 + jitter[:, :2] * (boxes[:, 2:] - boxes[:, :2])


def drawn_jitter(targets: Sequence[FrameTargets]) -> list[Tensor]:
    """Return uniform numbers in [-JITTER, JITTER] for the reference boxes of each image."""
    return [
        (2 * torch.rand(target.reference_boxes.shape) - 1).to(target.reference_boxes) * JITTER
        for target in targets
    ]


def drawn_rows(rows: Tensor, most: int | None) -> Tensor:
    """Return the rows [P], or as many by chance, in their order."""
    if most is None or len(rows) <= most:
        return rows
    return rows[torch.randperm(len(rows))[:most].sort().values.to(rows.device)]
