# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
One frame's part of a step: what was found, what was carried, and how the two join.

`frame` is the number of a frame of the batch, whose tables are as long as they need, or a slice
for a batch, whose tables have one length: see rows.Table. With a slice nothing in here waits for
the device or depends on the values, so that a device can record it once and replay it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from stmask_ros.families.class_thresholds import lowest_scores
from stmask_ros.families.stmask.association import Association, associate
from stmask_ros.families.stmask.detection import Detections, suppress
from stmask_ros.families.stmask.masks import assemble
from stmask_ros.families.stmask.network import Predictions, STMask
from stmask_ros.families.stmask.temporal_fusion import TemporalFeatures
from stmask_ros.families.stmask.tracks import TrackerConfig, TrackTable
from stmask_ros.layers.boxes import center_size, decode

Frame = int | slice


def follow(
    network: STMask,
    now: Predictions,
    frame: Frame,
    previous: TemporalFeatures | None,
    tracks: TrackTable,
    next_id: int | Tensor,
    stamp: int | Tensor,
    config: TrackerConfig,
) -> Association:
    """
    Return the tracks after this frame.

    previous: the features of the frame before; may be None while there are no tracks.
    next_id, stamp: int64 [B, 1] for a slice.
    """
    carried = _carried(network, now, frame, previous, tracks.aged(), config)
    found = _detected(network, now, frame, config)
    masks = _masks(network, now, frame, found.coefficients, found.boxes)
    fused = network.TemporalNet is not None
    return associate(carried, found, masks, next_id, stamp, config, fused)


def _carried(
    network: STMask, now: Predictions, frame: Frame, previous: TemporalFeatures | None,
    tracks: TrackTable, config: TrackerConfig,
) -> TrackTable:
    # The tracks carried to the current frame (specification, section 10).
    if network.TemporalNet is None or previous is None or len(tracks) == 0:
        return tracks
    boxes = tracks.boxes.flatten(0, -2)
    frames = torch.arange(len(boxes), device=boxes.device) // len(tracks)
    deltas, changes = network.propagate(previous, now.temporal, boxes, frames)
    boxes = decode(
        deltas.view_as(tracks.boxes), center_size(tracks.boxes), network.config.variances
    )
    coefficients = tracks.coefficients + changes.view_as(tracks.coefficients)
    return replace(
        tracks,
        boxes=boxes,
        coefficients=coefficients,
        masks=_masks(network, now, frame, coefficients, boxes),
        scores=tracks.scores * config.score_decay,
    )


def _detected(
    network: STMask, now: Predictions, frame: Frame, config: TrackerConfig
) -> Detections:
    survivors = suppress(now, frame, config.score_threshold, config.nms_threshold, config.nms)
    if config.retirement != 'never':
        survivors = survivors.only(survivors.valid & (survivors.scores > config.score_threshold))
    if config.class_thresholds:
        lowest = lowest_scores(config.class_thresholds, survivors.classes)
        survivors = survivors.only(survivors.valid & (survivors.scores > lowest))
    if config.max_detections is not None:
        survivors = survivors.first(config.max_detections)
    class_scores = now.head.probabilities_at(frame, survivors.anchors)
    instances = network.instances_at(now, frame, survivors.anchors)
    return Detections.of(survivors, class_scores, instances)


def _masks(
    network: STMask, now: Predictions, frame: Frame, coefficients: Tensor, boxes: Tensor
) -> Tensor:
    return assemble(
        now.prototypes[frame], coefficients, boxes, network.config.mask_activation
    )
