# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""One camera's part of the node: its topics in and out, its mailbox, stream and health."""

from __future__ import annotations

import itertools
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from stmask_ros.images.reading import ImageReader
from stmask_ros.node.camera_look import CameraLook
from stmask_ros.node.diagnostics import CameraSituation, NodeSituation, Reporter
from stmask_ros.node.health import HealthMonitor
from stmask_ros.node.image_processor import CameraMessage, CameraPipeline
from stmask_ros.node.outputs import Outputs
from stmask_ros.node.selection_requests import SelectionRequests
from stmask_ros.node.tracing import Tracer
from stmask_ros.ros.image_transports import ImageTransport
from stmask_ros.ros.mailbox import Mailbox
from stmask_ros.ros.messages import stamp_of
from stmask_ros.ros.publisher_advice import PublisherAdviser
from stmask_ros.ros.receiver import Receiver
from stmask_ros.ros.topic_names import transport_topic
from stmask_ros.tracking.segmenter import VideoSegmenter
from stmask_ros.tracking.stream import Stream


class Channel:
    """
    What belongs to one camera.

    advertise() makes its topics, begin() a stream, connect() receives images; withdraw() and
    disconnect() undo them.
    prefix: comes before the names of its topics and services.
    enabled: while False, images are dropped and counted.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        mailbox: Mailbox[CameraMessage],
        tracer: Tracer,
        transport: ImageTransport,
    ) -> None:
        """
        Prepare.

        name: of the camera; '' for the only one, whose topics have no prefix.
        mailbox: where received images go. transport: by which they come.
        Raises TopicError if remapping leaves open which topic that is.
        """
        self.prefix = f'{name}/' if name else ''
        self.enabled = True
        self._node = node
        self._name = name
        self._mailbox = mailbox
        self._tracer = tracer
        self._transport = transport
        # As the node's rules for remapping find it: they are applied where it is used, once.
        self._topic = transport_topic(node, f'{self.prefix}image', transport.name)
        self._reader: ImageReader = transport.make_reader()
        self._look = CameraLook(node, name, self.prefix)
        self._selection = SelectionRequests(node, self.prefix)
        self._next_epoch = itertools.count(1).__next__
        self._health = HealthMonitor()
        self._reporter = Reporter(time.monotonic())
        self._outputs: Outputs | None = None
        self._stream: Stream | None = None
        self._receiver: Receiver[Any] | None = None
        self._adviser: PublisherAdviser | None = None

    def advertise(self, segmenter: VideoSegmenter) -> None:
        """Make the topics for the results of a segmenter; raises TopicError."""
        self._outputs = Outputs(self._node, segmenter, self.prefix)
        self._selection.advertise()

    def withdraw(self) -> None:
        """Take the topics back, if they are there."""
        if self._outputs is not None:
            self._outputs.destroy()
        self._outputs = None
        self._selection.withdraw()

    def destroy(self) -> None:
        """Take back what lives as long as the node, and is not the node's to take back."""
        self._selection.destroy()

    def begin(self, segmenter: VideoSegmenter) -> CameraPipeline:
        """Begin a stream in a new epoch, and return what a worker needs to answer its images."""
        assert self._outputs is not None
        self._stream = Stream(segmenter, self._next_epoch)
        self._health = HealthMonitor()
        self._reader = self._transport.make_reader()
        self._selection.begin()
        return CameraPipeline(
            self._name, self._mailbox, self._reader.picture, self._stream.scaled_size,
            self._stream, self._outputs, self._health, self._look, self._selection,
        )

    def adopt(self, segmenter: VideoSegmenter) -> None:
        """Go over to another segmenter, in a new epoch if there is a stream."""
        if self._stream is not None:
            self._stream.adopt(segmenter)
        if self._outputs is not None:
            self._outputs.adopt(segmenter)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the image processed last [pixel]; zeros without any."""
        return self._stream.image_size if self._stream is not None else (0, 0)

    def connect(self) -> None:
        """Receive images from now on; raises TopicError."""
        self._look.connect()
        transport = self._transport
        profile = QoSProfile(depth=transport.depth, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._receiver = Receiver(
            self._node, transport.kind, self._topic, self._on_image, profile, self._reader.miss
        )
        self._adviser = PublisherAdviser(self._node, self._topic, transport.type_name, profile)
        self._node.get_logger().info(f'waiting for images on {self._receiver.topic_name}')

    def disconnect(self) -> None:
        """Receive nothing any more, and forget the stream with what was measured of it."""
        self._look.disconnect()
        if self._receiver is not None:
            self._receiver.close()
        self._receiver = self._stream = self._adviser = None
        self._selection.end()
        # A worker whose step goes on measures for itself.
        self._health = HealthMonitor()

    def reset(self) -> bool:
        """Let the next image start a new epoch; False if there is no stream."""
        if self._stream is None:
            return False
        self._stream.reset()
        return True

    def report(self, situation: NodeSituation, now: float) -> DiagnosticStatus:
        """Return the camera's part of a diagnostic report at `now` [s, steady clock]."""
        topic = self._node.resolve_topic_name(self._topic)
        camera = CameraSituation(
            name=self._name or 'segmenter',
            enabled=self.enabled,
            topic=topic,
            publishers=self._node.count_publishers(topic),
            incompatible=self._adviser.check() if self._adviser else [],
            counts=self._mailbox.counts(),
            health=self._health.snapshot(),
            selection=self._selection.counts(),
        )
        return self._reporter.report(situation, camera, now)

    def _on_image(self, message: Any) -> None:
        received = time.monotonic_ns()
        if not self.enabled:
            self._reader.miss()
            self._mailbox.refuse('disabled')
            return
        taken = self._reader.take(message)
        self._mailbox.put(taken, received)
        self._tracer.span('receipt', received, time.monotonic_ns(), {
            'camera': self._name, 'stamp': stamp_of(taken.header),
        })
