# SPDX-License-Identifier: Apache-2.0
"""The lifter node: instances and depth in, tracks in space out. Plumbing only."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile

from stmask_ros.lifter.diagnostics import LifterMonitor, LifterReporter, LifterSituation
from stmask_ros.lifter.inputs import LifterInputs
from stmask_ros.lifter.outputs import LifterOutputs
from stmask_ros.lifter.pairing import Pairing
from stmask_ros.lifter.parameters import LifterParameters
from stmask_ros.lifter.transform_sources import (
    MISSING,
    PatientTransforms,
    PoseTransforms,
    Tf2Transforms,
    has_tf2,
)
from stmask_ros.lifter.worker import LifterWorker
from stmask_ros.lifting.pipeline import Geometry, LiftingPipeline
from stmask_ros.ros.destruction import EndedStateMachine, leave_executor, unless_destroyed
from stmask_ros.ros.parameter_rules import ParameterError
from stmask_ros.ros.parameter_server import ParameterServer
from stmask_ros.ros.qos import TopicError, make_publisher

_STOP_TIMEOUT = 5.0
_SUCCESS = TransitionCallbackReturn.SUCCESS
_FAILURE = TransitionCallbackReturn.FAILURE


class LifterNode(LifecycleNode):
    """
    Lifts the newest pair of instances and depth of one camera.

    configure advertises the topics, activate starts, deactivate stops, cleanup takes them back.
    in_use, destroyed: see stmask_ros.ros.destruction.
    """

    def __init__(self, node_name: str = 'lifter', **options: Any) -> None:
        """
        Declare the parameters; ParameterError or TopicError if they are wrong.

        options: of rclpy.node.Node, such as namespace, context and parameter_overrides.
        """
        self.in_use = threading.RLock()
        self.destroyed = False
        self._failure = ''
        self._outputs: LifterOutputs | None = None
        self._inputs: LifterInputs | None = None
        self._worker: LifterWorker | None = None
        self._transforms: Tf2Transforms | PoseTransforms | None = None
        super().__init__(node_name, **options)
        self._server = ParameterServer(self, LifterParameters, lambda _: None)
        settings = self.settings
        if settings.publish_tf and not has_tf2():
            raise ParameterError(f'publish_tf: {MISSING}')
        self._pairing = Pairing(round(settings.slop * 1e9), settings.queue)
        self._monitor = LifterMonitor()
        self._reporter = LifterReporter(time.monotonic())
        self._diagnostics = make_publisher(
            self, DiagnosticArray, '/diagnostics', QoSProfile(depth=1))
        # Reports go on while simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(settings.diagnostics_period, self._report, clock=steady)

    @property
    def settings(self) -> LifterParameters:
        """The values of the parameters now."""
        return self._server.values

    @property
    def autostart(self) -> bool:
        """Whether to start without a lifecycle manager."""
        return self.settings.autostart

    # The lifecycle.

    @unless_destroyed
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Advertise the topics; FAILURE if one of them is impossible."""
        try:
            self._outputs = LifterOutputs(self, lambda: self.settings)
        except Exception as error:
            return self._fail('not configured', error)
        self._failure = ''
        for notice in self._notices():
            self.get_logger().warning(notice)
        return super().on_configure(state)

    @unless_destroyed
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start without tracks; FAILURE without the topics."""
        try:
            self._start()
        except Exception as error:
            self.stop(_STOP_TIMEOUT)
            return self._fail('not activated', error)
        self._failure = ''
        return super().on_activate(state)

    @unless_destroyed
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop; the pair in work is dropped."""
        self.stop(_STOP_TIMEOUT)
        self._failure = ''
        return super().on_deactivate(state)

    @unless_destroyed
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take the topics back."""
        self._free()
        self._failure = ''
        return super().on_cleanup(state)

    @unless_destroyed
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from any state."""
        self.stop(_STOP_TIMEOUT)
        self._free()
        self._failure = ''
        return super().on_shutdown(state)

    @unless_destroyed
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured after a transition that failed halfway."""
        self.stop(_STOP_TIMEOUT)
        self._free()
        self._failure = 'a transition failed halfway, see the log: configure the node again'
        return _SUCCESS

    def start(self) -> bool:
        """Configure and activate without a lifecycle manager; return whether that succeeded."""
        return self.trigger_configure() == _SUCCESS and self.trigger_activate() == _SUCCESS

    def stop(self, timeout: float) -> bool:
        """Lift no more; False if the worker still runs after `timeout` [s]."""
        if self._inputs is not None:
            self._inputs.close()
        if self._transforms is not None:
            self._transforms.close()
        worker, self._worker, self._inputs, self._transforms = self._worker, None, None, None
        ended = worker is None or worker.stop(timeout)
        # What is told from now on is not of the pairs before.
        self._monitor = LifterMonitor()
        return ended

    def destroy_node(self) -> None:
        """
        Stop and take the node off the network; a second time it does nothing.

        Any thread may call it, in any state.
        """
        with self.in_use:
            if self.destroyed:
                return
            self.destroyed = True
            self.stop(_STOP_TIMEOUT)
            self._free()
            leave_executor(self)
            super().destroy_node()
            # rclpy leaves the state machine to the garbage collector, and it alone keeps the DDS
            # participant, with its shared memory, alive.
            self._state_machine = cast(Any, EndedStateMachine())

    def _start(self) -> None:
        assert self._outputs is not None
        settings = self.settings
        geometry = settings.geometry()
        if settings.transforms == 'pose':
            self._transforms = PoseTransforms(self, settings.fixed_frame)
        elif has_tf2():
            self._transforms = Tf2Transforms(self)
        else:
            geometry = Geometry('', geometry.rectified, geometry.extrinsics)
        known = self._transforms and PatientTransforms(
            self._transforms, lambda: self.settings.transform_wait)
        pipeline = LiftingPipeline(settings.sensor(), settings.motion(), geometry, known)
        self._inputs = LifterInputs(self, self._pairing, settings.input)
        self._worker = LifterWorker(
            self, self._pairing, pipeline, self._outputs, self._monitor,
            self._inputs.calibrations)
        self._worker.start()
        self.get_logger().info(f'waiting for pairs on {self._inputs.topics[0]} and '
                               f'{self._inputs.topics[1]}')

    def _free(self) -> None:
        if self._outputs is not None:
            self._outputs.destroy()
        self._outputs = None

    def _fail(self, what: str, error: Exception) -> TransitionCallbackReturn:
        """Say why a transition failed, in the log and from now on in the diagnostics."""
        known = isinstance(error, TopicError)
        self._failure = f'{what}: {error if known else repr(error)}'
        self.get_logger().error(self._failure)
        return _FAILURE

    def _notices(self) -> list[str]:
        settings = self.settings
        if not settings.fixed_frame:
            return []
        if settings.transforms == 'tf' and not has_tf2():
            return [f"no transforms to '{settings.fixed_frame}': {MISSING}. Everything is in the "
                    "image's optical frame, and velocities are relative to the camera"]
        return []

    def _frame(self) -> str:
        settings = self.settings
        fixed = settings.fixed_frame if not self._notices() else ''
        return fixed or "the image's optical frame"

    def _report(self) -> None:
        with self.in_use:
            if not self.destroyed:
                self._diagnostics.publish(self._diagnosed())

    def _diagnosed(self) -> DiagnosticArray:
        topics = self._inputs.topics if self._inputs is not None else []
        instances, depth = self._pairing.counts()
        situation = LifterSituation(
            name=self.get_fully_qualified_name(),
            state=self._state_machine.current_state[1],
            failure=self._failure,
            notices=self._notices(),
            frame=self._frame(),
            topics={topic: self.count_publishers(topic) for topic in topics},
            instances=instances,
            depth=depth,
            health=self._monitor.snapshot(),
        )
        report = DiagnosticArray(status=[self._reporter.report(situation, time.monotonic())])
        report.header.stamp = self.get_clock().now().to_msg()
        return report
