"""The segmenter node: camera images in, tracked instance masks out. Plumbing only."""

from __future__ import annotations

import gc
import threading
import time
from contextlib import ExitStack
from typing import Any, cast

import torch
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile

from stmask_ros.memory import give_back_freed_memory
from stmask_ros.node.channel import Channel
from stmask_ros.node.diagnostics import NodeSituation
from stmask_ros.node.image_processor import CameraMessage
from stmask_ros.node.outputs import Labels
from stmask_ros.node.parameters import Parameters
from stmask_ros.node.services import Services
from stmask_ros.node.tracing import Tracer
from stmask_ros.node.worker import Worker
from stmask_ros.ros.destruction import EndedStateMachine, leave_executor, unless_destroyed
from stmask_ros.ros.mailbox import MailboxSet
from stmask_ros.ros.parameter_server import ParameterServer
from stmask_ros.ros.qos import TopicError, make_publisher
from stmask_ros.tracking.segmenter import ModelError, VideoSegmenter, load_segmenter

_STEP_TIMEOUT = 10.0

_UNTRAINED = (
    'the weights are freshly initialised, not trained: the masks, classes and scores mean nothing'
)
_SLOWLY = ', since device auto found no CUDA: it is slow there'
_SUCCESS = TransitionCallbackReturn.SUCCESS
_FAILURE = TransitionCallbackReturn.FAILURE


