"""One camera's part of the node: its topics in and out, its mailbox, stream and health."""

from __future__ import annotations

import itertools
import time

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from stmask_ros.images import compressed_picture, raw_picture
from stmask_ros.node.diagnostics import CameraSituation, NodeSituation, Reporter
from stmask_ros.node.health import HealthMonitor
from stmask_ros.node.image_processor import CameraMessage, CameraPipeline
from stmask_ros.node.outputs import Outputs
from stmask_ros.node.tracing import Tracer
from stmask_ros.ros.mailbox import Mailbox
from stmask_ros.ros.messages import stamp_of
from stmask_ros.ros.publisher_advice import PublisherAdviser
from stmask_ros.ros.receiver import Receiver
from stmask_ros.ros.topic_names import compressed_topic
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
        compressed: bool,
    ) -> None:
        """
        Prepare.

        name: of the camera; '' for the only one, whose topics have no prefix.
        mailbox: where received images go. compressed: whether to receive compressed ones.
        Raises TopicError if remapping leaves open which topic that is.
        """
        self.prefix = f'{name}/' if name else ''
        self.enabled = True
        self._node = node
        self._name = name
        self._mailbox = mailbox
        self._tracer = tracer
        self._compressed = compressed
        image = f'{self.prefix}image'
        # As the node's rules for remapping find it: they are applied where it is used, once.
        self._topic = compressed_topic(node, image) if compressed else image
        self._next_epoch = itertools.count(1).__next__
        self._health = HealthMonitor()
        self._reporter = Reporter(time.monotonic())
        self._outputs: Outputs | None = None
        self._stream: Stream | None = None
        self._receiver: Receiver[CameraMessage] | None = None
        self._adviser: PublisherAdviser | None = None

    def advertise(self, segmenter: VideoSegmenter) -> None:
        """Make the topics for the results of a segmenter; raises TopicError."""
        self._outputs = Outputs(self._node, segmenter, self.prefix)

    def withdraw(self) -> None:
        """Take the topics back, if they are there."""
        if self._outputs is not None:
            self._outputs.destroy()
        self._outputs = None

    def begin(self, segmenter: VideoSegmenter) -> CameraPipeline:
        """Begin a stream in a new epoch, and return what a worker needs to answer its images."""
        assert self._outputs is not None
        self._stream = Stream(segmenter, self._next_epoch)
        self._health = HealthMonitor()
        convert = compressed_picture if self._compressed else raw_picture
        return CameraPipeline(
            self._name, self._mailbox, convert, segmenter.scaled_size, self._stream, self._outputs,
            self._health,
        )

    def connect(self) -> None:
        """Receive images from now on; raises TopicError."""
        profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        kind = CompressedImage if self._compressed else Image
        self._receiver = Receiver(self._node, kind, self._topic, self._on_image, profile)
        self._adviser = PublisherAdviser(
            self._node, self._topic, f'sensor_msgs/msg/{kind.__name__}', profile
        )
        self._node.get_logger().info(f'waiting for images on {self._receiver.topic_name}')

    def disconnect(self) -> None:
        """Receive nothing any more, and forget the stream with what was measured of it."""
        if self._receiver is not None:
            self._receiver.close()
        self._receiver = self._stream = self._adviser = None
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
        )
        return self._reporter.report(situation, camera, now)

    def _on_image(self, message: CameraMessage) -> None:
        received = time.monotonic_ns()
        if self.enabled:
            self._mailbox.put(message, received)
        else:
            self._mailbox.refuse('disabled')
        self._tracer.span('receipt', received, time.monotonic_ns(), {
            'camera': self._name, 'stamp': stamp_of(message.header),
        })
