# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The thread that answers images: take what came, step all together, publish, run an errand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from rclpy.node import Node

from stmask_ros.families.family import TrackerOptions
from stmask_ros.node.errands import Errands
from stmask_ros.node.image_processor import (
    DEACTIVATED,
    CameraMessage,
    CameraPipeline,
    ImageProcessor,
)
from stmask_ros.node.parameters import Parameters
from stmask_ros.node.tracing import Tracer
from stmask_ros.ros.mailbox import MailboxSet, QueuedMessage
from stmask_ros.tracking.segmenter import VideoSegmenter
from stmask_ros.tracking.stream import StreamInput, StreamOutput, process_together

# By the index of the camera.
QueuedMessages: TypeAlias = dict[int, QueuedMessage[CameraMessage]]


class Worker:
    """Processes the images of all cameras, in a thread of its own."""

    def __init__(
        self,
        node: Node,
        mailboxes: MailboxSet[CameraMessage],
        cameras: Sequence[CameraPipeline],
        segmenter: VideoSegmenter,
        tracer: Tracer,
        parameters: Callable[[], Parameters],
        errands: Errands,
    ) -> None:
        """
        Prepare; start() starts.

        cameras: one for each mailbox.
        parameters: returns the values in force, asked anew for every step.
        errands: one of them is run after each step.
        """
        self._node = node
        self._mailboxes = mailboxes
        self._processors = [
            ImageProcessor(node, camera, tracer, self._stopped) for camera in cameras
        ]
        self._segmenter = segmenter
        self._parameters = parameters
        self._errands = errands
        self._tracker: tuple[Parameters, TrackerOptions] | None = None
        self._stopping = threading.Event()
        # A step can take seconds and cannot be interrupted: it must not hold up the process's end.
        self._thread = threading.Thread(target=self._run, name='segmenter', daemon=True)

    def start(self) -> None:
        """Start answering."""
        self._mailboxes.open()
        self._errands.open()
        self._thread.start()

    def adopt(self, segmenter: VideoSegmenter) -> None:
        """Step with another segmenter from now on; only an errand may call it."""
        self._segmenter, self._tracker = segmenter, None

    def stop(self, timeout: float) -> bool:
        """
        Stop answering: what waits is dropped, and so is what is in work.

        Returns whether the thread ended within `timeout` [s]; if not, it ends with its step, and
        its results are dropped.
        """
        self._stopping.set()
        self._mailboxes.close(DEACTIVATED)
        self._errands.close(DEACTIVATED)
        if self._thread.ident is not None:  # it was started
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _stopped(self) -> bool:
        return self._stopping.is_set() or not self._node.context.ok()

    def _run(self) -> None:
        while not self._stopped():
            parameters = self._parameters()
            messages = self._mailboxes.take(self._most(parameters), parameters.batch_wait)
            if messages:
                self._process(messages, self._parameters())
            if self._errands.waiting and not self._stopped():
                self._errands.run_next(self._segmenter, self._parameters())

    def _most(self, parameters: Parameters) -> int:
        """Return how many images may share a step."""
        if parameters.max_batch:
            return parameters.max_batch
        # On a CPU they would only wait for each other: their steps run one after the other.
        return 1 if self._segmenter.device.type == 'cpu' else len(self._processors)

    def _process(self, messages: QueuedMessages, parameters: Parameters) -> None:
        inputs = {
            index: admitted for index, queued in messages.items()
            if (admitted := self._processors[index].admit(queued, parameters)) is not None
        }
        outcomes = self._step(messages, inputs, parameters) if inputs else {}
        if self._stopped():
            for index in inputs:
                self._processors[index].abandon()
            return
        results = {
            index: self._processors[index].publish(messages[index], outcome, parameters)
            for index, outcome in outcomes.items()
        }
        # Nobody's instances wait for views of somebody else's.
        for index, result in results.items():
            if result is not None:
                self._processors[index].select(messages[index], result, parameters)
                self._processors[index].show(messages[index], inputs[index], result)

    def _step(
        self, messages: QueuedMessages, inputs: dict[int, StreamInput], parameters: Parameters
    ) -> dict[int, StreamOutput | Exception]:
        begin = time.monotonic_ns()
        outcomes = process_together(
            self._segmenter, list(inputs.values()), self._tracker_options(parameters)
        )
        end = time.monotonic_ns()
        for index in inputs:
            self._processors[index].note('step', messages[index], begin, end, batch=len(inputs))
        return dict(zip(inputs, outcomes, strict=True))

    def _tracker_options(self, parameters: Parameters) -> TrackerOptions:
        """Return the rules of the tracker, made once for the same parameters."""
        if self._tracker is None or self._tracker[0] is not parameters:
            options = self._segmenter.tracker_options(
                parameters.tracker(self._segmenter.class_names))
            self._tracker = parameters, options
        return self._tracker[1]
