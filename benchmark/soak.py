# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Let a camera and the segmenter run for hours, and watch memory, tracks and latency.

python -m benchmark.soak [--minutes 60] [--warm-up 6] [--rate 30] [--model stmask_lite]
    [--overlay] [--output out]
starts both as processes of their own, subscribes to the instances (and with --overlay to the
pictures), prints a line a minute and writes soak.json. Exit code 1: a target was missed, or a
process died. Slopes are of straight lines through all samples after the warm-up; in a run of a
few minutes they are noise.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import Image

from stmask_ros.families.stmask.tracks import TrackerConfig
from stmask_ros.msg import TrackedInstanceArray
from stmask_ros.ros.transport import use_large_message_profile

NAMESPACE = '/soak'
SAMPLE_SECONDS = 5.0
START_SECONDS = 120.0
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Targets:
    """Limits of a run: memory's slope [MiB/h], and p99 of the last quarter over the first's."""

    memory_slope: float = 1.0
    latency_ratio: float = 1.1


@dataclass(frozen=True)
class Sample:
    """The segmenter's process at a time [s]: resident memory [MiB], threads, open files."""

    time: float
    memory: float
    threads: int
    files: int


class Watcher(Node):
    """A subscriber that notes time [s], latency from receipt [ms] and tracks of every answer."""

    def __init__(self, overlay: bool) -> None:
        """Subscribe to the segmenter, to its pictures only if asked."""
        super().__init__('watcher', namespace=NAMESPACE)
        self.answers: list[tuple[float, float, int]] = []
        self.facts: dict[str, str] = {}
        self.unbalanced = 0
        self.create_subscription(
            TrackedInstanceArray, 'segmenter/instances', self._on_instances, 5)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 5)
        if overlay:
            self.create_subscription(Image, 'segmenter/overlay', lambda _: None, 1)

    def _on_instances(self, message: TrackedInstanceArray) -> None:
        spent = message.processing_time
        self.answers.append((
            time.monotonic(), spent.sec * 1e3 + spent.nanosec * 1e-6, len(message.instances)))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(f'{NAMESPACE}/segmenter:'):
                self.facts = {item.key: item.value for item in status.values}
                self.unbalanced += not _balanced(self.facts)


