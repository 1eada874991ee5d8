"""
Measure the processor time that the node takes for each image, on top of the step itself.

python -m benchmark.node [--sizes 640x360 1920x1080] [--transports raw compressed]
    [--cameras 1 4] [--rate 10] [--seconds 10] [--output out]
runs the node in this process, with a step that returns a ready result of eight instances and costs
nothing, and a camera in another process. The processor time of the whole process (DDS and all
threads), without what it takes while no images come, divided by the images answered, is the cost
of the node. Beside it stand the parts that are not the node's own, measured in the same run:
reading the message from its serialised form (rclpy) and, for compressed images, decoding the JPEG
(OpenCV) as finely as the model sees; and what the idle node takes, for each second of it.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
import torch
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Header

from stmask_ros.families.stmask.tracks import TrackerConfig
from stmask_ros.images import SeenSize, compressed_picture
from stmask_ros.masks import RegionMask
from stmask_ros.memory import keep_freed_memory
from stmask_ros.models.checkpoint import load_model
from stmask_ros.node import segmenter as node_module
from stmask_ros.node.image_processor import CameraMessage
from stmask_ros.node.segmenter import SegmenterNode
from stmask_ros.ros.image_messages import compressed_from_bgr, from_bgr
from stmask_ros.ros.messages import time_message
from stmask_ros.ros.transport import use_large_message_profile
from stmask_ros.sources.built_in_clip import BuiltInClip
from stmask_ros.tracking.results import FrameResult, Source, TrackStatus
from stmask_ros.tracking.segmenter import VideoSegmenter

INSTANCES = 8
WARM_UP = 20
SETTLE_SECONDS, IDLE_SECONDS = 1.0, 4.0
TARGETS = {(640, 360): 3.0, (1920, 1080): 8.0}
REPEATS = 30


@dataclass(frozen=True)
class Case:
    """What is sent: pictures of width x height [pixel], by so many cameras."""

    width: int
    height: int
    transport: str
    cameras: int


@dataclass(frozen=True)
class Cost:
    """
    Processor time of an image [ms].

    node: all of it but the step. reading: rclpy's part, from bytes to a message. decoding:
    OpenCV's, of a JPEG. idle: of a second without images [ms], not in the others. answered: number
    of images.
    """

    node: float
    reading: float
    decoding: float
    idle: float
    answered: int

    @property
    def rest(self) -> float:
        """What is neither rclpy's reading nor OpenCV's decoding [ms]."""
        return self.node - self.reading - self.decoding


class FreeSegmenter(VideoSegmenter):
    """A segmenter whose step costs nothing, and finds the same things in every image."""

    answered = 0

    def step(self, images: Any, states: Any, stamps: Any = None, sizes: Any = None) -> Any:
        """Return a ready result for each image."""
        self.answered += len(images)
        results = [ready_result(*size) for size in sizes]
        return results, list(states)


@functools.cache
def ready_result(height: int, width: int) -> FrameResult:
    """Return eight confirmed ellipses in a picture of this size."""
    masks = [_ellipse(height, width, number) for number in range(INSTANCES)]
    numbers = np.arange(1, INSTANCES + 1)
    left, top, wide, high = np.array([
        (mask.x_offset, mask.y_offset, mask.width, mask.height) for mask in masks], np.float32).T
    return FrameResult(
        image_height=height, image_width=width, epoch=1, sequence=1, temporal_valid=True,
        track_ids=numbers, statuses=np.full(INSTANCES, int(TrackStatus.CONFIRMED)),
        sources=np.full(INSTANCES, int(Source.DETECTED)), class_ids=numbers % 4 + 1,
        scores=np.full(INSTANCES, 0.5, np.float32),
        detection_scores=np.full(INSTANCES, 0.5, np.float32), ages=numbers, hits=numbers,
        missed=0 * numbers, first_seen=numbers, last_detected=numbers,
        boxes=np.stack([left, top, left + wide, top + high], axis=1), masks=masks,
    )


def _ellipse(height: int, width: int, number: int) -> RegionMask:
    canvas = np.zeros((height, width), np.uint8)
    center = (width * (2 * number + 1) // (2 * INSTANCES), height // 2)
    axes = (width // 10, height // (3 + number))
    cv2.ellipse(canvas, center, axes, 20.0 * number, 0, 360, 1, cv2.FILLED)
    return RegionMask.from_full(canvas.astype(bool))


def message(width: int, height: int, transport: str) -> CameraMessage:
    """Return an image of the built-in clip as a message."""
    picture = cv2.resize(BuiltInClip().frame(0.0), (width, height))
    make = from_bgr if transport == 'raw' else compressed_from_bgr
    return make(np.asarray(picture, np.uint8), Header(frame_id='camera'))


def send(case: Case, rate: float) -> None:
    """Publish images of all cameras until the process is ended."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    node = Node('sender')
    image = message(case.width, case.height, case.transport)
    suffix = '' if case.transport == 'raw' else '/compressed'
    quality = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    publishers = [
        node.create_publisher(type(image), f'camera_{number}/image{suffix}', quality)
        for number in range(case.cameras)
    ]
    start = time.monotonic()
    for number in itertools.count(1):
        image.header.stamp = time_message(time.time_ns())
        for publisher in publishers:
            publisher.publish(image)
        time.sleep(max(0.0, start + number / rate - time.monotonic()))


