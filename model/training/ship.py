# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Turn the models that a training wrote into what the package ships: in half precision."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import yaml
from recipe import mean, scale_scores, trained
from safetensors.torch import save_file

# Person and bicycle are two things though their boxes overlap; a thing has one class over time.
TRACKER = {
    'nms': 'best_class', 'class_memory': 0.9, 'class_penalty': 1.0, 'new_track_score': 1.2,
    'weak_overlap': 0.3, 'search_margin': 2.0, 'max_missed': 20, 'coasting_per_hit': 0.25,
    'score_decay': 0.8}
# Factor on the logits of classes, and what is added. By the node's rules the model then finds more
# with as few instances on nothing, in five videos that no training saw, see the card.
SCORE_FACTOR, SCORE_OFFSET = 1.4, 0.31
# In which identities were found as good as in float32, by engine: docs/performance.md.
MEASURED_PRECISIONS = {'torch': ['bfloat16'], 'openvino': ['bfloat16']}


def main() -> None:
    """Write the weights and their description into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('models', type=Path, nargs='+', help='.yaml that a training wrote')
    parser.add_argument('out', type=Path, help='folder, as model/')
    options = parser.parse_args()
    network = mean([trained(model) for model in options.models])
    scale_scores(network, SCORE_FACTOR, SCORE_OFFSET)
    description = yaml.safe_load(options.models[0].read_text())
    options.out.mkdir(parents=True, exist_ok=True)
    weights = options.out / f'{description["name"]}.safetensors'
    save_file({n: value.half() for n, value in network.state_dict().items()}, weights)
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


if __name__ == '__main__':
    main()
