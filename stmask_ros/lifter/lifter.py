# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The lifter node: instances and depth in, tracks in space out. Plumbing only."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import LifecycleNode

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
    tf2_buffer,
)
from stmask_ros.lifter.worker import LifterWorker
from stmask_ros.lifting.pipeline import Geometry, LiftingPipeline
from stmask_ros.ros.lifecycle import Lifecycle
from stmask_ros.ros.parameter_rules import ParameterError
from stmask_ros.ros.parameter_server import ParameterServer
from stmask_ros.ros.unknown_parameters import warn_of_unknown_qualities

_STOP_TIMEOUT = 5.0
_OPTICAL = "the image's optical frame, and velocities are relative to the camera"


class LifterNode(LifecycleNode):
    """
    Lifts the newest pair of instances and depth of one camera.

    configure advertises the topics, activate starts, deactivate stops, cleanup takes them back.
    """

    def __init__(self, node_name: str = 'lifter', **options: Any) -> None:
        """
        Declare the parameters; ParameterError or TopicError if they are wrong.

        options: of rclpy.node.Node, such as namespace, context and parameter_overrides.
        """
        self._outputs: LifterOutputs | None = None
        self._inputs: LifterInputs | None = None
        self._worker: LifterWorker | None = None
        self._transforms: Tf2Transforms | PoseTransforms | None = None
        self._tf2_buffer: Any = None
        super().__init__(node_name, **options)
        self.life = Lifecycle(self, self, _STOP_TIMEOUT)
        self._server = ParameterServer(self, LifterParameters, lambda _: None)
        settings = self.settings
        if settings.publish_tf and not has_tf2():
            raise ParameterError(f'publish_tf: {MISSING}')
        self._pairing = Pairing(round(settings.slop * 1e9), settings.queue)
        self._monitor = LifterMonitor()
        self._reporter = LifterReporter(time.monotonic())
        self.life.report_every(settings.diagnostics_period, self.statuses)

    @property
    def settings(self) -> LifterParameters:
        """The values of the parameters now."""
        return self._server.values

    @property
    def autostart(self) -> bool:
        """Whether to start without a lifecycle manager."""
        return self.settings.autostart

    # Its work, see stmask_ros.ros.lifecycle.

    def start(self) -> bool:
        """Configure and activate without a lifecycle manager; return whether that succeeded."""
        return self.life.start()

    def prepare(self) -> None:
        """Advertise the topics."""
        self._outputs = LifterOutputs(self, lambda: self.settings)
        for notice in self._notices():
            self.get_logger().warning(notice)

    def begin(self) -> None:
        """Lift from now on, without tracks."""
        assert self._outputs is not None
        settings = self.settings
        geometry = settings.geometry()
        if settings.transforms == 'pose':
            self._transforms = PoseTransforms(self, settings.fixed_frame)
        elif has_tf2():
            self._tf2_buffer = self._tf2_buffer or tf2_buffer(self)
            self._transforms = Tf2Transforms(self, self._tf2_buffer)
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
        self.get_logger().info(
            f'waiting for pairs on {self._inputs.topics[0]} and {self._inputs.topics[1]}; '
            f'tracks will be in {self._frame()}')
        warn_of_unknown_qualities(self)

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

    def free(self) -> None:
        """Take the topics back."""
        if self._outputs is not None:
            self._outputs.destroy()
        self._outputs = None

    def destroy_node(self) -> None:
        """
        Stop and take the node off the network; a second time it does nothing.

        Any thread may call it, in any state.
        """
        self.life.destroy(super().destroy_node)

    def _notices(self) -> list[str]:
        settings = self.settings
        if not settings.fixed_frame:
            return []
        if settings.transforms == 'tf' and not has_tf2():
            return [f"no transforms to '{settings.fixed_frame}': {MISSING}. Everything is in "
                    f'{_OPTICAL}']
        return []

    def _frame(self) -> str:
        settings = self.settings
        fixed = settings.fixed_frame if not self._notices() else ''
        return fixed or _OPTICAL

    def statuses(self) -> Sequence[DiagnosticStatus]:
        """Return what is told on /diagnostics."""
        topics = self._inputs.topics if self._inputs is not None else []
        instances, depth = self._pairing.counts()
        situation = LifterSituation(
            name=self.get_fully_qualified_name(),
            state=self.life.state,
            failure=self.life.failure,
            notices=self._notices(),
            frame=self._frame(),
            topics={topic: self.count_publishers(topic) for topic in topics},
            instances=instances,
            depth=depth,
            health=self._monitor.snapshot(),
        )
        return [self._reporter.report(situation, time.monotonic())]