def measure(case: Case, segmenter: FreeSegmenter, options: argparse.Namespace) -> Cost:
    """Run the node on images of a case, and return what one cost."""
    names = ','.join(f'camera_{number}' for number in range(case.cameras))
    rclpy.init(args=[
        '--ros-args', '-p', f'cameras:=[{names}]', '-p', f'image_transport:={case.transport}',
        '--log-level', 'error'])
    node = SegmenterNode()
    try:
        assert node.start()
        with _spinning(node):
            idle = _idle_time()
            with _sender(case, options.rate):
                total, answered = _processor_time(segmenter, options.seconds)
    finally:
        node.stop(10.0)
        node.destroy_node()
        rclpy.try_shutdown()
    of_images = total - idle * options.seconds
    return Cost(of_images / answered, *_parts(case, segmenter.scaled_size), idle, answered)


@contextmanager
def _sender(case: Case, rate: float) -> Iterator[None]:
    """Let another process send images."""
    process = subprocess.Popen([
        sys.executable, '-m', 'benchmark.node', '--sizes', f'{case.width}x{case.height}',
        '--transports', case.transport, '--cameras', str(case.cameras),
        '--rate', str(rate), '--send'])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _spinning(node: Node) -> Iterator[None]:
    """Handle a node's callbacks in a thread of their own."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    done = threading.Event()

    def spin() -> None:
        while not done.is_set():
            executor.spin_once(timeout_sec=0.5)

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        executor.shutdown()


def _idle_time() -> float:
    """Return the processor time of this process in a second without images [ms]."""
    time.sleep(SETTLE_SECONDS)
    before = time.process_time()
    time.sleep(IDLE_SECONDS)
    return 1e3 * (time.process_time() - before) / IDLE_SECONDS


def _processor_time(segmenter: FreeSegmenter, seconds: float) -> tuple[float, int]:
    """Return the processor time of this process [ms], and the images answered meanwhile."""
    start = segmenter.answered
    while segmenter.answered < start + WARM_UP:
        time.sleep(0.1)
    before, time_before = segmenter.answered, time.process_time()
    time.sleep(seconds)
    return 1e3 * (time.process_time() - time_before), segmenter.answered - before


def _parts(case: Case, seen_size: SeenSize) -> tuple[float, float]:
    """Return the processor time of reading a message, and of decoding it [ms]."""
    image = message(case.width, case.height, case.transport)
    written = serialize_message(image)
    reading = _cost_of(lambda: deserialize_message(written, type(image)))
    if case.transport == 'raw':
        return reading, 0.0
    return reading, _cost_of(lambda: compressed_picture(image, seen_size))


def _cost_of(call: Callable[[], object]) -> float:
    """Return the median processor time of a call [ms]."""
    times = []
    for _ in range(REPEATS):
        before = time.process_time()
        call()
        times.append(1e3 * (time.process_time() - before))
    return statistics.median(times)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cases, print and write the table."""
    options = _parser().parse_args(arguments)
    cases = [
        Case(*size, transport, cameras) for size, transport, cameras
        in itertools.product(options.sizes, options.transports, options.cameras)
    ]
    keep_freed_memory()
    use_large_message_profile()
    if options.send:
        send(cases[0], options.rate)
        return
    segmenter = FreeSegmenter(load_model('stmask_lite'), torch.device('cpu'), TrackerConfig())
    node_module.load_segmenter = lambda *_: segmenter
    rows = []
    print('processor time of an image [ms], and of a second without any [ms]\n'
          '      size  transport  cameras     node = reading + decoding +  rest   target    idle')
    for case in cases:
        cost = measure(case, segmenter, options)
        rows.append(asdict(case) | asdict(cost))
        print(f'{case.width:5}x{case.height:<4} {case.transport:>10} {case.cameras:8} '
              f'{cost.node:8.2f} {cost.reading:9.2f} {cost.decoding:10.2f} {cost.rest:7.2f} '
              f'{TARGETS.get((case.width, case.height), float("nan")):8.1f} {cost.idle:7.2f}',
              flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    report = {'machine': platform.platform(), 'python': platform.python_version(),
              'load_average': os.getloadavg()[0], 'rate': options.rate, 'rows': rows}
    (options.output / 'node.json').write_text(json.dumps(report, indent=2) + '\n')


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition('x')
    return int(width), int(height)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[1])
    parser.add_argument('--sizes', nargs='+', type=_size, default=tuple(TARGETS))
    parser.add_argument('--transports', nargs='+', default=('raw', 'compressed'))
    parser.add_argument('--cameras', nargs='+', type=int, default=(1, 4))
    parser.add_argument('--rate', type=float, default=10.0, help='images a second and camera')
    parser.add_argument('--seconds', type=float, default=10.0, help='to measure each case')
    parser.add_argument('--send', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--output', type=Path, default=Path('out'))
    return parser


if __name__ == '__main__':
    main()
