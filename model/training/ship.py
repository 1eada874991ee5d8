"""Turn models of a training into what the package ships: their mean, in half precision."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor


def main() -> None:
    """Write the weights and their description into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'models', type=Path, nargs='+', metavar='model',
        help='a .yaml that the training wrote; of several the weights are averaged',
    )
    parser.add_argument('out', type=Path, help='folder, as model/')
    parser.add_argument(
        '--input-size', type=int, nargs=2, metavar=('HEIGHT', 'WIDTH'),
        help='of the images that the network is to see [pixel] (default: as in training)',
    )
    options = parser.parse_args()
    description = yaml.safe_load(options.models[0].read_text())
    if options.input_size:
        height, width = options.input_size
        description['options'] |= {'input_height': height, 'input_width': width}
    options.out.mkdir(parents=True, exist_ok=True)
    weights = options.out / f'{description["name"]}.safetensors'
    save_file(_mean([_weights_of(model) for model in options.models]), weights)
    description |= {
        'weights': weights.name,
        'source': f'trained by this project, see {description["name"]}.md',
        'sha256': hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    text = '# The default model: small enough for a CPU. What it is and can do: stmask_lite.md\n'
    text += yaml.safe_dump(description, sort_keys=False, default_flow_style=None)
    weights.with_suffix('.yaml').write_text(text)


def _weights_of(model: Path) -> dict[str, Tensor]:
    return load_file(model.parent / yaml.safe_load(model.read_text())['weights'])


def _mean(models: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of every tensor, in half precision; of whole numbers the first's."""
    return {
        key: torch.stack([model[key] for model in models]).mean(dim=0).half()
        if value.is_floating_point() else value
        for key, value in models[0].items()
    }


if __name__ == '__main__':
    main()
