# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Gather what `stmask_lite` is trained and chosen by, next to its configuration.

Needs npm, `pip install mujoco onnxscript` and OSMesa (Debian: libosmesa6).
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from nanodet import write_start
from teacher import write_teacher

# Every so manieth picture is kept for choosing.
HELD_OUT = 5
DATA = ('coco_mini', 'coco_one_person', 'davis')
TAUGHT, REFINED = (1, 2), (1, 2, 3)  # runs
RENDERED = {'annotations': 'rendered/instances.json', 'images': 'rendered/images'}
HERE = Path(__file__).parent


def main() -> None:
    """Fill the folder; a second call does no harm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data', type=Path, help=f'folder with {", ".join(DATA)}')
    parser.add_argument('teacher', type=Path, help='folder with NanoDet-Plus, see teacher.py')
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
    write_teacher(options.teacher, out / 'teacher.onnx')
    subprocess.run([sys.executable, HERE / 'render.py', out], check=True)
    write_configurations(out)


def write_configurations(out: Path) -> None:
    """Write those of all parts of the training and of held-out clips."""
    for name in ('run.yaml', 'held_out.yaml'):
        shutil.copy(HERE / name, out)
    config = _read('run') | _read('tuned')
    _write(out / 'tuned.yaml', config)
    config |= _read('taught')
    _add_rendered(config)
    for run in TAUGHT:
        _write(out / f'taught_{run}.yaml', config | {'out': f'taught_{run}', 'seed': run})
    config |= _read('refined')
    for run in REFINED:
        _write(out / f'refined_{run}.yaml', config | {
            'out': f'refined_{run}', 'initial_weights': f'half_{run}.safetensors'})


def _read(part: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((HERE / f'{part}.yaml').read_text())
    return config


def _write(path: Path, config: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def _add_rendered(config: dict[str, Any]) -> None:
    for clips in config['synthetic']:
        clips['coco'].append(RENDERED)
    config['pictures'].append({'coco': RENDERED, 'crops': {'repeats': 1}})


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
