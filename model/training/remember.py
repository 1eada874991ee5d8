# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Keep some cells of the training's pictures: what is taught later is not to be seen in them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from stmask_ros.evaluation.annotations import read_frame
from stmask_ros.families.stmask.distance_head import DistanceHead
from stmask_ros.families.stmask.inference import prepared_for_inference
from stmask_ros.families.stmask.network import STMask
from stmask_ros.families.stmask.preprocess import preprocess
from stmask_ros.families.stmask.teaching.memory import MEMORY, save_memory
from stmask_ros.models.checkpoint import load_model

PICTURES = ('coco_mini', 'coco_one_person')
# Of each picture and level: the cells with the highest scores, and others by chance.
SUREST, OTHERS = (6, 4, 2), (20, 10, 5)


def main() -> None:
    """Write the file beside the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work', type=Path, help='folder that prepare.py made')
    parser.add_argument('out', type=Path, help='folder, as model/')
    parser.add_argument('--most', type=int, default=70, help='pictures of each set')
    options = parser.parse_args()
    network = load_model('stmask_lite').network
    assert isinstance(network, STMask)
    prepared = prepared_for_inference(network, torch.device('cpu'))
    torch.manual_seed(1)
    cells = [
        _cells(prepared, options.work / name / 'images', file_name)
        for name in PICTURES for file_name in _names(options.work, name)[:options.most]]
    save_memory(options.out / MEMORY, network, [
        torch.cat(level) for level in zip(*cells, strict=True)])


def _names(work: Path, name: str) -> list[str]:
    document = json.loads((work / f'{name}_training.json').read_text())
    return [image['file_name'] for image in document['images']]


@torch.inference_mode()
def _cells(network: STMask, images: Path, file_name: str) -> list[Tensor]:
    """Return some cells of each level, [N, channels]."""
    assert isinstance(network.head, DistanceHead)
    now = network(preprocess([read_frame(images, file_name)], network.config, torch.device('cpu')))
    hidden = network.head.hidden(now.pyramid)[0]
    scores = now.head.probabilities(0).amax(1)
    sizes = [height * width for height, width in now.head.level_sizes]
    return [
        _chosen(*level) for level in zip(
            hidden.split(sizes), scores.split(sizes), SUREST, OTHERS, strict=True)]


def _chosen(cells: Tensor, scores: Tensor, surest: int, others: int) -> Tensor:
    """Return none twice."""
    order = scores.argsort(descending=True)
    drawn = torch.randperm(len(cells) - surest)[:others]
    return cells[torch.cat((order[:surest], order[surest:][drawn]))]


if __name__ == '__main__':
    main()
