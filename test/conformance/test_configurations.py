# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Every released configuration, with the reference's weights, through three frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stmask_ros.families.stmask.recognition import recognise
from stmask_ros.families.stmask.tracks import TrackerConfig
from stmask_ros.models.conversion import convert
from stmask_ros.tracking.segmenter import VideoSegmenter, load_segmenter

BASES = ('STMask_base', 'STMask_plus_base', 'STMask_plus_base_ada', 'STMask_plus_base_ali',
         'STMask_resnet50', 'STMask_plus_resnet50', 'STMask_plus_resnet50_ada',
         'STMask_plus_resnet50_ali', 'STMask_darknet53')
OTHER_DATA_SETS = ('STMask_plus_resnet50_ali_OVIS', 'STMask_plus_base_ada_YTVIS2021')


def steps_three_frames(segmenter: VideoSegmenter, reference: Any) -> None:
    """Find objects, and keep the identities of some, in the reference's three frames."""
    state, results = segmenter.initial_state(), []
    for t in range(3):
        (result,), (state,) = segmenter.step([reference.inputs.frame(t)], [state])
        results.append(result)
        assert len(result)
        assert np.isfinite(result.boxes).all()
        assert max(mask.area for mask in result.masks) > 100
    assert set(results[0].track_ids) & set(results[2].track_ids)
    assert int(state.memory.tracks.classes.max()) <= len(segmenter.class_names)


@pytest.mark.slow
@pytest.mark.parametrize('name', [*BASES, *OTHER_DATA_SETS])
def test_released_configuration(name: str, reference: Any) -> None:
    """Its keys tell which one it is, and it runs."""
    model = reference.model(name)
    found = recognise(model.network.state_dict())
    assert found.configuration == name.removesuffix('_OVIS').removesuffix('_YTVIS2021')
    threshold = 0.4 if 'base' in name or 'darknet' in name else 0.15
    tracker = TrackerConfig(score_threshold=threshold, retirement='never')
    steps_three_frames(VideoSegmenter(model, torch.device('cpu'), tracker), reference)


def test_official_file_to_segmenter(reference: Any, tmp_path: Path) -> None:
    """A .pth as the official code saves it, converted, loaded by its path, and stepped."""
    model = reference.model('STMask_plus_resnet50_ali_OVIS')
    torch.save(model.network.state_dict(), tmp_path / 'official.pth')
    description = convert(tmp_path / 'official.pth', tmp_path / 'converted.safetensors')
    assert description.configuration == 'STMask_plus_resnet50_ali'
    assert description.classes[0] == 'Person'
    segmenter = load_segmenter(tmp_path / 'converted.yaml', tracker=TrackerConfig(
        score_threshold=0.25, retirement='never'
    ))
    assert len(segmenter.class_names) == 25
    steps_three_frames(segmenter, reference)
