# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The network of a frame as programs of an engine: one a size, and images one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from stmask_ros.families.family import Compile, Precision
from stmask_ros.families.frames import Size
from stmask_ros.layers.program import Program

# Sizes of images whose programs are kept in memory; those of others are loaded again.
_SIZES = 8


class FramePrograms:
    """Programs of a network whose input is as large as the image makes it."""

    def __init__(
        self, module_of: Callable[[Size], nn.Module], size: Size, compiled: Compile,
        precision: Precision,
    ) -> None:
        """
        Prepare for a first size; the program of another is made when its first image comes.

        module_of: returns, for a (height, width) of the input [pixel], a module on the CPU in
        float32 from images [1, 3, height, width] to a tuple of tensors.
        """
        self._module_of = module_of
        self._compiled = compiled
        self._precision = precision
        self._program = lru_cache(_SIZES)(self._made)
        self._program(size)

    def __call__(self, images: Tensor) -> Sequence[Tensor]:
        """Return the module's tensors of images [B, 3, height, width], with B in place of 1."""
        program = self._program((int(images.shape[2]), int(images.shape[3])))
        return one_by_one(program, images.float())

    @torch.inference_mode(False)  # a step may ask for it, and nothing is exported in that mode
    def _made(self, size: Size) -> Program:
        height, width = size
        return self._compiled(
            f'frame-{width}x{height}', self._module_of(size), torch.zeros(1, 3, *size),
            self._precision,
        )


def one_by_one(program: Program, images: Tensor) -> Sequence[Tensor]:
    """Return the tensors of a batch from a program of single images."""
    frames = [program(image) for image in images.split(1)]
    if len(frames) == 1:
        return frames[0]
    return [torch.cat(parts) for parts in zip(*frames, strict=True)]
