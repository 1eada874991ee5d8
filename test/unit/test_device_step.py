# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
What a device asks of a step, shown without one: the real networks on tensors without values.

PyTorch's fake tensors know shape, dtype and device. They fail wherever a value would have to be
read, a shape depends on values, or tensors of two devices meet: where a host would wait for the
device, and a recording could not be replayed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stmask_ros.families.stmask import preprocess, temporal_fusion
from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.frame_step import StepInput, StepOutput, compute
from stmask_ros.families.stmask.inference import prepared_for_inference
from stmask_ros.families.stmask.network import STMask
from stmask_ros.families.stmask.preprocess import Extent
from stmask_ros.families.stmask.temporal_fusion import TemporalFeatures
from stmask_ros.families.stmask.tracks import StreamMemory, TrackerConfig, TrackTable
from stmask_ros.layers import boxes, deformable
from stmask_ros.layers.vision_operators import load_package

CUDA = torch.device('cuda')
CONSTANTS = (
    boxes.priors, deformable.taps_of, temporal_fusion._displaced_cells, preprocess._normalisation
)


@contextmanager
def without_values(name: str, dtype: torch.dtype) -> Iterator[STMask]:
    """Let tensors have no values, on any device; give the network as a device runs it."""
    load_package()  # with it, operators know the shapes of what has no values
    with torch.device('meta'):
        network = STMask(STMaskConfig.named(name)).eval()
    network = prepared_for_inference(network, torch.device('meta'), dtype)
    with FakeTensorMode(), torch.inference_mode(), no_constants():
        for module in network.modules():
            for key, value in list(module.named_parameters(recurse=False)):
                fake = torch.empty_strided(
                    value.shape, value.stride(), dtype=value.dtype, device=CUDA
                )
                setattr(module, key, nn.Parameter(fake, requires_grad=False))
        yield network


@contextmanager
def no_constants() -> Iterator[None]:
    """Let constants be made anew here, and again afterwards."""
    for constant in CONSTANTS:
        constant.cache_clear()
    yield
    for constant in CONSTANTS:
        constant.cache_clear()


class OnTheDevice(TorchDispatchMode):
    """Fails for an operation that touches a tensor elsewhere."""

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run the operation and look at all that goes in and comes out."""
        out = operation(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, out)):
            assert not isinstance(leaf, Tensor) or leaf.device.type == 'cuda', operation
        return out


def computed_batch(network: STMask, streams: int, tracks: int, **tracker: Any) -> StepOutput:
    """Compute a step of so many streams, each with tracks, on a device without values."""
    config = network.config
    empty = TrackTable.empty(config, CUDA)
    table = TrackTable(*(
        torch.empty(tracks, *getattr(empty, f.name).shape[1:], dtype=getattr(empty, f.name).dtype,
                    device=CUDA)
        for f in fields(TrackTable)
    ))
    features = TemporalFeatures.none(config, network.dtype, CUDA)
    memories = [StreamMemory(table, features)] * streams
    pixels = torch.empty(
        streams, config.input_height, config.input_width, 3, dtype=torch.uint8, device=CUDA
    )
    inputs = StepInput.padded(pixels, memories, [9] * streams, [5] * streams, network)
    arguments = (network, Extent.of(config), inputs, TrackerConfig(**tracker))
    compute(*arguments)  # makes the constants
    with OnTheDevice():
        return compute(*arguments)


@pytest.mark.parametrize(
    ('name', 'dtype', 'tracker'),
    [
        ('STMask_plus_resnet50_ada', torch.float32, {}),
        ('STMask_plus_resnet50_ada', torch.float16, {}),
        ('STMask_plus_base_ali', torch.bfloat16, {'retirement': 'never'}),
        ('STMask_resnet50', torch.float32, {'matching': 'paper'}),
        ('stmask_lite', torch.float16, {'nms': 'per_class', 'max_detections': 50}),
        ('stmask_lite_distances', torch.float16, {
            'nms': 'best_class', 'class_memory': 0.9, 'search_margin': 1.0}),
    ],
)
def test_nothing_is_read_by_the_host_in_a_step(
    name: str, dtype: torch.dtype, tracker: dict[str, Any]
) -> None:
    with without_values(name, dtype) as network:
        many = computed_batch(network, streams=16, tracks=20, **tracker)
        one = computed_batch(network, streams=1, tracks=33, **tracker)
    # 32 rows for 20 tracks, 64 for 33, and after them all that suppression could leave.
    found = {'per_class': 50}.get(tracker.get('nms', ''), 200)
    assert many.host_values.shape == (15, 16, 32 + found)
    assert one.host_values.shape == (15, 1, 64 + found)
    assert many.masks.shape == many.remembered.masks.shape
    assert many.masks.dtype == many.remembered.boxes.dtype == torch.float32
    assert many.features.correlated.dtype == dtype


def test_a_frame_alone_reads_how_many_rows_it_has() -> None:
    """And so the test above would fail for it."""
    with without_values('STMask_resnet50', torch.float32) as network:
        memory = StreamMemory(TrackTable.empty(network.config, CUDA), None)
        pixels = torch.empty(1, 360, 640, 3, dtype=torch.uint8, device=CUDA)
        with pytest.raises(DynamicOutputShapeException):
            compute(
                network, Extent.of(network.config), StepInput.alone(pixels, memory, 1, 1),
                TrackerConfig(),
            )


def test_a_number_from_the_host_is_noticed() -> None:
    with (
        FakeTensorMode(),
        pytest.raises(AssertionError, match=r'_to_copy|aten\.to|lift_fresh|detach'),
        OnTheDevice(),
    ):
        torch.tensor([1.0, 2.0]).to(CUDA)