def _balanced(facts: dict[str, str]) -> bool:
    received, processed, dropped, open_ = (int(facts[f'images {what}']) for what in (
        'received', 'processed', 'dropped', 'waiting or in work'))
    return received == processed + dropped + open_


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print and write; return the exit code."""
    options = _parser().parse_args(arguments)
    # Apart from a robot on the same network, unless the user has chosen a domain himself.
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    use_large_message_profile()
    rclpy.init()
    try:
        with _processes(options) as (segmenter, log):
            watcher = Watcher(options.overlay)
            samples, died = _watch(watcher, segmenter, options)
            if died:
                print(log.read_text(encoding='utf-8', errors='replace')[-5000:])
    finally:
        rclpy.try_shutdown()
    report = _report(options, watcher, samples) | {'process died': died}
    missed = [] if died else _missed(report, Targets())
    for name, value in report.items():
        print(f'{name:44}{value:>14.5g}' if isinstance(value, float) else f'{name:44}{value:>14}')
    print('missed: ' + '; '.join(missed) if missed else 'all targets met', flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    written = report | {'missed': missed, 'samples': [asdict(sample) for sample in samples]}
    (options.output / 'soak.json').write_text(json.dumps(written, indent=1) + '\n', 'utf-8')
    return int(died or bool(missed))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--minutes', type=float, default=60.0)
    parser.add_argument('--warm-up', type=float, help='minutes; a tenth of the run by default')
    parser.add_argument('--rate', type=float, default=30.0, help='of the camera [Hz]')
    parser.add_argument('--model', default='stmask_lite')
    parser.add_argument('--overlay', action='store_true', help='listen to the pictures too')
    parser.add_argument('--output', type=Path, default=Path('out'))
    return parser


@contextlib.contextmanager
def _processes(options: argparse.Namespace) -> Iterator[tuple[psutil.Process, Path]]:
    """Run camera and segmenter; yields the segmenter and the file with what both write."""
    segmenter = ['segmenter_node', '-r', f'image:={NAMESPACE}/image_raw',
                 '-p', 'autostart:=true', '-p', f'model:={options.model}']
    camera = ['camera_node', '-p', f'rate:={options.rate:f}']
    with tempfile.NamedTemporaryFile('w') as log, contextlib.ExitStack() as stack:
        running = []
        for module, *parameters in (segmenter, camera):
            process = psutil.Popen(
                [sys.executable, '-m', f'stmask_ros.node.{module}', '--ros-args',
                 '-r', f'__ns:={NAMESPACE}', *parameters],
                stdout=log, stderr=subprocess.STDOUT)
            stack.callback(_end, process)
            running.append(process)
        yield running[0], Path(log.name)


def _end(process: psutil.Process) -> None:
    process.terminate()
    try:
        process.wait(10)
    except psutil.TimeoutExpired:
        process.kill()


def _watch(
    watcher: Node, process: psutil.Process, options: argparse.Namespace
) -> tuple[list[Sample], bool]:
    """Sample until the time is over, from the first answer on; also say whether it died."""
    start = time.monotonic()
    while not watcher.answers and time.monotonic() < start + START_SECONDS:
        rclpy.spin_once(watcher, timeout_sec=0.2)
        if process.poll() is not None:
            return [], True
    begin = time.monotonic()
    end = begin + 60 * options.minutes
    samples: list[Sample] = []
    while (now := time.monotonic()) < end:
        if process.poll() is not None:
            return samples, True
        if now >= begin + SAMPLE_SECONDS * len(samples):
            samples.append(Sample(
                now, process.memory_info().rss / MEBIBYTE, process.num_threads(),
                process.num_fds()))
            if len(samples) % round(60 / SAMPLE_SECONDS) == 0:
                _print_progress(now - begin, samples[-1], watcher)
        rclpy.spin_once(watcher, timeout_sec=0.2)
    return samples, not watcher.answers


def _print_progress(seconds: float, sample: Sample, watcher: Watcher) -> None:
    recent = [latency for _, latency, _ in watcher.answers[-200:]] or [np.nan]
    print(f'{seconds / 60:6.1f} min  {sample.memory:8.1f} MiB  {sample.threads} threads  '
          f'{sample.files} files  {len(watcher.answers)} answers  '
          f'median latency {np.median(recent):.1f} ms', flush=True)


def _report(
    options: argparse.Namespace, watcher: Watcher, samples: Sequence[Sample]
) -> dict[str, float | int | str]:
    if len(samples) < 2 or not watcher.answers:
        return {'minutes': options.minutes, 'answers': len(watcher.answers)}
    warm_up = options.minutes / 10 if options.warm_up is None else options.warm_up
    settled = samples[0].time + 60 * warm_up
    kept = [sample for sample in samples if sample.time >= settled]
    hours = np.array([sample.time - settled for sample in kept]) / 3600
    memory = [sample.memory for sample in kept]
    times, latencies, tracks = np.array(watcher.answers).T
    quarters = np.array_split(latencies[times >= settled], 4)
    first, last = (float(np.percentile(quarter, 99)) for quarter in (quarters[0], quarters[-1]))
    facts = watcher.facts
    return {
        'minutes': options.minutes,
        'warm-up [min]': warm_up,
        'model': facts.get('model', ''),
        'answers': len(latencies),
        'images received': int(facts['images received']),
        'images dropped': int(facts['images dropped']),
        'unbalanced reports': watcher.unbalanced,
        'memory, first after warm-up [MiB]': memory[0],
        'memory, last [MiB]': memory[-1],
        'memory slope [MiB/h]': float(np.polyfit(hours, memory, 1)[0]),
        'threads, first and last': f'{kept[0].threads} {kept[-1].threads}',
        'files, first and last': f'{kept[0].files} {kept[-1].files}',
        'instances in a message, most': int(tracks.max()),
        'capacity': TrackerConfig().capacity,
        'latency from receipt, median [ms]': float(np.median(latencies)),
        'p99 of the first quarter [ms]': first,
        'p99 of the last quarter [ms]': last,
        'p99, last over first quarter': last / first,
    }


def _missed(report: dict[str, float | int | str], targets: Targets) -> list[str]:
    checks = {
        'memory grows': report['memory slope [MiB/h]'] <= targets.memory_slope,
        'latency grows': report['p99, last over first quarter'] <= targets.latency_ratio,
        'more tracks than capacity': report['instances in a message, most'] <= report['capacity'],
        'received is not processed + dropped': report['unbalanced reports'] == 0,
    }
    return [name for name, met in checks.items() if not met]


if __name__ == '__main__':
    sys.exit(main())
