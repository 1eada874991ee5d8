# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""An STMask whose frames another program computes: everything after them stays PyTorch's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stmask_ros.families.family import Compile, Precision
from stmask_ros.families.frame_programs import one_by_one
from stmask_ros.families.stmask.heads import HeadOutput
from stmask_ros.families.stmask.network import Predictions, STMask
from stmask_ros.layers.inference import folded
from stmask_ros.layers.program import Program


class _Frame(nn.Module):
    # Images -> box deltas, class logits, centerness, prototypes and all upfeatures, as in
    # Predictions; then the level that temporal fusion looks at, if it is not an upfeature: not
    # every engine gives one map twice.

    def __init__(self, network: STMask) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        now = self.network(images)
        head = now.head
        number = self.network.config.correlation_level
        level = now.pyramid[number]
        return (
            head.box_deltas, head.class_logits, head.centerness, now.prototypes,
            *head.upfeatures, *([] if level is head.upfeatures[number] else [level]),
        )


class EngineSTMask(STMask):
    """The same predictions, but for the intermediate maps, which are empty."""

    def __init__(self, network: STMask, like: HeadOutput, frame: Program) -> None:
        """
        Keep what comes after the frame.

        network: as prepared for inference. like: what its head makes of one image. frame:
        computes the network of one image.
        """
        nn.Module.__init__(self)
        self.config = network.config
        self.prediction_layers = network.prediction_layers
        self.TemporalNet = network.TemporalNet
        if like.rivals is not None:
            device = next(self.prediction_layers.parameters()).device
            like = like._replace(rivals=like.rivals.to(device))
        self._like = like
        self._frame = frame

    def forward(self, images: Tensor) -> Predictions:
        """As STMask; images of a batch one by one."""
        boxes, logits, centerness, prototypes, *others = one_by_one(self._frame, images)
        upfeatures = others[:len(self._like.upfeatures)]
        level = (others[len(upfeatures):] or upfeatures[self.config.correlation_level:])[0]
        head = self._like._replace(
            box_deltas=boxes, class_logits=logits, centerness=centerness,
            upfeatures=[u.to(self.dtype) for u in upfeatures],
        )
        return self.predictions((), [], head, prototypes, level.to(self.dtype))


def with_engine(
    prepared: STMask, network: STMask, compiled: Compile, precision: Precision
) -> STMask:
    """
    Return the prepared network with its frames computed by an engine.

    network: that it was prepared from. compiled: makes programs of modules. precision: of the
    engine.
    """
    plain = folded(network)
    height, width = (
        -(-size // 32) * 32 for size in (network.config.input_height, network.config.input_width)
    )
    images = torch.zeros(1, 3, height, width)
    with torch.inference_mode(False), torch.no_grad():
        like = plain(images).head
    return EngineSTMask(prepared, like, compiled('frame', _Frame(plain), images, precision))
