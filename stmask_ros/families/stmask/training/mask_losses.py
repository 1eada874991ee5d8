# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""How far soft masks are from the masks of their objects."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from stmask_ros.families.stmask.masks import assemble, crop_window, mask_logits
from stmask_ros.families.stmask.training.loss_inputs import LossConfig
from stmask_ros.layers.boxes import center_size


def mask_loss(
    prototypes: Tensor, coefficients: Tensor, boxes: Tensor, masks: Tensor,
    activation: Literal['tanh', 'none'] = 'tanh', reference_behaviour: bool = False,
    dice: float = 0.0, least_side: int = 1, outlines: Tensor | None = None,
) -> Tensor:
    """
    Return the binary cross-entropy of each mask in its window, per pixel of its box, [N].

    prototypes: [h, w, P], of one image. coefficients: [N, P], before their activation.
    boxes: [N, 4], corners as fractions of the padded input. masks: [N, H, W], bool.
    dice: this many times the Dice loss in the window is added, but to the released behaviour.
    least_side: of the box whose pixels divide [pixels]. outlines: [N, 4], the boxes that shapes
    lie in; those of the windows without.
    """
    if len(boxes) == 0:
        return coefficients.sum(1)
    if reference_behaviour:
        return _released_loss(prototypes, coefficients, boxes, masks, activation, least_side)
    height, width = masks.shape[1:]
    # Scaled up after the sigmoid, as inference does: upsampled logits would learn edges between
    # the cells that inference cannot show.
    within = boxes if outlines is None else outlines
    logits = mask_logits(prototypes, coefficients, within, activation)
    soft = _enlarge(logits.sigmoid(), masks)
    inside = crop_window(boxes, height, width)
    # Of the few pixels in the windows alone: logarithms are what this costs, and whole maps.
    pixels = inside.flatten().nonzero().squeeze(1)
    rows = pixels // (height * width)
    soft = soft.flatten().index_select(0, pixels)
    truth = masks.flatten().index_select(0, pixels).to(soft.dtype)
    entropy = F.binary_cross_entropy(soft, truth, reduction='none')
    loss = _sums(entropy, rows, boxes) / _pixels(boxes, height, width, least_side)
    if dice:
        loss = loss + dice * _dice_loss(soft, truth, rows, boxes)
    return loss


def draw(rows: Tensor, config: LossConfig) -> Tensor:
    """Return the rows [N, ...], or as many by chance as masks are compared, [<= N, ...]."""
    if config.reference_behaviour or config.max_masks is None or len(rows) <= config.max_masks:
        return rows
    return rows[torch.randperm(len(rows))[:config.max_masks].to(rows.device)]


def enlarged(boxes: Tensor, factor: float) -> Tensor:
    """Return boxes [N, 4] scaled about their centers and clamped to the padded input."""
    center, size = center_size(boxes).split(2, dim=1)
    half = factor * size / 2
    return torch.cat((center - half, center + half), 1).clamp(1e-5, 1)


def _released_loss(
    prototypes: Tensor, coefficients: Tensor, boxes: Tensor, masks: Tensor,
    activation: Literal['tanh', 'none'], least_side: int,
) -> Tensor:
    # Cropped before it is scaled up: what of the object is outside costs -log(0), cut at 100.
    soft = _enlarge(assemble(prototypes, coefficients, boxes, activation), masks)
    entropy = F.binary_cross_entropy(soft, masks.to(soft.dtype), reduction='none')
    height, width = masks.shape[1:]
    return entropy.sum((1, 2)) / _pixels(boxes, height, width, least_side)


def _dice_loss(soft: Tensor, truth: Tensor, rows: Tensor, boxes: Tensor) -> Tensor:
    """
    Return 0 for soft masks equal to the true ones, up to 1, [N] (V-Net, section 3).

    soft, truth: [pixels], of the windows; rows: int64 [pixels], whose of the boxes [N, 4].
    """
    overlap = _sums(soft * truth, rows, boxes)
    areas = _sums(soft.square() + truth, rows, boxes)
    # A pixel more in both: of an empty mask, a few stray pixels cost little.
    return 1 - (2 * overlap + 1) / (areas + 1)


def _sums(values: Tensor, rows: Tensor, boxes: Tensor) -> Tensor:
    """Return the sums [N] of the values [pixels] of each box's window."""
    return values.new_zeros(len(boxes)).index_add(0, rows, values)


def _enlarge(maps: Tensor, masks: Tensor) -> Tensor:
    size = masks.shape[1:]
    larger = F.interpolate(maps[None], size=size, mode='bilinear', align_corners=False)[0]
    return larger.clamp(0, 1)  # rounding may leave this range


def _pixels(boxes: Tensor, height: int, width: int, least_side: int) -> Tensor:
    sides = (boxes[:, 2:] - boxes[:, :2]) * boxes.new_tensor((width, height))
    return sides.clamp(min=least_side).prod(1)
