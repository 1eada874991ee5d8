# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Gather what `stmask_lite` is trained and chosen by, next to its configuration."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import yaml
from nanodet import write_start

# Every so manieth picture is kept for choosing.
HELD_OUT = 5
DATA = ('coco_mini', 'coco_one_person', 'davis')
TUNED = 'tuned.yaml'
HERE = Path(__file__).parent


def main() -> None:
    """Fill the folder; a second call does no harm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data', type=Path, help=f'folder with {", ".join(DATA)}')
    parser.add_argument('out', type=Path, help='folder for everything of the training')
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    for name in DATA:
        link = out / name
        link.unlink(missing_ok=True)
        link.symlink_to((options.data / name).resolve())
    for name in DATA[:2]:
        _divide(options.data / name / 'instances.json', out, name)
    write_start(out)
    write_configurations(out)


def write_configurations(out: Path) -> None:
    """Write those of both parts of the training and of held-out clips."""
    for name in ('run.yaml', 'held_out.yaml'):
        shutil.copy(HERE / name, out)
    run, changes = (yaml.safe_load((HERE / name).read_text()) for name in ('run.yaml', TUNED))
    (out / TUNED).write_text(yaml.safe_dump(run | changes, sort_keys=False))


def _divide(path: Path, out: Path, name: str) -> None:
    """Write the annotations of pictures to learn from, and of those to choose by."""
    coco = json.loads(path.read_text())
    chosen = sorted(image['id'] for image in coco['images'])
    held_out = set(chosen[::HELD_OUT])
    for part, images in (('training', set(chosen) - held_out), ('held_out', held_out)):
        (out / f'{name}_{part}.json').write_text(json.dumps(_part(coco, images)))


def _part(coco: dict[str, Any], images: set[int]) -> dict[str, Any]:
    """Return the same file with these images alone."""
    return coco | {
        'images': [image for image in coco['images'] if image['id'] in images],
        'annotations': [a for a in coco['annotations'] if a['image_id'] in images],
    }


if __name__ == '__main__':
    main()
