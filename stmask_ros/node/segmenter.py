# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The segmenter node: camera images in, tracked instance masks out. Plumbing only."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from typing import Any

import torch
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import LifecycleNode

from stmask_ros.memory import give_back_freed_memory
from stmask_ros.node.channel import Channel
from stmask_ros.node.diagnostics import NodeSituation
from stmask_ros.node.errands import Errands
from stmask_ros.node.image_processor import CameraMessage
from stmask_ros.node.model_swap import ModelSwap
from stmask_ros.node.outputs import Labels
from stmask_ros.node.parameters import Parameters
from stmask_ros.node.segment_once import SegmentOnce
from stmask_ros.node.services import Services
from stmask_ros.node.tracing import Tracer
from stmask_ros.node.worker import Worker
from stmask_ros.ros.image_transports import image_transport
from stmask_ros.ros.lifecycle import Lifecycle
from stmask_ros.ros.mailbox import MailboxSet
from stmask_ros.ros.parameter_rules import ParameterError
from stmask_ros.ros.parameter_server import ParameterServer
from stmask_ros.ros.unknown_parameters import warn_of_unknown_qualities
from stmask_ros.tracking.segmenter import ModelError, VideoSegmenter, load_segmenter

_STEP_TIMEOUT = 10.0

_UNTRAINED = (
    'the weights are freshly initialised, not trained: the masks, classes and scores mean nothing'
)
_SLOWLY = ', since device auto found no CUDA: it is slow there'


