# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Train stmask_lite, all parts; a second call goes on where the first was stopped."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from stmask_ros.families.stmask.distance_head import DistanceHead
from stmask_ros.families.stmask.network import STMask
from stmask_ros.models.checkpoint import load_model

# Factor on the logits of classes, and what is added, after the detector was tuned and where it
# was taught: both make it surer.
TUNED_SCORES, TAUGHT_SCORES = (0.8076, -1.2207), (1.0, -0.4)


def main() -> None:
    """Leave three models in WORK/refined_1 to _3, whose mean ship.py takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work', type=Path, help='folder that prepare.py made')
    work: Path = parser.parse_args().work
    _train(work, 'run')
    tuned = _train(work, 'tuned')
    scale_scores(tuned, *TUNED_SCORES)
    _write(tuned, work / 'start.safetensors')
    first, second = _train(work, 'taught_1'), _train(work, 'taught_2')
    for number, taught in enumerate((first, second, mean([first, second])), 1):
        half = mean([tuned, taught])
        scale_scores(half, *TAUGHT_SCORES)
        _write(half, work / f'half_{number}.safetensors')
        _train(work, f'refined_{number}')


@torch.no_grad()
def scale_scores(network: STMask, factor: float, offset: float) -> None:
    """Change the logits of all classes alike, in place: the order of detections stays."""
    assert isinstance(network.head, DistanceHead)
    classes = network.head.num_outputs
    for layer in network.head.predicting_boxes():
        assert layer.bias is not None
        layer.weight[:classes] *= factor
        layer.bias[:classes] *= factor
        layer.bias[:classes] += offset


def mean(networks: list[STMask]) -> STMask:
    """Return a network with their mean weights (Wortsman et al., ICML 2022)."""
    states = [network.state_dict() for network in networks]
    result = STMask(networks[0].config).eval()
    result.load_state_dict({
        name: torch.stack([state[name].float() for state in states]).mean(0)
        for name in states[0]})
    return result


def trained(path: Path) -> STMask:
    """Return the network that a training wrote."""
    network = load_model(path).network
    assert isinstance(network, STMask)
    return network


def _train(work: Path, part: str) -> STMask:
    subprocess.run([
        sys.executable, '-m', 'stmask_ros.cli', 'train', work / f'{part}.yaml', '--device', 'cpu',
    ], check=True)
    return trained(work / part / 'stmask_lite.yaml')


def _write(network: STMask, path: Path) -> None:
    """Write it in half precision, once: a training that was begun keeps its start."""
    if not path.exists():
        save_file({name: value.half() for name, value in network.state_dict().items()}, path)


if __name__ == '__main__':
    main()
