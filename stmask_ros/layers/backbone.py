# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Backbones: image in, feature maps of all stages out; the last three have strides 8, 16, 32."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from stmask_ros.layers.deformable import ModulatedDeformableConv2d


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut; the 3x3 has the stride, or in Caffe's layout the first 1x1."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, deformable: bool = False,
        caffe: bool = False,
    ) -> None:
        """Create the block; it returns 4 * channels."""
        super().__init__()
        first, second = (stride, 1) if caffe else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2: nn.Module
        if deformable:
            self.conv2 = ModulatedDeformableConv2d(channels, channels, second)
        else:
            self.conv2 = nn.Conv2d(channels, channels, 3, second, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != 4 * channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, 4 * channels, 1, stride, bias=False),
                nn.BatchNorm2d(4 * channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, 4 * channels, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        x += shortcut  # in place: the widest maps of the network
        out: Tensor = self.relu(x)
        return out


class ResNet(nn.Module):
    """ResNet-50 or 101, with deformable 3x3s in the last three stages (specification, 3)."""

    # Of the last three stages.
    out_channels = (512, 1024, 2048)

    def __init__(self, blocks: tuple[int, ...], deformable_interval: int = 0) -> None:
        """Create stages of so many blocks."""
        super().__init__()
        self.layers = nn.ModuleList()
        in_channels = 64
        for stage, count in enumerate(blocks):
            channels = 64 * 2**stage
            layer = nn.Sequential()
            for block in range(count):
                deformable = (
                    stage > 0 and deformable_interval > 0 and block % deformable_interval == 0
                )
                stride = 2 if stage > 0 and block == 0 else 1
                layer.append(Bottleneck(in_channels, channels, stride, deformable))
                in_channels = 4 * channels
            self.layers.append(layer)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, H, W] -> C2 to C5, strides 4 to 32."""
        return all_stages(self.layers, self.maxpool(self.relu(self.bn1(self.conv1(x)))))


class _DarkNetBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _dark_conv(2 * channels, channels, 1)
        self.conv2 = _dark_conv(channels, 2 * channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(self.conv1(x))
        return out


class DarkNet53(nn.Module):
    """DarkNet-53 (specification, 3)."""

    # Of the last three stages.
    out_channels = (256, 512, 1024)

    def __init__(self) -> None:
        """Create the five stages."""
        super().__init__()
        self.layers = nn.ModuleList()
        for stage, count in enumerate((1, 2, 8, 8, 4)):
            channels = 32 * 2**stage
            layer = nn.Sequential(_dark_conv(channels, 2 * channels, 3, stride=2))
            layer.extend(_DarkNetBlock(channels) for _ in range(count))
            self.layers.append(layer)
        self._preconv = _dark_conv(3, 32, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, H, W] -> D1 to D5, strides 2 to 32."""
        return all_stages(self.layers, self._preconv(x))


class _InvertedResidual(nn.Module):
    def __init__(self, in_channels: int, out: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = in_channels * expand
        self.expand = _lite_conv(in_channels, hidden, 1) if expand > 1 else nn.Identity()
        self.depthwise = _lite_conv(hidden, hidden, kernel, stride, groups=hidden)
        self.project = nn.Sequential(
            nn.Conv2d(hidden, out, 1, bias=False), nn.BatchNorm2d(out, eps=1e-3)
        )
        self.residual = stride == 1 and in_channels == out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + out if self.residual else out


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 without its classifier: inverted residuals, ReLU6, no squeezing."""

    # Of the last three stages.
    out_channels = (40, 112, 320)

    def __init__(self) -> None:
        """Create the stem and the stages of strides 4, 8, 16 and 32."""
        super().__init__()
        self.stem = _lite_conv(3, 32, 3, 2)
        # (out channels, kernel, stride, expansion, blocks), grouped by stride.
        stages = (
            ((16, 3, 1, 1, 1), (24, 3, 2, 6, 2)),
            ((40, 5, 2, 6, 2),),
            ((80, 3, 2, 6, 3), (112, 5, 1, 6, 3)),
            ((192, 5, 2, 6, 4), (320, 3, 1, 6, 1)),
        )
        self.layers = nn.ModuleList()
        in_channels = 32
        for stage in stages:
            layer = nn.Sequential()
            for out, kernel, stride, expand, count in stage:
                for block in range(count):
                    step = stride if block == 0 else 1
                    layer.append(_InvertedResidual(in_channels, out, kernel, step, expand))
                    in_channels = out
            self.layers.append(layer)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, H, W] -> stages of strides 4 to 32."""
        return all_stages(self.layers, self.stem(x))


def all_stages(layers: Iterable[nn.Module], x: Tensor) -> tuple[Tensor, ...]:
    """Return the maps [B, C, H, W] that layers make one of another, the first of x."""
    outputs = []
    for layer in layers:
        x = layer(x)
        outputs.append(x)
    return tuple(outputs)


def _dark_conv(in_channels: int, out: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out),
        nn.LeakyReLU(0.1, inplace=True),
    )


def _lite_conv(
    in_channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=1e-3),
        nn.ReLU6(inplace=True),
    )
