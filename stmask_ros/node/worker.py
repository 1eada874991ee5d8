"""The thread that answers images: take what the cameras sent, step all together, publish."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from rclpy.node import Node

from stmask_ros.node.answerer import DEACTIVATED, Answerer, CameraMessage, Line
from stmask_ros.node.mailbox import Letter, Mailroom
from stmask_ros.node.parameters import Parameters
from stmask_ros.node.tracing import Tracer
from stmask_ros.tracking.segmenter import VideoSegmenter
from stmask_ros.tracking.stream import StreamInput, StreamOutput, process_together

# By the index of the mailbox, of the line and of the answerer.
Letters: TypeAlias = dict[int, Letter[CameraMessage]]


class Worker:
    """Answers the letters of a mailroom, in a thread of its own."""

    def __init__(
        self,
        node: Node,
        mailroom: Mailroom[CameraMessage],
        lines: Sequence[Line],
        segmenter: VideoSegmenter,
        tracer: Tracer,
        parameters: Callable[[], Parameters],
    ) -> None:
        """
        Prepare; start() starts.

        lines: one for each mailbox of the mailroom.
        parameters: returns the values in force, asked anew for every step.
        """
        self._node = node
        self._mailroom = mailroom
        self._answerers = [Answerer(node, line, tracer, self._stopped) for line in lines]
        self._segmenter = segmenter
        self._parameters = parameters
        self._stopping = threading.Event()
        # A step can take seconds and cannot be interrupted: it must not hold up the process's end.
        self._thread = threading.Thread(target=self._run, name='segmenter', daemon=True)

    def start(self) -> None:
        """Start answering."""
        self._mailroom.open()
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """
        Stop answering: what waits is dropped, and so is what is in work.

        Returns whether the thread ended within `timeout` [s]; if not, it ends with its step, and
        its results are dropped.
        """
        self._stopping.set()
        self._mailroom.close(DEACTIVATED)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _stopped(self) -> bool:
        return self._stopping.is_set() or not self._node.context.ok()

    def _run(self) -> None:
        while not self._stopped():
            parameters = self._parameters()
            letters = self._mailroom.take(self._most(parameters), parameters.batch_wait)
            if letters:
                self._answer(letters, self._parameters())

    def _most(self, parameters: Parameters) -> int:
        """Return how many images may share a step."""
        if parameters.max_batch:
            return parameters.max_batch
        # On a CPU they would only wait for each other: their steps run one after the other.
        return 1 if self._segmenter.device.type == 'cpu' else len(self._answerers)

    def _answer(self, letters: Letters, parameters: Parameters) -> None:
        inputs = {
            index: admitted for index, letter in letters.items()
            if (admitted := self._answerers[index].admit(letter, parameters.max_gap)) is not None
        }
        outcomes = self._step(letters, inputs, parameters) if inputs else {}
        if self._stopped():
            for index in inputs:
                self._answerers[index].abandon()
            return
        results = {
            index: self._answerers[index].answer(letters[index], outcome, parameters)
            for index, outcome in outcomes.items()
        }
        # Nobody's instances wait for views of somebody else's.
        for index, result in results.items():
            if result is not None:
                self._answerers[index].show(letters[index], inputs[index], result)

    def _step(
        self, letters: Letters, inputs: dict[int, StreamInput], parameters: Parameters
    ) -> dict[int, StreamOutput | Exception]:
        begin = time.monotonic_ns()
        outcomes = process_together(
            self._segmenter, list(inputs.values()), parameters.tracker()
        )
        end = time.monotonic_ns()
        for index in inputs:
            self._answerers[index].note('step', letters[index], begin, end, batch=len(inputs))
        return dict(zip(inputs, outcomes, strict=True))
