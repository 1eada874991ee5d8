# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A segmenter that receives video, and its cameras: a process each besides the test's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from message_packages import environment
from segmenter_process import RELIABLE, UNTRAINED, SegmenterProcess
from sensor_msgs.msg import Image

SENDER = Path(__file__).with_name('video_sender.py')


class VideoCamera:
    """Sends packets, and keeps what the node shows: its overlay, without any instance on it."""

    def __init__(
        self, segmenter: SegmenterProcess, sender: subprocess.Popen[str], name: str
    ) -> None:
        """Listen to the overlay; name: of the camera, '' for the only one."""
        self.segmenter = segmenter
        self.overlays: dict[int, np.ndarray] = {}
        self._sender = sender
        segmenter.client.create_subscription(
            Image, f'/{segmenter.name}/{name}{"/" * bool(name)}overlay', self._on_overlay,
            RELIABLE)

    def _on_overlay(self, image: Image) -> None:
        self.overlays[image.header.stamp.sec] = np.frombuffer(image.data, np.uint8).reshape(
            image.height, image.width, 3)

    def publish(self, number: int, fault: str = '') -> None:
        """Send a packet."""
        assert self._sender.stdin is not None
        self._sender.stdin.write(f'{number} {fault}\n')
        self._sender.stdin.flush()

    def send(self, number: int, fault: str = '') -> None:
        """Send a packet and wait until the node has received it."""
        before = self.segmenter.counts()
        self.publish(number, fault)
        while self.segmenter.counts().received < before.received + 1:
            pass

    def close(self) -> None:
        """Let the sender end."""
        assert self._sender.stdin is not None
        self._sender.stdin.close()

    def connect(self) -> None:
        """Wait until the packets of the camera arrive: send the first key frame until one does."""
        while not self.overlays:
            self.publish(0)
            for _ in range(10):
                self.segmenter.executor.spin_once(timeout_sec=0.1)
        self.segmenter.counts()


@contextmanager
def video_camera(name: str, kind: str, codec: str) -> Iterator[VideoCamera]:
    """Return a camera whose packets a running segmenter answers; skip where one is missing."""
    with video_cameras(name, kind, codec, ['']) as (camera,):
        yield camera


@contextmanager
def video_cameras(
    name: str, kind: str, codec: str, cameras: Sequence[str], *arguments: str
) -> Iterator[list[VideoCamera]]:
    """
    Return cameras whose packets one running segmenter answers; skip where one is missing.

    cameras: their names, '' for the only one. arguments: of the segmenter; images of `left` are
    sent on /NAME/left/KIND, of the only camera on /NAME/camera/KIND.
    """
    variables = environment()
    with ExitStack() as running:
        segmenter = running.enter_context(SegmenterProcess(
            name, '-p', f'model:={UNTRAINED}', '-p', f'image_transport:={kind}', '-p',
            'autostart:=true', '-p', 'score_threshold:=1.0', '-p', 'max_gap:=0.0', *arguments,
            env=variables))
        segmenter.wait_for_log('waiting for images')
        made = [VideoCamera(segmenter, running.enter_context(subprocess.Popen(
            [sys.executable, str(SENDER), kind, f'/{name}/{camera or "camera"}/{kind}', codec],
            stdin=subprocess.PIPE, text=True, env=variables, stderr=subprocess.DEVNULL,
        )), camera) for camera in cameras]
        for camera in made:
            camera.connect()
        yield made
        for camera in made:
            camera.close()
