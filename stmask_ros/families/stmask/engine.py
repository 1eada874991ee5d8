# SPDX-License-Identifier: Apache-2.0
"""An STMask whose frames another program computes: everything after them stays PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stmask_ros.families.family import Compile, Precision
from stmask_ros.families.stmask.heads import HeadOutput
from stmask_ros.families.stmask.inference import folded
from stmask_ros.families.stmask.network import Predictions, STMask
from stmask_ros.layers.program import Program


class _First(nn.Module):
    # Images -> the map of the backbone's first stage.

    def __init__(self, network: STMask) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.network.first(images),)


class _Following(nn.Module):
    # That map -> box deltas, class logits, centerness, prototypes and all upfeatures, as in
    # Predictions; then the level that temporal fusion looks at, if it is not an upfeature: not
    # every engine gives one map twice.

    def __init__(self, network: STMask) -> None:
        super().__init__()
        self.network = network

    def forward(self, first: Tensor) -> tuple[Tensor, ...]:
        now = self.network.after_first(first)
        head = now.head
        number = self.network.config.correlation_level
        level = now.pyramid[number]
        return (
            head.box_deltas, head.class_logits, head.centerness, now.prototypes,
            *head.upfeatures, *([] if level is head.upfeatures[number] else [level]),
        )


class EngineSTMask(STMask):
    """The same predictions, but for the intermediate maps, which are empty."""

    def __init__(
        self, network: STMask, like: HeadOutput, first: Program, following: Program
    ) -> None:
        """
        Keep what comes after the frame.

        network: as prepared for inference. like: what its head makes of one image. first,
        following: compute these parts of the network, for one image.
        """
        nn.Module.__init__(self)
        self.config = network.config
        self.prediction_layers = network.prediction_layers
        self.TemporalNet = network.TemporalNet
        self._like = like
        self._first = first
        self._following = following

    def forward(self, images: Tensor) -> Predictions:
        """As STMask; images of a batch one by one."""
        frames = [self._following(*self._first(image)) for image in images.split(1)]
        maps: Sequence[Tensor] = frames[0]
        if len(frames) > 1:
            maps = [torch.cat(parts) for parts in zip(*frames, strict=True)]
        boxes, logits, centerness, prototypes, *others = maps
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
    engine, but for the backbone's first stage, see prepared_for_inference().
    """
    plain = folded(network)
    height, width = (
        -(-size // 32) * 32 for size in (network.config.input_height, network.config.input_width)
    )
    images = torch.zeros(1, 3, height, width)
    with torch.inference_mode(False), torch.no_grad():
        first = plain.first(images)
        like = plain.after_first(first).head
    return EngineSTMask(
        prepared,
        like,
        compiled('first', _First(plain), images, 'float32'),
        compiled('following', _Following(plain), first, precision),
    )
