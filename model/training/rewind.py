"""
Bring a model's backbone part of the way back to the weights that it started with.

Fine-tuned on little data, a backbone forgets what it knew; between the two sets of weights lie
networks that have some of both (Wortsman et al., CVPR 2022: robust fine-tuning).
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from safetensors.torch import save_file

from stmask_ros.models.checkpoint import load_model
from stmask_ros.training.checkpoints import initialise_from


def main() -> None:
    """Write the weights; whatever the file of the start does not have stays as trained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', type=Path, help='a .yaml that the training wrote')
    parser.add_argument('start', type=Path, help='weights that its backbone started with')
    parser.add_argument('share', type=float, help='of the way back, 0 to 1')
    parser.add_argument('out', type=Path, help='.safetensors to write')
    options = parser.parse_args()
    model = load_model(options.model)
    trained = model.network
    start = copy.deepcopy(trained)
    initialise_from(model.family, start, options.start)
    old = start.state_dict()
    mixed = {
        name: torch.lerp(value, old[name], options.share) if value.is_floating_point() else value
        for name, value in trained.state_dict().items()
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(mixed, options.out)


if __name__ == '__main__':
    main()
