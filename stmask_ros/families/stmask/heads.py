# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The prediction head, shared by all levels of the pyramid (specification, section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmask_ros.families.stmask.calibration import CalibratedConv
from stmask_ros.families.stmask.config import Calibration, STMaskConfig
from stmask_ros.layers.boxes import decode
from stmask_ros.layers.deformable import by_cell
from stmask_ros.layers.rows import pick
from stmask_ros.layers.sparse import Cells, Table, cells_of, convolve, tower_at, window


class HeadOutput(NamedTuple):
    """
    Dense predictions for all A anchors, in the order (level, y, x, kernel).

    In single precision, whatever the weights are, except upfeatures.
    box_deltas: [B, A, 4]. class_logits: [B, A, 1 + classes], 0 is the background.
    centerness: [B, A] in (-1, 1), in the configured order (see STMaskConfig.centerness_order);
    ones for a head without centerness.
    upfeatures: [B, channels, H, W] of each level.
    level_sizes: (height, width) of each level [cells].
    activation: of the logits; 'sigmoid' has none for the background, see DistanceHead.
    rivals: bool [classes, classes], whether a class, by rows, keeps one that was taught later, by
    columns, away from its objects; None if none was taught.
    """

    box_deltas: Tensor
    class_logits: Tensor
    centerness: Tensor
    upfeatures: list[Tensor]
    level_sizes: tuple[tuple[int, int], ...]
    activation: Literal['softmax', 'sigmoid'] = 'softmax'
    rivals: Tensor | None = None

    def probabilities(self, frame: int | slice) -> Tensor:
        """Return those of the foreground [..., A, classes] of a frame or of several."""
        return self._activated(self.class_logits[frame])

    def probabilities_at(self, frame: int | slice, anchors: Tensor) -> Tensor:
        """Return those of anchors, int64 [N] or [B, N] -> [N, classes] or [B, N, classes]."""
        return self._activated(pick(self.class_logits[frame], anchors))

    def _activated(self, logits: Tensor) -> Tensor:
        if self.activation == 'sigmoid':
            return logits.sigmoid()
        return logits.softmax(-1)[..., 1:]


class InstanceOutput(NamedTuple):
    """
    What makes an anchor's box an instance: for all anchors of a batch, or for chosen ones.

    mask_coefficients: [B, A, prototypes] or [N, prototypes], before their activation.
    embeddings: [B, A, embedding size] or [N, embedding size], of length 1.
    """

    mask_coefficients: Tensor
    embeddings: Tensor


