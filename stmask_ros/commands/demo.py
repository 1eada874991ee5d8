# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The demo: camera and segmenter as real nodes in processes of their own, recorded and shown."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

import numpy as np
import rclpy
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from sensor_msgs.msg import CompressedImage, Image

from stmask_ros.bags.files import (
    COMPRESSED_IMAGE,
    IMAGE,
    INSTANCES,
    LABEL_INFO,
    BagError,
    read_bag,
)
from stmask_ros.bags.recording import (
    Recording,
    RecordingError,
    check_recording,
    contact_sheet,
    pictures,
    rate_of,
    write_picture,
    write_video,
)
from stmask_ros.commands.demo_processes import (
    DemoError,
    HealthListener,
    check_running,
    end_of,
    running_process,
    spin_until,
)
from stmask_ros.commands.look_options import look_parameters
from stmask_ros.families.errors import ModelError
from stmask_ros.models.checkpoint import find_model, read_description
from stmask_ros.msg import LabelInfo, TrackedInstanceArray
from stmask_ros.output_files import OutputError, output_folder
from stmask_ros.ros.recorder import Recorder, Topic
from stmask_ros.ros.transport import use_large_message_profile

_IMAGES = '/camera/image_raw'
_INSTANCES = '/segmenter/instances'
_OVERLAY = '/segmenter/overlay'
_LABEL_INFO = '/segmenter/label_info'
_START_SECONDS = 120.0
_IDLE_SECONDS = 60.0


def run_demo(arguments: Namespace) -> int:
    """
    Run the demo; return 0 if every recorded message kept its promises, else 1.

    arguments: out, overwrite, source, model, device, rate, birth_threshold and those of
    look_options, as stmask_ros.cli defines them.
    """
    console = Console()
    out = Path(arguments.out)
    use_large_message_profile()
    # A domain of its own: no robot on the network sees the demo, nor the demo it.
    os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    inputs = [Path(arguments.source)] if arguments.source else []
    try:
        untrained = read_description(find_model(arguments.model)).weights is None
        with output_folder(out, 'demo', arguments.overwrite, inputs) as stage:
            health = _run_nodes(arguments, stage, console)
            recording = check_recording(stage / 'bag', f'{_IMAGES}/compressed', _INSTANCES)
            _draw(stage)
    except (BagError, DemoError, ModelError, OutputError, RecordingError) as error:
        console.print(f'[red]{escape(str(error))}')
        return 1
    console.print(_summary(recording, health))
    if untrained:
        console.print(
            '[yellow]The weights are freshly initialised, not trained: masks, classes and scores '
            'mean nothing. This run shows the machinery only.'
        )
    console.print(f'Video {out}/overlay.mp4, pictures {out}/overlay.png, bag {out}/bag')
    return 0


def _run_nodes(arguments: Namespace, out: Path, console: Console) -> dict[str, str]:
    """Run both nodes until the source ends; return the segmenter's last report."""
    segmenter, camera = _segmenter_command(arguments), _camera_command(arguments)
    progress = Progress(
        SpinnerColumn(), TextColumn('{task.description}'), TimeElapsedColumn(), console=console
    )
    rclpy.init(args=[])
    node = rclpy.create_node('demo')
    listener = HealthListener(node)
    recorder = Recorder(node, out / 'bag', [
        Topic(f'{_IMAGES}/compressed', CompressedImage, COMPRESSED_IMAGE),
        Topic(_INSTANCES, TrackedInstanceArray, INSTANCES),
        Topic(_OVERLAY, Image, IMAGE),
        Topic(_LABEL_INFO, LabelInfo, LABEL_INFO, latched=True),
    ])
    try:
        with progress, running_process(segmenter, out / 'segmenter.log') as running:
            task = progress.add_task('Loading the model')
            log = out / 'segmenter.log'
            spin_until(node, lambda: listener.active, running, _START_SECONDS, log)
            with running_process(camera, out / 'camera.log') as playing:
                while playing.poll() is None:
                    rclpy.spin_once(node, timeout_sec=0.1)
                    progress.update(task, description=_progress_text(recorder))
                    check_running(running, log)
                if playing.returncode:
                    raise DemoError(f'the camera failed:\n{end_of(out / "camera.log")}')
            listener.forget()
            spin_until(node, lambda: listener.idle, running, _IDLE_SECONDS, log)
        if not recorder.counts[_INSTANCES]:
            raise DemoError(
                f'no image was segmented: {listener.facts["message"]}; the segmenter said:\n'
                f'{end_of(log)}'
            )
        return listener.facts
    finally:
        recorder.close()
        node.destroy_node()
        rclpy.try_shutdown()


def _segmenter_command(arguments: Namespace) -> list[str]:
    return [
        '-m', 'stmask_ros.node.segmenter_node', '--ros-args', '-r', f'image:={_IMAGES}',
        '-p', 'autostart:=true', '-p', f'model:={arguments.model}',
        '-p', f'device:={arguments.device}',
        '-p', f'birth_threshold:={float(arguments.birth_threshold)}',
        *look_parameters(arguments),
    ]


def _camera_command(arguments: Namespace) -> list[str]:
    return [
        '-m', 'stmask_ros.camera.node', '--ros-args', '-r', '__ns:=/camera',
        '-p', f"source:='{arguments.source}'", '-p', f"bag_topic:='{arguments.topic}'",
        '-p', f'rate:={float(arguments.rate)}',
        '-p', 'loop:=false', '-p', 'wait_for_subscribers:=2',
    ]


def _progress_text(recorder: Recorder) -> str:
    images = recorder.counts[f'{_IMAGES}/compressed']
    return f'{images} images sent, {recorder.counts[_INSTANCES]} segmented'


def _draw(out: Path) -> None:
    rate = rate_of(read_bag(out / 'bag', _INSTANCES))
    write_video(out / 'overlay.mp4', pictures(out / 'bag', _OVERLAY), rate)
    frames = list(pictures(out / 'bag', _OVERLAY))
    if frames:
        write_picture(out / 'overlay.png', contact_sheet(frames))


def _summary(recording: Recording, health: dict[str, str]) -> Table:
    table = Table(title='stmask_ros demo', show_header=False)
    rows = [
        ('model', f'{health.get("model")} on {health.get("device")}'),
        ('images sent by the camera', str(recording.inputs)),
        ('received by the segmenter', health.get('images received', '?')),
        ('processed', health.get('images processed', '?')),
    ]
    rows += [(k, v) for k, v in sorted(health.items()) if k.startswith('dropped: ')]
    rows += [
        ('tracks', str(recording.tracks)),
        ('instances', str(recording.instances)),
        ('messages checked', f'{recording.outputs}, all right'),
    ]
    if recording.outputs:
        p50, p99 = np.percentile(recording.latencies * 1e3, (50, 99))
        rows.append(('latency from stamp, p50 / p99', f'{p50:.0f} / {p99:.0f} ms'))
    for name, value in rows:
        table.add_row(name, value)
    return table
