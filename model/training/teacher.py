# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Write NanoDet-Plus, a larger detector of COCO's classes, as a teacher: docs/training.md."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

SIZE = 416
STAGES, WIDTH = (24, 176, 352, 704), 128


class Teacher(nn.Module):
    """From an image, float32 BGR [1, 3, SIZE, SIZE], to scores and boxes as training has them."""

    def __init__(self, code: ModuleType, weights: Path) -> None:
        """code: nanodet_plus.py; weights: of the network in it."""
        super().__init__()
        self.network = code.NanoDetPlus(STAGES, WIDTH)
        self.network.load_state_dict(load_file(weights))
        self.decode = code.decode
        mean, factor = (torch.tensor(values).view(3, 1, 1) for values in (code.MEAN, code.NORM))
        self.mean, self.factor = mean, factor

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores [1, A, classes] and boxes [1, A, 4], fractions of the image."""
        maps = self.network.neck((image - self.mean) * self.factor)
        scores, boxes = self.decode(self.network.head(maps))
        return scores, boxes / SIZE


def main() -> None:
    """Write the ONNX file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, help='with nanodet_plus.py and its weights')
    parser.add_argument('out', type=Path, help='the ONNX file')
    options = parser.parse_args()
    write_teacher(options.folder, options.out)


def write_teacher(folder: Path, out: Path) -> None:
    """Write it; folder: with nanodet_plus.py, whose network this is, and its weights."""
    spec = importlib.util.spec_from_file_location('nanodet_plus', folder / 'nanodet_plus.py')
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    teacher = Teacher(code, weights(folder)).eval()
    image = torch.zeros(1, 3, SIZE, SIZE)
    torch.onnx.export(
        teacher, (image,), out, input_names=['image'],
        output_names=['scores', 'boxes'], dynamo=True, external_data=False)


def weights(folder: Path) -> Path:
    """Return the file of the weights."""
    return folder / 'nanodet_plus_m_1.5x_416.safetensors'


if __name__ == '__main__':
    main()
