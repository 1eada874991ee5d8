# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a device asks of a step of SipMask and SG-Net, shown without one: see test_device_step."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any

import pytest
import torch
from test_device_step import CUDA, OnTheDevice
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from stmask_ros.families.all import family_named
from stmask_ros.families.sgnet import granularity
from stmask_ros.families.sipmask import detection, preprocess
from stmask_ros.families.sipmask.frame_step import StepInput, StepOutput, compute
from stmask_ros.families.sipmask.inference import prepared_for_inference
from stmask_ros.families.sipmask.tracks import SipMaskTracker, TrackTable
from stmask_ros.layers import deformable
from stmask_ros.layers.vision_operators import load_package

CONSTANTS = (
    detection.locations, preprocess._mean, granularity.levels_of_cells, deformable.taps_of
)


@pytest.fixture(autouse=True)
def _no_constants() -> Any:
    """Let constants be made anew here, and again afterwards."""
    for constant in CONSTANTS:
        constant.cache_clear()
    yield
    for constant in CONSTANTS:
        constant.cache_clear()


def computed(
    family: str, name: str, options: dict[str, Any], dtype: torch.dtype, streams: int,
    tracker: SipMaskTracker, alone: bool = False,
) -> StepOutput:
    """Compute a step on a device without values; twice, as the first makes the constants."""
    load_package()  # with it, operators know the shapes of what has no values
    config = family_named(family).configuration(name, 40, options)
    with torch.device('meta'):
        network = family_named(family).build(config).eval()
    network = prepared_for_inference(network, torch.device('meta'), dtype)
    with FakeTensorMode(), torch.inference_mode():
        for module in network.modules():
            for key, value in list(module.named_parameters(recurse=False)):
                fake = torch.empty_strided(
                    value.shape, value.stride(), dtype=value.dtype, device=CUDA
                )
                setattr(module, key, nn.Parameter(fake, requires_grad=False))
        inputs = step_input(config, streams, alone)
        step = partial(compute, network, inputs, tracker)
        if alone:
            return step()
        step()
        with OnTheDevice():
            return step()


def step_input(config: Any, streams: int, alone: bool) -> StepInput:
    rows = () if alone else (streams,)
    empty = TrackTable.empty(config, CUDA)
    tracks = TrackTable(*(
        torch.empty(*rows, 32, *getattr(empty, f.name).shape[1:],
                    dtype=getattr(empty, f.name).dtype, device=CUDA)
        for f in fields(TrackTable)
    ))
    column = torch.empty(streams, 1, dtype=torch.int64, device=CUDA)
    return StepInput(
        torch.empty(streams, 384, 640, 3, dtype=torch.uint8, device=CUDA),
        torch.empty(streams, 2, dtype=torch.int64, device=CUDA),
        torch.empty(streams, device=CUDA), torch.empty(streams, 0, 0, 0, device=CUDA), tracks,
        1 if alone else column, 1 if alone else column,
    )


@pytest.mark.parametrize(('family', 'name', 'options', 'dtype', 'tracker'), [
    ('sipmask', 'sipmask_r50_caffe_fpn_gn_1x', {}, torch.float32, {}),
    ('sipmask', 'sipmask_r50_caffe_fpn_gn_1x', {}, torch.float16, {'retirement': 'never'}),
    ('sgnet', 'sgnet_r50_caffe_fpn_gn_1x', {'motion': True}, torch.bfloat16, {}),
    ('sgnet', 'sgnet_r50_caffe_fpn_gn_1x', {'granularity': 'reference'}, torch.float32,
     {'shown_class': 'detected', 'max_detections': 100}),
])
def test_nothing_is_read_by_the_host_in_a_step(
    family: str, name: str, options: dict[str, Any], dtype: torch.dtype, tracker: dict[str, Any]
) -> None:
    rules = SipMaskTracker(**tracker)
    output = computed(family, name, options, dtype, 4, rules)
    assert output.host_values.shape == (14, 4, 32 + rules.max_detections)
    assert output.soft.shape == (4, rules.max_detections, 192, 320)
    assert output.soft.dtype == torch.float32


def test_a_frame_alone_reads_how_many_rows_it_has() -> None:
    """And so the test above would fail for it."""
    with pytest.raises((DynamicOutputShapeException, DataDependentOutputException)):
        computed('sipmask', 'sipmask_r50_caffe_fpn_gn_1x', {}, torch.float32, 1,
                 SipMaskTracker(), alone=True)
