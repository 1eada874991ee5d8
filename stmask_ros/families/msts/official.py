# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The checkpoints of SeqFormer and MS-STS that are published: facts, nothing is fetched."""

from __future__ import annotations

from stmask_ros.families.family import OfficialCheckpoint

PAGE = 'https://github.com/OmkarThawakar/MSSTS-VIS'
SEQFORMER_PAGE = 'https://github.com/wjf5203/SeqFormer'

# Specification, section 1. The names are ours: a file is recognised by its tensors.
OFFICIAL = (
    OfficialCheckpoint(
        'MSTS_resnet50', 'SeqFormer_resnet50', 'youtube_vis_2019', 50.1, PAGE,
        'loads as SeqFormer'),
    OfficialCheckpoint(
        'MSTS_resnet101', 'SeqFormer_resnet101', 'youtube_vis_2019', 51.1, PAGE,
        'loads as SeqFormer'),
    OfficialCheckpoint(
        'SeqFormer_resnet50', 'SeqFormer_resnet50', 'youtube_vis_2019', 47.4, SEQFORMER_PAGE),
    OfficialCheckpoint(
        'SeqFormer_resnet101', 'SeqFormer_resnet101', 'youtube_vis_2019', 49.0, SEQFORMER_PAGE),
)
