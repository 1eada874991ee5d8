# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The ResNet whose weights come from Caffe: a block's first 1x1 has its stride."""

from __future__ import annotations

from torch import Tensor, nn

from stmask_ros.layers.backbone import Bottleneck


class CaffeResNet(nn.Module):
    """ResNet with its parameters named as torchvision's: conv1, bn1, layer1.0.conv1, ..."""

    def __init__(self, blocks: tuple[int, int, int, int], width: int = 64) -> None:
        """Create stages of so many blocks; width: channels of the stem, 64 in every published."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = (width, 4 * width, 8 * width, 16 * width)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(inputs[stage], width * 2**stage, count, 1 if stage == 0 else 2)
            for stage, count in enumerate(blocks)
        )

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """Stages 1 to 4, whose outputs are C2 to C5."""
        return self.layer1, self.layer2, self.layer3, self.layer4

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, H, W] -> C2 to C5, strides 4 to 32."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return tuple(outputs)


def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(in_channels, channels, stride, caffe=True)
    return nn.Sequential(
        first, *(Bottleneck(4 * channels, channels, 1) for _ in range(blocks - 1))
    )
