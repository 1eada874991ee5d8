# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Scores of tracks against annotated video: the YouTube-VIS metric and identity metrics."""

from __future__ import annotations

from stmask_ros.evaluation.dataset import (
    Dataset,
    DatasetError,
    PredictedTrack,
    load_dataset,
    load_predictions,
    write_predictions,
)
from stmask_ros.evaluation.identity import IdentityReport, IdentityScores, evaluate_identity
from stmask_ros.evaluation.video_iou import VideoOverlap, measure_overlaps
from stmask_ros.evaluation.vis_metric import VisReport, VisSummary, evaluate_vis

__all__ = [
    'Dataset', 'DatasetError', 'IdentityReport', 'IdentityScores', 'PredictedTrack',
    'VideoOverlap', 'VisReport', 'VisSummary', 'evaluate_identity', 'evaluate_vis',
    'load_dataset', 'load_predictions', 'measure_overlaps', 'write_predictions',
]
