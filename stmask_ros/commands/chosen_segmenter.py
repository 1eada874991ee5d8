# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The segmenter that a command's options ask for, and where it is to look."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace

import torch

from stmask_ros.families.family import TrackerSettings
from stmask_ros.tracking.class_choice import ClassChoice
from stmask_ros.tracking.look import IgnoreMask, Look, Region
from stmask_ros.tracking.segmenter import VideoSegmenter, load_segmenter

_LOGGER = logging.getLogger(__name__)


def tracker_settings(options: argparse.Namespace) -> TrackerSettings:
    """Return what the options set of the tracker."""
    return TrackerSettings(
        score_threshold=options.score_threshold,
        birth_threshold=options.birth_threshold,
        nms_threshold=options.nms_threshold,
        max_missed=options.max_missed,
        retirement=options.retirement,
        capacity=options.capacity,
    )


def load_chosen_segmenter(options: argparse.Namespace, device_index: int = 0) -> VideoSegmenter:
    """
    Load the model; ModelError or ValueError if that cannot be done.

    device_index: which CUDA device, where there are several and none is named.
    """
    if options.torch_threads < 1:
        raise ValueError(f'--torch-threads: expected 1 or more, got {options.torch_threads}')
    torch.set_num_threads(options.torch_threads)
    device = options.device
    if device in ('auto', 'cuda') and torch.cuda.device_count() > 1:
        device = f'cuda:{device_index % torch.cuda.device_count()}'
    segmenter = load_segmenter(
        options.model, device, tracker_settings(options), options.precision, options.engine
    )
    if segmenter.freshly_initialised:
        _LOGGER.warning(
            'the weights of %s are freshly initialised, not trained: masks, classes and scores '
            'mean nothing', segmenter.model_name,
        )
    return segmenter


def look_for_classes(
    segmenter: VideoSegmenter, settings: TrackerSettings, classes: Sequence[str]
) -> None:
    """Let a segmenter track these classes alone, or all; ValueError for unknown ones."""
    by_class = ClassChoice(tuple(classes)).of_model(
        segmenter.class_names, segmenter.tracker.score_threshold)
    segmenter.tracker = segmenter.tracker_options(replace(settings, class_thresholds=by_class))


def chosen_look(options: argparse.Namespace) -> Look:
    """Return where to look; ValueError for what is no region, no mask, or nothing to crop to."""
    if options.crop and not options.region:
        raise ValueError('--crop: expected a region to crop to; give --region too')
    return Look(
        region=Region.parsed(options.region) if options.region else None,
        ignored=(IgnoreMask.read(options.ignore_mask),) if options.ignore_mask else (),
        crop=options.crop,
    )


def untrained_facts(segmenter: VideoSegmenter) -> list[tuple[str, str]]:
    """Return the warning that belongs into a report of untrained weights, or nothing."""
    if not segmenter.freshly_initialised:
        return []
    return [('weights', 'freshly initialised, not trained: the scores say nothing of the method')]