class SegmenterNode(LifecycleNode):
    """
    Segments and tracks the newest image of each of its cameras.

    configure loads the model, activate starts, deactivate stops, cleanup frees the model.
    Several can be spun in one process, by any executor; each may be destroyed at any time.
    """

    def __init__(self, node_name: str = 'segmenter', **options: Any) -> None:
        """
        Declare the parameters; ParameterError or TopicError if they are wrong.

        options: of rclpy.node.Node, such as namespace, context and parameter_overrides.
        """
        self._segmenter: VideoSegmenter | None = None
        self._labels: Labels | None = None
        self._worker: Worker | None = None
        self._channels: list[Channel] = []
        super().__init__(node_name, **options)
        self.life = Lifecycle(self, self, _STEP_TIMEOUT, (ModelError,))
        at_end = self.life.at_end
        self._server = ParameterServer(
            self, Parameters, self._on_parameters, self._problems_with_model)
        self._tracer = Tracer(self.get_logger(), self.get_fully_qualified_name())
        at_end.callback(self._tracer.switch, False)
        self._tracer.switch(self.settings.trace)
        # Without names there is one camera, whose topics have no prefix.
        names = self.settings.cameras or ('',)
        self._mailboxes: MailboxSet[CameraMessage] = MailboxSet(len(names))
        transport = image_transport(self.settings.image_transport)
        self._channels = [
            Channel(self, name, mailbox, self._tracer, transport)
            for name, mailbox in zip(names, self._mailboxes.boxes, strict=True)
        ]
        for channel in self._channels:
            at_end.callback(channel.destroy)
        Services(self, '', self._channels)
        for channel in self._channels:
            if channel.prefix:
                Services(self, channel.prefix, [channel])
        self._errands = Errands(self._mailboxes.interrupt)
        self._segment_once = SegmentOnce(self, self._errands)
        at_end.callback(self._segment_once.close)
        self._model_swap = ModelSwap(self, self, self._errands)
        at_end.callback(self._model_swap.close)
        self.life.report_every(self.settings.diagnostics_period, self.statuses)

    @property
    def settings(self) -> Parameters:
        """The values of the parameters now."""
        return self._server.values

    @property
    def autostart(self) -> bool:
        """Whether to start without a lifecycle manager."""
        return self.settings.autostart

    # What ~/load_model asks of it.

    @property
    def segmenter(self) -> VideoSegmenter | None:
        """The one that is in force; None while not configured."""
        return self._segmenter

    @property
    def is_answering(self) -> bool:
        """Whether images are answered: then only the worker may change the segmenter."""
        return self._worker is not None

    def image_sizes(self) -> list[tuple[int, int]]:
        """Return height and width [pixel] of the image that each camera sent last."""
        return [channel.image_size for channel in self._channels if all(channel.image_size)]

    def adopt(self, segmenter: VideoSegmenter) -> None:
        """
        Go over to another segmenter; no step may be under way.

        Raises ModelError if it does not know the classes that the parameters name.
        """
        if problems := self.settings.class_choice().problems(segmenter.class_names):
            raise ModelError('; '.join(problems))
        for channel in self._channels:
            channel.adopt(segmenter)
        if self._worker is not None:
            self._worker.adopt(segmenter)
        self._segmenter = segmenter
        if self._labels is not None:
            self._labels.adopt(segmenter)
            self._labels.publish(self.settings.score_threshold)

    # Its work, see stmask_ros.ros.lifecycle.

    def start(self) -> bool:
        """Configure and activate without a lifecycle manager; return whether that succeeded."""
        return self.life.start()

    def prepare(self) -> None:
        """Load the model and advertise the topics."""
        settings = self.settings
        if settings.torch_threads:
            torch.set_num_threads(settings.torch_threads)
        segmenter = load_segmenter(
            settings.model, settings.device, precision=settings.precision,
            engine=settings.engine, tell=self.get_logger().info,
        )
        if problems := settings.class_choice().problems(segmenter.class_names):
            raise ParameterError('; '.join(problems))
        self._advertise(segmenter)
        self._segmenter = segmenter
        hint = _SLOWLY if settings.device == 'auto' and segmenter.device.type == 'cpu' else ''
        self.get_logger().info(
            f'model {segmenter.model_name} on {segmenter.device}{hint}; '
            f'{segmenter.precision} by {segmenter.engine}'
        )
        for notice in self._notices():
            self.get_logger().warning(notice)

    def begin(self) -> None:
        """Start a new epoch of each camera and answer images."""
        assert self._segmenter is not None
        segmenter = self._segmenter
        self._worker = Worker(
            self, self._mailboxes, [channel.begin(segmenter) for channel in self._channels],
            segmenter, self._tracer, lambda: self.settings, self._errands,
        )
        self._worker.start()
        for channel in self._channels:
            channel.connect()
        warn_of_unknown_qualities(self)

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

    def free(self) -> None:
        """Free the model and take the topics back."""
        for channel in self._channels:
            channel.withdraw()
        if self._labels is not None:
            self._labels.destroy()
        self._labels = self._segmenter = None
        self.give_back_memory()

    def give_back_memory(self) -> None:
        """Give back what a segmenter that nobody holds any more has left."""
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
        self.life.destroy(super().destroy_node)

    def _problems_with_model(self, settings: Parameters) -> list[str]:
        segmenter = self._segmenter
        if segmenter is None or settings.problems():
            return []
        return settings.class_choice().problems(segmenter.class_names)

    def _on_parameters(self, settings: Parameters) -> None:
        self._tracer.switch(settings.trace)
        with self.life.in_use:
            if self._labels is not None:
                self._labels.publish(settings.score_threshold)

    def _notices(self) -> list[str]:
        segmenter = self._segmenter
        if segmenter is None:
            return []
        return [_UNTRAINED] if segmenter.freshly_initialised else []

    def statuses(self) -> Sequence[DiagnosticStatus]:
        """Return what is told on /diagnostics, one status a camera."""
        segmenter = self._segmenter
        situation = NodeSituation(
            name=self.get_fully_qualified_name(),
            state=self.life.state,
            failure=self.life.failure,
            model=segmenter.model_name if segmenter else '',
            sha256=segmenter.model_sha256 if segmenter else '',
            device=str(segmenter.device) if segmenter else '',
            precision=segmenter.precision if segmenter else '',
            engine=segmenter.engine if segmenter else '',
            notices=self._notices(),
            trace=self._tracer.path,
            segment=self._segment_once.counts(),
            load=self._model_swap.counts(),
        )
        now = time.monotonic()
        return [channel.report(situation, now) for channel in self._channels]
