# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""SG-Net's motion head keeps identities that boxes and looks alone would swap."""

from __future__ import annotations

import pytest
import torch

from stmask_ros.families.sgnet.motion import MotionHead, former_centers, motion_loss, motion_scores
from stmask_ros.families.sgnet.training.step import motion_losses
from stmask_ros.families.sipmask.config import SipMaskConfig
from stmask_ros.families.sipmask.detection import Survivors
from stmask_ros.families.sipmask.follow import follow
from stmask_ros.families.sipmask.tracks import SipMaskTracker, TrackTable
from stmask_ros.families.sipmask.training.targets import FrameTargets

STEP = 24.0
ONE = torch.tensor(1.0)


def chasing(frame: int) -> Survivors:
    """Two equal objects; each is where the other one was in the frame before."""
    corners = torch.tensor([[STEP * (frame + 1), 20.0], [STEP * frame, 20.0]])
    classes = torch.ones(2, dtype=torch.int64)
    return Survivors(torch.cat((corners, corners + 20), 1), torch.tensor([0.9, 0.8]), classes,
                     classes)


@pytest.mark.parametrize(('weight', 'kept'), [(0.0, False), (3.0, True)])
def test_look_alikes_that_chase_each_other(weight: float, kept: bool) -> None:
    """With the truth as displacement: what a head would have to say."""
    tracks, next_id = TrackTable.empty(SipMaskConfig(), torch.device('cpu')), 1
    rules, ids = SipMaskTracker(motion_weight=weight), []
    displacement = torch.zeros(2, 16, 40)
    displacement[0] = -STEP / 8
    for frame in range(4):
        found = chasing(frame)
        moved = motion_scores(former_centers(displacement, found.boxes, ONE), tracks)
        after = follow(tracks, found, torch.ones(2, 512) / 50, next_id, frame, rules, moved)
        tracks, next_id = after.tracks, int(after.tracks.ids.max()) + 1
        shown = {int(owner): int(i) for owner, i in zip(after.owners, tracks.ids, strict=True)}
        ids.append((shown.get(0), shown.get(1)))
    assert (len(set(ids)) == 1) == kept


def test_a_track_seen_longer_ago_may_have_moved_further() -> None:
    tracks = TrackTable.born(chasing(0), torch.zeros(2, 512), torch.tensor([1, 2]), 0, 40)
    centers = torch.tensor([[STEP + 30.0, 30.0]])
    near = motion_scores(centers, tracks)
    assert near.shape == (1, 2)
    assert (motion_scores(centers, tracks.aged()) > near).all()
    assert (near <= 1).all()


@pytest.mark.parametrize(('reads', 'channels'), [('features', 67), ('centerness', 3)])
def test_the_head_reads_two_frames(reads: str, channels: int) -> None:
    head = MotionHead(16, reads)
    assert head.channels == channels
    features = torch.randn(2, channels, 12, 16)
    assert head(features, features.flip(0)).shape == (2, 2, 12, 16)


def test_its_loss_is_zero_where_it_is_right() -> None:
    """Objects that are not in both frames count for nothing."""
    sizes = ((12, 16), (6, 8), (3, 4), (2, 2), (1, 1))
    boxes = torch.tensor([[10.0, 10, 50, 50], [60, 40, 90, 80]])
    target = FrameTargets(
        boxes, torch.tensor([1, 1]), torch.zeros(2, 96, 128, dtype=torch.bool),
        boxes[:1] + 16, torch.tensor([1, 0]),
    )
    right = torch.full((1, 2, 12, 16), 2.0, requires_grad=True)
    loss = motion_losses(right, [target], sizes)
    loss.backward()
    assert loss == 0
    assert motion_losses(right + 1, [target], sizes).item() == pytest.approx(0.5)
    assert motion_loss(right[0].detach(), torch.tensor([0]), torch.tensor([[16.0, 16]])) == 0