class PredictionHead(nn.Module):
    """A shared convolution, one tower a branch, and one kernel an anchor on each (FCA)."""

    def __init__(self, config: STMaskConfig) -> None:
        """Create the layers under the names of the released weights."""
        super().__init__()
        self.centerness_order = config.centerness_order
        self.variances = config.variances
        channels = config.channels
        self.upfeature = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())

        def branch(out: int, calibration: Calibration = 'none') -> nn.ModuleList:
            return nn.ModuleList(
                _last_layer(config, out, kernel, calibration) for kernel in config.kernels
            )

        self.bbox_layer = branch(4)
        self.track_layer = branch(config.embedding_size, config.track_calibration)
        self.mask_layer = branch(config.num_coefficients, config.mask_calibration)
        self.centerness_layer = branch(1) if config.centerness_order != 'none' else None
        self.conf_layer = branch(1 + config.num_classes, config.class_calibration)
        self.track_extra = _tower(channels)
        self.conf_extra = _tower(channels)
        self.bbox_extra = _tower(channels)
        self.mask_extra = _tower(channels)

    def forward(self, pyramid: Sequence[Tensor]) -> HeadOutput:
        """P3 to P7, [B, channels, H, W] each -> dense predictions of all anchors."""
        upfeatures = [self.upfeature(feature) for feature in pyramid]
        boxes, centerness = zip(
            *(self._boxes_and_centerness(self.bbox_extra(x)) for x in upfeatures), strict=True
        )
        box_deltas = torch.cat(boxes, 1)
        logits = _apply(self.conf_layer, [self.conf_extra(x) for x in upfeatures], box_deltas)
        return HeadOutput(
            box_deltas.float(), logits.float(), torch.cat(centerness, 1).float(), upfeatures,
            tuple((int(p.shape[-2]), int(p.shape[-1])) for p in pyramid),
        )

    def _boxes_and_centerness(self, tower: Tensor) -> tuple[Tensor, Tensor]:
        # Of the anchors of one level.
        if self.centerness_layer is None:
            boxes = _by_anchor([layer(tower) for layer in self.bbox_layer])
            return boxes, torch.ones_like(boxes[..., 0])
        pairs = [
            _together(layers, tower)
            for layers in zip(self.bbox_layer, self.centerness_layer, strict=True)
        ]
        boxes = _by_anchor([pair[0] for pair in pairs])
        maps = [pair[1].tanh() for pair in pairs]
        if self.centerness_order == 'legacy':
            # The released code strings the kernels' maps together instead of interleaving them.
            return boxes, torch.cat([m.flatten(1) for m in maps], 1)
        return boxes, _by_anchor(maps).squeeze(-1)

    def predicting(self) -> list[nn.Module]:
        """Return the layers whose outputs are predictions."""
        return [
            self.bbox_layer, self.centerness_layer or nn.ModuleList(), self.conf_layer,
            self.mask_layer, self.track_layer,
        ]

    def boxes(self, output: HeadOutput, anchors: Tensor) -> Tensor:
        """Return the boxes [B, A, 4]; anchors: [A, 4], see boxes.priors."""
        return decode(output.box_deltas, anchors, self.variances)

    def instances(self, output: HeadOutput) -> InstanceOutput:
        """Return mask coefficients and embeddings of all anchors [B, A, ...]."""
        coefficients = self._dense(self.mask_layer, self.mask_extra, output)
        embeddings = self._dense(self.track_layer, self.track_extra, output)
        return InstanceOutput(coefficients, F.normalize(embeddings, dim=-1))

    def instances_at(
        self, output: HeadOutput, frame: int | slice, anchors: Tensor
    ) -> InstanceOutput:
        """
        Return them of chosen anchors, int64 [N] of one frame, or [B, N] of all.

        The values are those of instances(); of one frame, only the cells that they depend on are
        computed.
        """
        if isinstance(frame, slice):
            # The surroundings of as many anchors as there may be are more cells than there are.
            dense = self.instances(output)
            return InstanceOutput(
                pick(dense.mask_coefficients, anchors), pick(dense.embeddings, anchors)
            )
        one = HeadOutput(
            output.box_deltas[frame:frame + 1], output.class_logits[frame:frame + 1],
            output.centerness[frame:frame + 1], [u[frame:frame + 1] for u in output.upfeatures],
            output.level_sizes,
        )
        cells = cells_of(output.level_sizes, anchors.device)
        table = Table.of([u[0] for u in one.upfeatures], cells)
        coefficients = self._sparse(self.mask_layer, self.mask_extra, one, anchors, table, cells)
        embeddings = self._sparse(self.track_layer, self.track_extra, one, anchors, table, cells)
        return InstanceOutput(coefficients, F.normalize(embeddings, dim=-1))

    def _dense(
        self, layers: nn.ModuleList, tower: nn.Sequential, output: HeadOutput
    ) -> Tensor:
        towers = [tower(x) for x in output.upfeatures]
        return _apply(layers, towers, output.box_deltas.to(towers[0].dtype)).float()

    def _sparse(
        self, layers: nn.ModuleList, tower: nn.Sequential, output: HeadOutput, anchors: Tensor,
        table: Table, cells: Cells,
    ) -> Tensor:
        # table: of the upfeatures of output, which is of one frame.
        plain = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
        if len(plain) < len(layers):  # a calibrated kernel may look anywhere
            return self._dense(layers, tower, output)[0, anchors]
        at = cells.anchor_cells[anchors // len(layers)]
        chosen = [(anchors % len(layers) == i).nonzero().squeeze(1) for i in range(len(layers))]
        seen = [
            window(at[rows], cells.width, (layer.weight.shape[2], layer.weight.shape[3])).flatten()
            for layer, rows in zip(plain, chosen, strict=True)
        ]
        table = tower_at(tower, table, torch.cat(seen), cells)
        values = table.values.new_empty(len(anchors), plain[0].out_channels)
        for layer, rows in zip(plain, chosen, strict=True):
            values[rows] = convolve(table, at[rows], cells, layer)
        return values.float()


def _apply(layers: nn.ModuleList, towers: Sequence[Tensor], box_deltas: Tensor) -> Tensor:
    # A branch's kernels on its towers of all levels -> [B, A, out]; box_deltas: [B, A, 4].
    each = box_deltas.unflatten(1, (-1, len(layers))).unbind(2)
    cells = [
        layer(towers, deltas) if isinstance(layer, CalibratedConv)
        else by_cell([layer(tower) for tower in towers])
        for layer, deltas in zip(layers, each, strict=True)
    ]
    return torch.stack(cells, 2).flatten(1, 2)


def _together(layers: Sequence[nn.Module], x: Tensor) -> list[Tensor]:
    # What each of several convolutions of one kernel makes of x, as one: the few channels of each
    # would cost as much as those of all.
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    weight = torch.cat([layer.weight for layer in convolutions])
    bias = torch.cat([layer.bias for layer in convolutions if layer.bias is not None])
    maps = F.conv2d(x, weight, bias, padding='same')
    return list(maps.split([layer.out_channels for layer in convolutions], 1))


def _by_anchor(maps: Sequence[Tensor]) -> Tensor:
    # kernels x [B, C, H, W] -> [B, H * W * kernels, C], the kernel running fastest
    return torch.stack([by_cell([m]) for m in maps], 2).flatten(1, 2)


def _tower(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True),
    )


def _last_layer(
    config: STMaskConfig, out: int, kernel: tuple[int, int], calibration: Calibration
) -> nn.Module:
    if calibration != 'none':
        return CalibratedConv(
            config.channels, out, kernel, calibration == 'ada', config.calibration_layers,
            config.variances,
        )
    # A kernel of even side reaches one cell further right and down than left and up.
    return nn.Conv2d(config.channels, out, kernel, padding='same')
