"""The segmenter node: camera images in, tracked instance masks out. Plumbing only."""

from __future__ import annotations

import itertools
import time

import torch
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool, Trigger

from stmask_ros.images import compressed_to_bgr, to_bgr
from stmask_ros.node.health import HealthMonitor, Reporter, Situation
from stmask_ros.node.mailbox import Mailbox
from stmask_ros.node.outputs import Outputs
from stmask_ros.node.parameters import Parameters, ParameterServer
from stmask_ros.node.qos_advice import QosAdviser
from stmask_ros.node.worker import CameraMessage, Worker
from stmask_ros.tracking.segmenter import ModelError, VideoSegmenter, load_segmenter
from stmask_ros.tracking.stream import Stream

_STEP_TIMEOUT = 10.0

_UNTRAINED = (
    'the weights are freshly initialised, not trained: the masks, classes and scores mean nothing'
)
_SUCCESS = TransitionCallbackReturn.SUCCESS
_FAILURE = TransitionCallbackReturn.FAILURE


class SegmenterNode(LifecycleNode):
    """
    Segments and tracks the newest image of a camera.

    configure loads the model, activate starts, deactivate stops, cleanup frees the model.
    """

    def __init__(self) -> None:
        """Declare the parameters; ParameterError if their values are wrong."""
        super().__init__('segmenter')
        self._server = ParameterServer(self, self._on_parameters)
        self._next_epoch = itertools.count(1).__next__
        self._mailbox: Mailbox[CameraMessage] = Mailbox()
        self._health = HealthMonitor()
        self._enabled = True
        self._failure = ''
        self._segmenter: VideoSegmenter | None = None
        self._outputs: Outputs | None = None
        self._stream: Stream | None = None
        self._worker: Worker | None = None
        self._subscription: Subscription[CameraMessage] | None = None
        self._topic = self._image_topic()
        self.create_service(Trigger, '~/reset', self._on_reset)
        self.create_service(SetBool, '~/set_enabled', self._on_set_enabled)
        self._reporter = Reporter(time.monotonic())
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 1)
        # Reports go on while simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(self.settings.diagnostics_period, self._report, clock=steady)

    @property
    def settings(self) -> Parameters:
        """The values of the parameters now."""
        return self._server.values

    # The lifecycle.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and advertise the topics; FAILURE if the model or device is missing."""
        settings = self.settings
        if settings.torch_threads:
            torch.set_num_threads(settings.torch_threads)
        try:
            segmenter = load_segmenter(settings.model, settings.device, settings.tracker())
        except Exception as error:
            known = isinstance(error, ModelError)
            reason = str(error) if known else f'{type(error).__name__}: {error}'
            self._failure = f'not configured: {reason}'
            self.get_logger().error(self._failure)
            return _FAILURE
        self._failure = ''
        self._segmenter = segmenter
        self._outputs = Outputs(self, segmenter)
        self._outputs.publish_label_info(settings.score_threshold)
        self.get_logger().info(f'model {segmenter.model_name} on {segmenter.device}')
        for notice in self._notices():
            self.get_logger().warning(notice)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start a new epoch and answer images."""
        assert self._segmenter is not None
        assert self._outputs is not None
        compressed = self.settings.image_transport == 'compressed'
        self._stream = Stream(self._segmenter, self._next_epoch)
        self._worker = Worker(
            self, self._mailbox, compressed_to_bgr if compressed else to_bgr, self._stream,
            self._outputs, self._health, lambda: self.settings,
        )
        self._worker.start()
        # rclpy writes the overrides into the profile it is given.
        profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        adviser = QosAdviser(self, self._topic, profile)
        self._subscription = self.create_subscription(
            CompressedImage if compressed else Image, self._topic, self._on_image, profile,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=adviser.on_event),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self.get_logger().info(f'waiting for images on {self._subscription.topic_name}')
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop answering; the image in work is dropped."""
        self.stop(_STEP_TIMEOUT)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and take the topics back."""
        self._free()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from any state."""
        self.stop(_STEP_TIMEOUT)
        self._free()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured after a transition that failed halfway."""
        self.stop(_STEP_TIMEOUT)
        self._free()
        return _SUCCESS

    def start(self) -> bool:
        """Configure and activate without a lifecycle manager; return whether that succeeded."""
        return self.trigger_configure() == _SUCCESS and self.trigger_activate() == _SUCCESS

    def stop(self, timeout: float) -> bool:
        """Answer no more images; False if a step still runs after `timeout` [s]."""
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
        worker, self._worker = self._worker, None
        self._subscription = self._stream = None
        return worker is None or worker.stop(timeout)

    def _free(self) -> None:
        if self._outputs is not None:
            self._outputs.destroy()
        self._outputs = self._segmenter = None
        try:
            torch.cuda.empty_cache()
        except RuntimeError as error:  # a lost device gives nothing back
            self.get_logger().error(f'the memory of the device was not freed: {error}')

    def destroy_node(self) -> None:
        """Take the node off the network, even if a step still holds a reference to it."""
        super().destroy_node()
        # rclpy leaves the state machine to the garbage collector, and it alone keeps the DDS
        # participant, with its shared memory, alive.
        del self._state_machine

    # Callbacks.

    def _on_image(self, message: CameraMessage) -> None:
        if self._enabled:
            self._mailbox.put(message, time.monotonic_ns())
        else:
            self._mailbox.refuse('disabled')

    def _on_parameters(self, settings: Parameters) -> None:
        if self._outputs is not None:
            self._outputs.publish_label_info(settings.score_threshold)

    def _on_reset(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        response.success = self._stream is not None
        response.message = 'not active: there is nothing to reset'
        if self._stream is not None:
            self._stream.reset()
            response.message = 'the next image starts a new epoch, and track ids start again'
        return response

    def _on_set_enabled(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        self._enabled = request.data
        response.success = True
        response.message = 'enabled' if self._enabled else 'disabled: images are dropped'
        return response

    # Self-description.

    def _image_topic(self) -> str:
        """Return the full name; remapping `image` moves the compressed topic along with it."""
        base = self.resolve_topic_name('image')
        return f'{base}/compressed' if self.settings.image_transport == 'compressed' else base

    def _notices(self) -> list[str]:
        segmenter = self._segmenter
        if segmenter is None:
            return []
        notices = [_UNTRAINED] if segmenter.freshly_initialised else []
        if self.settings.device == 'auto' and segmenter.device.type == 'cpu':
            notices.append('device auto found no CUDA: the network runs on the CPU, slowly')
        return notices

    def _report(self) -> None:
        segmenter, subscription = self._segmenter, self._subscription
        topic = subscription.topic_name if subscription else self._topic
        situation = Situation(
            name=self.get_fully_qualified_name(),
            state=self._state_machine.current_state[1],
            failure=self._failure,
            enabled=self._enabled,
            model=segmenter.model_name if segmenter else '',
            device=str(segmenter.device) if segmenter else '',
            notices=self._notices(),
            topic=topic,
            publishers=self.count_publishers(topic),
            counts=self._mailbox.counts(),
            health=self._health.snapshot(),
        )
        stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(self._reporter.report(situation, time.monotonic(), stamp))