class SegmenterNode(LifecycleNode):
    """
    Segments and tracks the newest image of each of its cameras.

    configure loads the model, activate starts, deactivate stops, cleanup frees the model.
    Several can be spun in one process, by any executor; each may be destroyed at any time.

    in_use, destroyed: see stmask_ros.ros.destruction.
    """

    def __init__(self, node_name: str = 'segmenter', **options: Any) -> None:
        """
        Declare the parameters; ParameterError or TopicError if they are wrong.

        options: of rclpy.node.Node, such as namespace, context and parameter_overrides.
        """
        # Who destroys the node in one thread waits for what another one does with it.
        self.in_use = threading.RLock()
        self.destroyed = False
        self._failure = ''
        self._segmenter: VideoSegmenter | None = None
        self._labels: Labels | None = None
        self._worker: Worker | None = None
        self._channels: list[Channel] = []
        self._at_end = ExitStack()
        super().__init__(node_name, **options)
        self._server = ParameterServer(self, Parameters, self._on_parameters)
        self._tracer = Tracer(self.get_logger(), self.get_fully_qualified_name())
        self._at_end.callback(self._tracer.switch, False)
        self._tracer.switch(self.settings.trace)
        # Without names there is one camera, whose topics have no prefix.
        names = self.settings.cameras or ('',)
        self._mailboxes: MailboxSet[CameraMessage] = MailboxSet(len(names))
        compressed = self.settings.image_transport == 'compressed'
        self._channels = [
            Channel(self, name, mailbox, self._tracer, compressed)
            for name, mailbox in zip(names, self._mailboxes.boxes, strict=True)
        ]
        Services(self, '', self._channels)
        for channel in self._channels:
            if channel.prefix:
                Services(self, channel.prefix, [channel])
        self._diagnostics = make_publisher(
            self, DiagnosticArray, '/diagnostics', QoSProfile(depth=1))
        # Reports go on while simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(self.settings.diagnostics_period, self._report, clock=steady)

    @property
    def settings(self) -> Parameters:
        """The values of the parameters now."""
        return self._server.values

    @property
    def autostart(self) -> bool:
        """Whether to start without a lifecycle manager."""
        return self.settings.autostart

    # The lifecycle.

    @unless_destroyed
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and advertise the topics; FAILURE if one of them is impossible."""
        settings = self.settings
        if settings.torch_threads:
            torch.set_num_threads(settings.torch_threads)
        try:
            segmenter = load_segmenter(
                settings.model, settings.device, settings.tracker(), settings.precision,
                settings.engine, self.get_logger().info,
            )
            self._advertise(segmenter)
        except Exception as error:
            self._free()
            return self._fail('not configured', error)
        self._failure = ''
        self._segmenter = segmenter
        hint = _SLOWLY if settings.device == 'auto' and segmenter.device.type == 'cpu' else ''
        self.get_logger().info(
            f'model {segmenter.model_name} on {segmenter.device}{hint}; '
            f'{segmenter.precision} by {segmenter.engine}'
        )
        for notice in self._notices():
            self.get_logger().warning(notice)
        return super().on_configure(state)

    @unless_destroyed
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start a new epoch of each camera and answer images; FAILURE without their topics."""
        assert self._segmenter is not None
        segmenter = self._segmenter
        self._worker = Worker(
            self, self._mailboxes, [channel.begin(segmenter) for channel in self._channels],
            segmenter, self._tracer, lambda: self.settings,
        )
        try:
            self._worker.start()
            for channel in self._channels:
                channel.connect()
        except Exception as error:
            self.stop(_STEP_TIMEOUT)
            return self._fail('not activated', error)
        self._failure = ''
        return super().on_activate(state)

    @unless_destroyed
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop answering; the image in work is dropped."""
        self.stop(_STEP_TIMEOUT)
        self._failure = ''
        return super().on_deactivate(state)

    @unless_destroyed
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and take the topics back."""
        self._free()
        self._failure = ''
        return super().on_cleanup(state)

    @unless_destroyed
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from any state."""
        self.stop(_STEP_TIMEOUT)
        self._free()
        self._failure = ''
        return super().on_shutdown(state)

    @unless_destroyed
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured after a transition that failed halfway."""
        self.stop(_STEP_TIMEOUT)
        self._free()
        self._failure = 'a transition failed halfway, see the log: configure the node again'
        return _SUCCESS

    def start(self) -> bool:
        """Configure and activate without a lifecycle manager; return whether that succeeded."""
        return self.trigger_configure() == _SUCCESS and self.trigger_activate() == _SUCCESS

    def stop(self, timeout: float) -> bool:
        """Answer no more images; False if a step still runs after `timeout` [s]."""
        for channel in self._channels:
            channel.disconnect()
        worker, self._worker = self._worker, None
        return worker is None or worker.stop(timeout)

    def _advertise(self, segmenter: VideoSegmenter) -> None:
        self._labels = Labels(self, segmenter)
        self._labels.publish(self.settings.score_threshold)
        for channel in self._channels:
            channel.advertise(segmenter)

    def _fail(self, what: str, error: Exception) -> TransitionCallbackReturn:
        """Say why a transition failed, in the log and from now on in the diagnostics."""
        known = isinstance(error, (ModelError, TopicError))
        reason = str(error) if known else f'{type(error).__name__}: {error}'
        self._failure = f'{what}: {reason}'
        self.get_logger().error(self._failure)
        return _FAILURE

    def _free(self) -> None:
        for channel in self._channels:
            channel.withdraw()
        if self._labels is not None:
            self._labels.destroy()
        self._labels = self._segmenter = None
        # A model that is part of a reference cycle would stay until some later collection.
        gc.collect()
        try:
            torch.cuda.empty_cache()
        except RuntimeError as error:  # a lost device gives nothing back
            self.get_logger().error(f'the memory of the device was not freed: {error}')
        give_back_freed_memory()

    def destroy_node(self) -> None:
        """
        Stop, free everything and take the node off the network; a second time it does nothing.

        Any thread may call it, in any state. A step that goes on longer than 10 s ends by itself,
        and its result is dropped.
        """
        with self.in_use:
            if self.destroyed:
                return
            self.destroyed = True
            self.stop(_STEP_TIMEOUT)
            self._free()
            self._at_end.close()
            leave_executor(self)
            super().destroy_node()
            # rclpy leaves the state machine to the garbage collector, and it alone keeps the DDS
            # participant, with its shared memory, alive.
            self._state_machine = cast(Any, EndedStateMachine())

    def _on_parameters(self, settings: Parameters) -> None:
        self._tracer.switch(settings.trace)
        with self.in_use:
            if self._labels is not None:
                self._labels.publish(settings.score_threshold)

    def _notices(self) -> list[str]:
        segmenter = self._segmenter
        if segmenter is None:
            return []
        return [_UNTRAINED] if segmenter.freshly_initialised else []

    def _report(self) -> None:
        with self.in_use:
            if not self.destroyed:
                self._diagnostics.publish(self._diagnosed())

    def _diagnosed(self) -> DiagnosticArray:
        segmenter = self._segmenter
        situation = NodeSituation(
            name=self.get_fully_qualified_name(),
            state=self._state_machine.current_state[1],
            failure=self._failure,
            model=segmenter.model_name if segmenter else '',
            sha256=segmenter.model_sha256 if segmenter else '',
            device=str(segmenter.device) if segmenter else '',
            precision=segmenter.precision if segmenter else '',
            engine=segmenter.engine if segmenter else '',
            notices=self._notices(),
            trace=self._tracer.path,
        )
        now = time.monotonic()
        report = DiagnosticArray(
            status=[channel.report(situation, now) for channel in self._channels]
        )
        report.header.stamp = self.get_clock().now().to_msg()
        return report
