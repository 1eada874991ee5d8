# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Turn the model that a training wrote into what the package ships: in half precision."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from stmask_ros.families.stmask.distance_head import DistanceHead
from stmask_ros.families.stmask.network import STMask
from stmask_ros.models.checkpoint import load_model

# Person and bicycle are two things though their boxes overlap; a thing has one class over time.
TRACKER = {
    'nms': 'best_class', 'class_memory': 0.9, 'class_penalty': 1.0, 'coasting_per_hit': 0.25,
    'score_decay': 0.8}
# Factor on the logits of classes, and what is added: the detector became surer. By the node's
# rules it finds more with fewer instances in five videos that no training saw, see the card.
SCORE_FACTOR, SCORE_OFFSET = 0.8076, -1.2207
# In which identities were found as good as in float32, by engine: docs/performance.md.
MEASURED_PRECISIONS = {'torch': ['bfloat16'], 'openvino': ['bfloat16']}


def main() -> None:
    """Write the weights and their description into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', type=Path, help='a .yaml that the training wrote')
    parser.add_argument('out', type=Path, help='folder, as model/')
    options = parser.parse_args()
    model = load_model(options.model)
    description = yaml.safe_load(options.model.read_text())
    options.out.mkdir(parents=True, exist_ok=True)
    weights = options.out / f'{description["name"]}.safetensors'
    assert isinstance(model.network, STMask)
    _scale_scores(model.network)
    save_file({n: value.half() for n, value in model.network.state_dict().items()}, weights)
    description |= {
        'tracker': TRACKER,
        'measured_precisions': MEASURED_PRECISIONS,
        'weights': weights.name,
        'source': f'trained by this project, see {description["name"]}.md',
        'sha256': hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    text = '# The default model: small enough for a CPU. What it is and can do: stmask_lite.md\n'
    text += yaml.safe_dump(description, sort_keys=False, default_flow_style=None, width=98)
    weights.with_suffix('.yaml').write_text(text)


@torch.no_grad()
def _scale_scores(network: STMask) -> None:
    assert isinstance(network.head, DistanceHead)
    classes = network.head.num_outputs
    for layer in network.head.predicting_boxes():
        assert layer.bias is not None
        layer.weight[:classes] *= SCORE_FACTOR
        layer.bias[:classes] *= SCORE_FACTOR
        layer.bias[:classes] += SCORE_OFFSET


if __name__ == '__main__':
    main()
