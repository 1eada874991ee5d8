# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Turn the model that a training wrote into what the package ships: in half precision."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import yaml
from safetensors.torch import load_file, save_file

# Person and bicycle are two things though their boxes overlap; a thing has one class over time.
TRACKER = {'nms': 'best_class', 'class_memory': 0.9, 'class_penalty': 1.0}
# In which identities were found as good as in float32, by engine: docs/performance.md.
MEASURED_PRECISIONS = {'torch': ['bfloat16'], 'openvino': ['bfloat16']}


def main() -> None:
    """Write the weights and their description into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', type=Path, help='a .yaml that the training wrote')
    parser.add_argument('out', type=Path, help='folder, as model/')
    options = parser.parse_args()
    description = yaml.safe_load(options.model.read_text())
    trained = load_file(options.model.parent / description['weights'])
    options.out.mkdir(parents=True, exist_ok=True)
    weights = options.out / f'{description["name"]}.safetensors'
    save_file({name: value.half() for name, value in trained.items()}, weights)
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
