# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Measure the processor time that the node takes for each image, on top of the step itself.

python -m benchmark.node [--sizes 640x360 1920x1080] [--cameras 1 4] [--chosen 0 4] [--views]
    [--transports raw compressed zstd ffmpeg foxglove] [--rate 10] [--seconds 10] [--output out]
runs the node in this process, with a step that returns a ready result of eight instances and costs
nothing, and a camera in another process. The processor time of the whole process (DDS and all
threads), without what it takes while no images come, divided by the images answered, is the cost
of the node. Beside it stand the parts that are not the node's own, measured in the same run:
reading the message from its serialised form (rclpy) and, unless images are raw, decoding it as
finely as the model sees (video is H.264: it needs PyAV and the message's package); and what the
idle node takes, for each second of it. A second table has what an operator asks for on top:
looking everywhere (the default) and at a region that cuts most of the eight instances, a class
image, a confidence image, a request of ~/segment without its step, and one of ~/load_model:
loading stmask_lite with two steps to warm it up, and going over to it between two images. With
--views it prints what the pictures and outlines of a result cost instead. With --chosen, the other
process chooses so many objects of each camera and listens to ~/selected.
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

from benchmark.camera_messages import camera_messages, stamped
from stmask_ros.families.appearance import Appearance
from stmask_ros.families.family import ShownTracks
from stmask_ros.families.frames import Size
from stmask_ros.families.stmask.tracks import TrackerConfig
from stmask_ros.images import SeenSize
from stmask_ros.masks import RegionMask
from stmask_ros.memory import keep_freed_memory
from stmask_ros.models.checkpoint import load_model
from stmask_ros.msg import ObjectReference, SelectedInstanceArray
from stmask_ros.node import segmenter as node_module
from stmask_ros.node.model_swap import warm_up
from stmask_ros.node.parameters import Parameters
from stmask_ros.node.segment_once import segmented
from stmask_ros.node.segmenter import SegmenterNode
from stmask_ros.ros.annotation_messages import outlines_message
from stmask_ros.ros.image_messages import compressed_from_bgr, from_bgr
from stmask_ros.ros.image_transports import image_transport
from stmask_ros.ros.transport import use_large_message_profile
from stmask_ros.sources.built_in_clip import BuiltInClip
from stmask_ros.srv import Track
from stmask_ros.tracking.look import Look, Region
from stmask_ros.tracking.results import FrameResult, Source, TrackStatus
from stmask_ros.tracking.segmenter import VideoSegmenter, load_segmenter
from stmask_ros.tracking.view import View
from stmask_ros.views.class_images import class_image, confidence_image
from stmask_ros.views.outlines import outlines
from stmask_ros.views.overlay import draw_overlay

INSTANCES = 8
WARM_UP = 20
SETTLE_SECONDS, IDLE_SECONDS = 1.0, 4.0
TARGETS = {(640, 360): 3.0, (1920, 1080): 8.0}
REPEATS = 30
SENT_BEFORE_CHOOSING = 10


@dataclass(frozen=True)
class Case:
    """
    What is sent: pictures of width x height [pixel], by so many cameras.

    chosen: objects of each camera that ~/selected tells of.
    """

    width: int
    height: int
    transport: str
    cameras: int
    chosen: int = 0


@dataclass(frozen=True)
class Cost:
    """
    Processor time of an image [ms].

    node: all of it but the step. reading: rclpy's part, from bytes to a message. decoding: from
    what is compressed to a picture. idle: of a second without images [ms], not in the others.
    answered: number of images.
    """

    node: float
    reading: float
    decoding: float
    idle: float
    answered: int

    @property
    def rest(self) -> float:
        """What is neither rclpy's reading nor decoding [ms]."""
        return self.node - self.reading - self.decoding


@dataclass(frozen=True)
class Wishes:
    """Processor time that an image takes for what an operator asks for [ms]."""

    everywhere: float
    region: float
    class_image: float
    confidence_image: float
    segment: float
    load: float
    swap: float

    @classmethod
    def measured(cls, width: int, height: int, segmenter: FreeSegmenter) -> Wishes:
        """Measure it on eight instances in a picture of this size."""
        size, result = (height, width), ready_result(height, width)
        tracks = ShownTracks(
            result.track_ids, result.class_ids, result.scores, result.detection_scores,
            result.ages, result.hits, result.missed, result.first_seen, result.last_detected,
            np.zeros(len(result), bool), result.boxes, result.masks)
        reported = frozenset(result.track_ids.tolist())
        request = from_bgr(np.zeros((height, width, 3), np.uint8), Header(frame_id='camera'))
        part = Look(Region.parsed('0 0.1, 1 0.5, 0 0.9')).at(size)
        return cls(
            _cost_of(lambda: View.whole(size).of_tracks(tracks, reported)),
            _cost_of(lambda: part.of_tracks(tracks, reported)),
            _cost_of(lambda: class_image(result)), _cost_of(lambda: confidence_image(result)),
            _cost_of(lambda: segmented(request, segmenter, Parameters())),
            *_cost_of_another_model(size),
        )


class FreeSegmenter(VideoSegmenter):
    """A segmenter whose step costs nothing, and finds the same things in every image."""

    answered = 0

    def step(
        self, images: Any, states: Any, stamps: Any = None, sizes: Any = None, views: Any = None
    ) -> Any:
        """Return a ready result for each image."""
        self.answered += len(images)
        sizes = [view.size for view in views] if views else sizes
        results = [ready_result(*size) for size in sizes]
        return results, list(states)

    def appearance(self, state: Any) -> Appearance:
        """Return ready embeddings of all instances."""
        return Appearance.of(np.arange(1, INSTANCES + 1), torch.eye(INSTANCES, 128))


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


def send(case: Case, rate: float) -> None:
    """Publish images of all cameras until the process is ended."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Node('sender')
    images = camera_messages(case.width, case.height, case.transport)
    transport = image_transport(case.transport)
    suffix = '' if case.transport == 'raw' else f'/{case.transport}'
    quality = QoSProfile(depth=transport.depth, reliability=ReliabilityPolicy.BEST_EFFORT)
    publishers = [
        node.create_publisher(transport.kind, f'camera_{number}/image{suffix}', quality)
        for number in range(case.cameras)
    ]
    choose = [_chooser(node, f'/segmenter/camera_{number}') for number in range(case.cameras)]
    start = time.monotonic()
    for number in itertools.count(1):
        if number % SENT_BEFORE_CHOOSING == 0:
            for chooser in choose:
                chooser(case.chosen)
        image = stamped(images[number % len(images)], number)
        for publisher in publishers:
            publisher.publish(image)
        time.sleep(max(0.0, start + number / rate - time.monotonic()))


def _chooser(node: Node, camera: str) -> Callable[[int], None]:
    """Return what chooses the first objects of a camera, once; others listen to it then."""
    client = node.create_client(Track, f'{camera}/track')
    listening: list[object] = []

    def choose(count: int) -> None:
        if count and not listening and client.service_is_ready():
            listening.append(node.create_subscription(
                SelectedInstanceArray, f'{camera}/selected', lambda _: None, 5))
            for track_id in range(1, count + 1):
                client.call_async(Track.Request(object=ObjectReference(track_id=track_id)))

    return choose


def measure(case: Case, segmenter: FreeSegmenter, options: argparse.Namespace) -> Cost:
    """Run the node on images of a case, and return what one cost."""
    with running(case):
        idle = _idle_time()
        with sender(case, options.rate):
            total, answered = _processor_time(segmenter, options.seconds)
    of_images = total - idle * options.seconds
    return Cost(of_images / answered, *_parts(case, segmenter.scaled_size), idle, answered)


@contextmanager
def running(case: Case) -> Iterator[SegmenterNode]:
    """Let the node wait for the images of a case, in this process."""
    names = ','.join(f'camera_{number}' for number in range(case.cameras))
    rclpy.init(
        args=['--ros-args', '-p', f'cameras:=[{names}]', '-p',
              f'image_transport:={case.transport}', '--log-level', 'error'],
        # Their handlers would shut the context down below the thread that spins.
        signal_handler_options=SignalHandlerOptions.NO)
    node = SegmenterNode()
    try:
        assert node.start()
        with _spinning(node):
            yield node
    finally:
        node.stop(10.0)
        node.destroy_node()
        rclpy.try_shutdown()


@contextmanager
def sender(case: Case, rate: float) -> Iterator[None]:
    """Let another process send images."""
    process = subprocess.Popen([
        sys.executable, '-m', 'benchmark.node', '--sizes', f'{case.width}x{case.height}',
        '--transports', case.transport, '--cameras', str(case.cameras),
        '--chosen', str(case.chosen), '--rate', str(rate), '--send'])
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
    images = camera_messages(case.width, case.height, case.transport)
    transport = image_transport(case.transport)
    written = serialize_message(images[0])
    reading = _cost_of(lambda: deserialize_message(written, transport.kind))
    if case.transport == 'raw':
        return reading, 0.0
    reader, numbers = transport.make_reader(), itertools.count()

    def decode() -> None:
        number = next(numbers)
        reader.picture(reader.take(stamped(images[number % len(images)], number)), seen_size)

    return reading, _cost_of(decode)


def _cost_of_another_model(size: Size) -> tuple[float, float]:
    """Return the processor time of loading a model and warming it up, and of the swap [ms]."""
    loading = _cost_of(lambda: warm_up(load_segmenter('stmask_lite', 'cpu'), [size]), repeats=3)
    other = free_segmenter()
    with running(Case(size[1], size[0], 'raw', 1)) as node:
        return loading, _cost_of(lambda: node.adopt(other))


def _cost_of(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median processor time of a call [ms]."""
    times = []
    for _ in range(repeats):
        before = time.process_time()
        call()
        times.append(1e3 * (time.process_time() - before))
    return statistics.median(times)


def print_views(sizes: Sequence[tuple[int, int]]) -> None:
    """Print the processor time of each view of eight instances [ms]."""
    header, names = Header(frame_id='camera'), ('person', 'bicycle', 'dog', 'car')
    print('processor time of a view [ms]\n      size  overlay     JPEG outlines   marker')
    for width, height in sizes:
        result = ready_result(height, width)
        picture = cv2.resize(BuiltInClip().frame(0.0), (width, height))
        drawn = draw_overlay(picture, result, names)
        lines = outlines(result)
        costs = [_cost_of(call) for call in (
            functools.partial(draw_overlay, picture, result, names),
            functools.partial(compressed_from_bgr, drawn, header),
            functools.partial(outlines, result),
            functools.partial(outlines_message, result, header, lines))]
        print(f'{width:5}x{height:<4} ' + ' '.join(f'{cost:8.2f}' for cost in costs), flush=True)


def prepare() -> None:
    """Set this process up as a node's is; what it has begun ends with it, also by a signal."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    keep_freed_memory()
    use_large_message_profile()


def free_segmenter() -> FreeSegmenter:
    """Return what nodes of this process load as their model from now on."""
    segmenter = FreeSegmenter(load_model('stmask_lite'), torch.device('cpu'), TrackerConfig())
    node_module.load_segmenter = lambda *_, **_named: segmenter
    return segmenter


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cases, print and write the table."""
    options = _parser().parse_args(arguments)
    cases = [
        Case(*size, transport, cameras, chosen) for size, transport, cameras, chosen
        in itertools.product(options.sizes, options.transports, options.cameras, options.chosen)
    ]
    prepare()
    if options.send:
        send(cases[0], options.rate)
        return
    if options.views:
        print_views([*options.sizes, (3840, 2160)])
        return
    segmenter = free_segmenter()
    rows = []
    print('processor time of an image [ms], and of a second without any [ms]\n'
          '      size  transport  cameras  chosen     node = reading + decoding +  rest   target '
          '   idle')
    for case in cases:
        cost = measure(case, segmenter, options)
        rows.append(asdict(case) | asdict(cost))
        print(f'{case.width:5}x{case.height:<4} {case.transport:>10} {case.cameras:8} '
              f'{case.chosen:7} '
              f'{cost.node:8.2f} {cost.reading:9.2f} {cost.decoding:10.2f} {cost.rest:7.2f} '
              f'{TARGETS.get((case.width, case.height), float("nan")):8.1f} {cost.idle:7.2f}',
              flush=True)
    print('      size  everywhere   region  class_image  confidence_image  segment  '
          'load_model  swap')
    wishes = []
    for width, height in options.sizes:
        wish = Wishes.measured(width, height, segmenter)
        wishes.append({'width': width, 'height': height} | asdict(wish))
        print(f'{width:5}x{height:<4} {wish.everywhere:10.3f} {wish.region:8.3f} '
              f'{wish.class_image:12.3f} {wish.confidence_image:17.3f} {wish.segment:8.3f} '
              f'{wish.load:11.0f} {wish.swap:5.2f}',
              flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    report = {'machine': platform.platform(), 'python': platform.python_version(),
              'load_average': os.getloadavg()[0], 'rate': options.rate, 'rows': rows,
              'wishes': wishes}
    (options.output / 'node.json').write_text(json.dumps(report, indent=2) + '\n')


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition('x')
    return int(width), int(height)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[1])
    parser.add_argument('--sizes', nargs='+', type=_size, default=tuple(TARGETS))
    parser.add_argument('--transports', nargs='+', default=('raw', 'compressed'))
    parser.add_argument('--cameras', nargs='+', type=int, default=(1, 4))
    parser.add_argument(
        '--chosen', nargs='+', type=int, default=(0,), help='objects chosen of each camera')
    parser.add_argument('--rate', type=float, default=10.0, help='images a second and camera')
    parser.add_argument('--seconds', type=float, default=10.0, help='to measure each case')
    parser.add_argument('--views', action='store_true', help='only the cost of the pictures')
    parser.add_argument('--send', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--output', type=Path, default=Path('out'))
    return parser


if __name__ == '__main__':
    main()
