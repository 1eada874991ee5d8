"""Whether weights compute numbers at all: two frames through the network."""

from __future__ import annotations

import torch
from torch import Tensor

from stmask_ros.families.stmask.network import STMask
from stmask_ros.models.checkpoint import check_finite

_STRIDE = 32


def verify(network: STMask) -> None:
    """
    Run two frames through a network in evaluation mode, temporal fusion included.

    Raises ModelError that names the outputs that are not finite.
    """
    with torch.inference_mode():
        check_finite('outputs', _outputs(network))


def _outputs(network: STMask) -> dict[str, Tensor]:
    """Return all predictions for two frames, and what temporal fusion makes of them."""
    predictions = network(_frames(network))
    instances = network.instances(predictions)
    outputs = {
        'box_deltas': predictions.head.box_deltas,
        'class_logits': predictions.head.class_logits,
        'centerness': predictions.head.centerness,
        'prototypes': predictions.prototypes,
    } | instances._asdict()
    if network.TemporalNet is not None:
        first, second = predictions.temporal.frames()
        middle = torch.tensor([[0.25, 0.25, 0.75, 0.75]])
        outputs['propagated_box'], outputs['propagated_coefficients'] = network.propagate(
            first, second, middle, torch.zeros(1, dtype=torch.int64)
        )
    return outputs


def _frames(network: STMask) -> Tensor:
    """Return two normalised frames, float32 [2, 3, H, W]: waves that move."""
    height, width = (
        -(-side // _STRIDE) * _STRIDE
        for side in (network.config.input_height, network.config.input_width)
    )
    rows = torch.arange(height).view(1, 1, -1, 1) / 23
    columns = torch.arange(width).view(1, 1, 1, -1) / 31
    phases = torch.arange(6).view(2, 3, 1, 1)
    return 2 * torch.sin(rows + columns + phases)
