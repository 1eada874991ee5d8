# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Compare the whole step with what a user would pick instead, on the same frames in the same run.

python -m benchmark.peers [--model stmask_lite] [--frames FOLDER] [--rounds 15] [--threads 2]
    [--sizes 448x256 512x288] [--environment build/peers] [--output out]
makes an environment of its own for the peers (it is kept, and sees this one's PyTorch), and in it
runs ours by each engine and precision that is at hand, YOLO11n-seg and YOLO26n-seg of Ultralytics
with ByteTrack by PyTorch, ONNX Runtime and OpenVINO, at each of the sizes, and Mask R-CNN of
torchvision on MobileNetV3, at the first.
All take turns, a frame each. Times are from a uint8 frame to masks on the host; the figures are
medians of the ratios to ours by torch in float32 in the same turn. It writes peers.json and, as a
plot, peers.svg.

Ours track by the rules that the node starts with.

The peers' published weights are not fetched: their networks have random ones, which cost the same.
They detect nothing then, so their suppression, masks and tracker have less to do than with objects
in view, while ours has its objects: the comparison favours them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ('ultralytics', 'lap', 'openvino', 'onnx', 'onnxruntime', 'onnxscript')
SIZES = ('448x256', '512x288')
BASE = 'ours, torch float32'
WARM_UP = 3
# Ultralytics neither asks its server for news nor installs what it misses.
QUIET = {'YOLO_OFFLINE': 'true', 'YOLO_AUTOINSTALL': 'false', 'YOLO_VERBOSE': 'false'}

Contender = Callable[[Any], object]


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the environment, and measure in it."""
    options = _parser().parse_args(arguments)
    if not options.inside:
        python = _environment(options.environment.resolve())
        given = list(arguments) if arguments is not None else sys.argv[1:]
        environment = os.environ | QUIET | {'OMP_WAIT_POLICY': 'PASSIVE'}
        command = [str(python), '-m', 'benchmark.peers', '--inside', *given]
        sys.exit(subprocess.run(command, cwd=ROOT, env=environment).returncode)
    frames = _frames(options.frames)
    rows = _measure(_contenders(options), frames, options.rounds)
    report = {
        'frames_sha256': hashlib.sha256(b''.join(f.tobytes() for f in frames)).hexdigest(),
        'frames': len(frames), 'size': list(frames[0].shape), 'threads': options.threads,
        'processor': _processor(), 'load_average': os.getloadavg()[0],
        'versions': {name: version(name) for name in ('torch', 'torchvision', *PACKAGES)},
        'rows': rows,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / 'peers.json').write_text(json.dumps(report, indent=2) + '\n')
    (options.output / 'peers.svg').write_text(_plot(rows))
    print(json.dumps({key: value for key, value in report.items() if key != 'rows'}, indent=2))
    print(f'\n{"":44}{"CPU ms":>9}{"wall ms":>9}{"CPU ratio":>11}')
    for row in rows:
        print(f'{row["name"]:44}{row["cpu_ms"]:9.1f}{row["wall_ms"]:9.1f}{row["ratio"]:11.2f}')


def _environment(folder: Path) -> Path:
    """Return the Python of the peers' environment, made if it is missing."""
    python = folder / 'bin' / 'python'
    if not (folder / '.installed').exists():
        venv.create(folder, with_pip=True)
        name = f'python{sysconfig.get_python_version()}'
        beside = folder / 'lib' / name / 'site-packages' / 'beside.pth'
        beside.write_text(sysconfig.get_path('purelib') + '\n')
        subprocess.run([python, '-m', 'pip', 'install', '--quiet', *PACKAGES], check=True)
        (folder / '.installed').touch()
    return python


def _contenders(options: argparse.Namespace) -> dict[str, Contender]:
    # PyTorch is loaded in the environment only.
    import torch

    torch.set_num_threads(options.threads)
    contenders = _ours(options.model)
    for name in ('yolo11n-seg', 'yolo26n-seg'):
        for size in options.sizes:
            contenders |= _ultralytics(name, size, options.output / 'peers' / size)
    return contenders | _mask_rcnn(options.sizes[0])


def _ours(model: str) -> dict[str, Contender]:
    from stmask_ros.families.errors import ModelError
    from stmask_ros.families.family import TrackerSettings
    from stmask_ros.tracking.segmenter import load_segmenter

    # As the node starts.
    rules = TrackerSettings(birth_threshold=0.2, nms_threshold=0.4)
    contenders: dict[str, Contender] = {}
    for engine in ('torch', 'onnxruntime', 'openvino'):
        for precision in ('float32', 'bfloat16'):
            try:
                segmenter = load_segmenter(
                    model, 'cpu', rules, precision, engine, tell=print
                )
            except ModelError as error:
                print(f'left out: {error}')
                continue
            contenders[f'ours, {engine} {precision}'] = _Stream(segmenter)
    return contenders


class _Stream:
    def __init__(self, segmenter: Any) -> None:
        self._segmenter = segmenter
        self._state = segmenter.initial_state()

    def __call__(self, frame: Any) -> object:
        results, (self._state,) = self._segmenter.step([frame], [self._state])
        return results


def _height_and_width(size: str) -> tuple[int, int]:
    width, height = map(int, size.split('x'))
    return height, width


def _ultralytics(name: str, size: str, folder: Path) -> dict[str, Contender]:
    from ultralytics import YOLO

    folder.mkdir(parents=True, exist_ok=True)
    try:
        network = YOLO(f'{name}.yaml', task='segment')
    except FileNotFoundError as error:
        print(f'left out: {name}: {error}')
        return {}
    weights, shape = folder.resolve() / f'{name}.pt', _height_and_width(size)
    network.save(weights)
    contenders: dict[str, Contender] = {}
    for engine, form in (('torch', ''), ('onnxruntime', 'onnx'), ('openvino', 'openvino')):
        path = weights if not form else YOLO(weights).export(format=form, imgsz=shape)
        model = YOLO(path, task='segment')
        contenders[f'{name} {size} + ByteTrack, {engine}'] = partial(
            model.track, persist=True, tracker='bytetrack.yaml', imgsz=shape, device='cpu',
            verbose=False,
        )
    return contenders


def _mask_rcnn(size: str) -> dict[str, Contender]:
    import torch
    from torchvision.models.detection import MaskRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.backbone_utils import mobilenet_backbone

    height, width = _height_and_width(size)
    backbone = mobilenet_backbone(
        backbone_name='mobilenet_v3_large', weights=None, fpn=True, trainable_layers=6
    )
    # Three levels, with the anchors that torchvision gives to detectors on this backbone.
    anchors = AnchorGenerator(((32, 64, 128, 256, 512),) * 3, ((0.5, 1.0, 2.0),) * 3)
    network = MaskRCNN(
        backbone, 91, min_size=height, max_size=width, rpn_anchor_generator=anchors
    ).eval()

    def run(frame: Any) -> object:
        with torch.inference_mode():
            return network([torch.from_numpy(frame).permute(2, 0, 1).flip(0) / 255])

    return {'Mask R-CNN MobileNetV3, torch, no tracker': run}


def _measure(
    contenders: dict[str, Contender], frames: Sequence[Any], rounds: int
) -> list[dict[str, Any]]:
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(WARM_UP + rounds):
        for name, run in contenders.items():
            begin, cpu_begin = time.perf_counter(), time.process_time()
            run(frames[turn % len(frames)])
            if turn >= WARM_UP:
                cpu[name].append(1e3 * (time.process_time() - cpu_begin))
                wall[name].append(1e3 * (time.perf_counter() - begin))
    return [
        {'name': name, 'cpu_ms': statistics.median(cpu[name]),
         'wall_ms': statistics.median(wall[name]),
         'ratio': statistics.median(
             mine / base for mine, base in zip(cpu[name], cpu[BASE], strict=True))}
        for name in contenders
    ]


def _frames(folder: Path | None) -> list[Any]:
    import cv2

    if folder is None:
        from benchmark.step import picture
        return [picture(854, 480)]
    return [cv2.imread(str(path)) for path in sorted(folder.glob('*.jpg'))[:30]]


def _processor() -> str:
    lines = Path('/proc/cpuinfo').read_text().splitlines()
    model = next((line.split(': ')[1] for line in lines if line.startswith('model name')), '')
    return f'{os.cpu_count()} cores of {model or platform.machine()}'


def _plot(rows: Sequence[dict[str, Any]]) -> str:
    """Return bars of the ratios as SVG."""
    widest = max(row['ratio'] for row in rows)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{30 + 24 * len(rows)}" '
        'font-family="sans-serif" font-size="13">',
        f'<text x="10" y="18">CPU time of a step; {BASE} = 1</text>',
    ]
    for i, row in enumerate(rows):
        top, length = 30 + 24 * i, 340 * row['ratio'] / widest
        color = '#2a6' if row['name'].startswith('ours') else '#999'
        lines += [
            f'<text x="330" y="{top + 14}" text-anchor="end">{row["name"]}</text>',
            f'<rect x="338" y="{top + 2}" width="{length:.1f}" height="16" fill="{color}"/>',
            f'<text x="{342 + length:.1f}" y="{top + 14}">{row["ratio"]:.2f}</text>',
        ]
    return '\n'.join([*lines, '</svg>', ''])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--model', default='stmask_lite')
    parser.add_argument('--frames', type=Path, metavar='FOLDER', help='of .jpg; 30 are taken')
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--threads', type=int, default=os.cpu_count())
    parser.add_argument('--sizes', nargs='+', default=SIZES, metavar='WIDTHxHEIGHT')
    parser.add_argument('--environment', type=Path, default=ROOT / 'build' / 'peers')
    parser.add_argument('--output', type=Path, default=Path('out'))
    parser.add_argument('--inside', action='store_true', help=argparse.SUPPRESS)
    return parser


if __name__ == '__main__':
    main()
