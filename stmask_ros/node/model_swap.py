# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The service ~/load_model: another model, loaded beside the one that runs, between two images."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from rclpy.node import Node

from stmask_ros.families.frames import Size
from stmask_ros.node.errands import MOST_WAITING, Errand, Errands
from stmask_ros.node.parameters import Parameters
from stmask_ros.ros.deferred_service import Answer, DeferredService
from stmask_ros.ros.lifecycle import Lifecycle
from stmask_ros.srv import LoadModel
from stmask_ros.tracking.segmenter import ModelError, VideoSegmenter, load_segmenter


class ModelOwner(Protocol):
    """A node with a segmenter."""

    @property
    def life(self) -> Lifecycle:
        """Its states and its end."""
        ...

    @property
    def settings(self) -> Parameters:
        """The values of the parameters now."""
        ...

    @property
    def segmenter(self) -> VideoSegmenter | None:
        """The one that is in force; None while not configured."""
        ...

    @property
    def is_answering(self) -> bool:
        """Whether images are answered: then only the worker may change the segmenter."""
        ...

    def image_sizes(self) -> Sequence[Size]:
        """Return the sizes of the images that the cameras sent last."""
        ...

    def adopt(self, segmenter: VideoSegmenter) -> None:
        """Go over to a segmenter, between steps; ModelError if the parameters do not fit."""
        ...

    def give_back_memory(self) -> None:
        """Give back what a segmenter left."""
        ...



@dataclass(frozen=True)
class LoadCounts:
    """
    What became of all requests; received = loaded + refused, and one if a model is loading.

    last_refusal: the reason of the last one, for people; empty if the last request was granted.
    """

    received: int = 0
    loaded: int = 0
    refused: int = 0
    last_refusal: str = ''
    loading: str = ''


class GivenUpError(Exception):
    """The model was loaded for nothing."""


class ModelSwap:
    """Loads at most one model at a time, in a thread of its own."""

    def __init__(self, node: Node, owner: ModelOwner, errands: Errands) -> None:
        """Offer the service; owner: whose segmenter it replaces, by one of the errands."""
        self._logger = node.get_logger()
        self._owner = owner
        self._errands = errands
        self._lock = threading.Lock()
        self._received = self._loaded = self._refused = 0
        self._loading = self._last_refusal = ''
        self._service = DeferredService(node, LoadModel, '~/load_model', self._on_request)

    def close(self) -> None:
        """Take the service back; a model that is being loaded is given up."""
        self._service.close()

    def counts(self) -> LoadCounts:
        """Return a consistent snapshot."""
        with self._lock:
            return LoadCounts(
                self._received, self._loaded, self._refused, self._last_refusal, self._loading)

    def _on_request(self, request: LoadModel.Request, answer: Answer) -> None:
        """Begin to load a model, or refuse to."""
        before = self._owner.segmenter
        with self._lock:
            self._received += 1
            refusal = self._refusal(request.model, before)
            if not refusal:
                self._loading = request.model
        if refusal or before is None:
            self._refuse(refusal, answer)
            return
        thread = threading.Thread(
            target=self._run, args=(request.model, before, answer), name='model loader',
            daemon=True)
        del before
        try:
            thread.start()
        except RuntimeError as error:  # there are too many already
            self._end(f'{request.model} is not loaded: {error}', request.model, answer)

    def _refusal(self, model: str, before: VideoSegmenter | None) -> str:
        if before is None:
            return 'not configured: configure the node first, with the parameter `model`'
        if self._loading:
            return f'{self._loading} is being loaded: wait until that is done'
        return '' if model.strip() else 'model: must not be empty'

    def _run(self, model: str, before: VideoSegmenter, answer: Answer) -> None:
        try:
            self._hand_over(self._prepared(model), before)
            message = ''
        except (ModelError, GivenUpError) as error:
            message = str(error)
        except Exception as error:
            message = f'{type(error).__name__}: {error}'
        del before
        self._owner.give_back_memory()
        self._end(message and f'{model} is not loaded: {message}', model, answer)

    def _end(self, refusal: str, model: str, answer: Answer) -> None:
        with self._lock:
            self._loading = ''
        if refusal:
            self._refuse(refusal, answer)
        else:
            self._grant(model, answer)

    def _prepared(self, model: str) -> VideoSegmenter:
        settings = self._owner.settings
        segmenter = load_segmenter(
            model, settings.device, precision=settings.precision, engine=settings.engine,
            tell=self._logger.info,
        )
        warm_up(segmenter, self._owner.image_sizes())
        return segmenter

    def _hand_over(self, segmenter: VideoSegmenter, before: VideoSegmenter) -> None:
        """Let the node go over to a segmenter; GivenUpError if that is not wanted any more."""
        while True:
            done = _Event()
            with self._owner.life.in_use:
                if self._owner.life.destroyed or self._owner.segmenter is not before:
                    raise GivenUpError('the node was cleaned up meanwhile')
                if not self._owner.is_answering:
                    self._owner.adopt(segmenter)
                    return
                # It comes before no request, and none keeps it out.
                errand = done.errand(lambda: self._owner.adopt(segmenter))
                if refusal := self._errands.add(errand, MOST_WAITING + 1):
                    raise GivenUpError(refusal)
            if done.wait():
                return

    def _refuse(self, reason: str, answer: Answer) -> None:
        with self._lock:
            self._refused += 1
            self._last_refusal = reason
        self._logger.error(f'~/load_model refused: {reason}')
        answer(LoadModel.Response(success=False, message=reason, model=self._running()))

    def _grant(self, model: str, answer: Answer) -> None:
        with self._lock:
            self._loaded += 1
            self._last_refusal = ''
        running = self._running()
        self._logger.info(f'model {running} is loaded, and runs from now on')
        answer(LoadModel.Response(success=True, message=f'{model} runs now', model=running))

    def _running(self) -> str:
        segmenter = self._owner.segmenter
        return segmenter.model_name if segmenter else ''


class _Event:
    """Whether the worker went over to the segmenter, or was stopped before."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._error: Exception | None = None
        self._done = False

    def errand(self, adopt: Callable[[], None]) -> Errand:
        """Return the errand that the event is about."""
        def run(_segmenter: VideoSegmenter, _parameters: Parameters) -> None:
            try:
                adopt()
                self._done = True
            except Exception as error:
                self._error = error
            self._ended.set()

        return Errand(run, self.abandon)

    def abandon(self, _reason: str) -> None:
        """Note that the errand is not run."""
        self._ended.set()

    def wait(self) -> bool:
        """Wait until it is decided; raises what the errand raised."""
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._done


def warm_up(segmenter: VideoSegmenter, sizes: Sequence[Size]) -> None:
    """Run two steps on grey images of each of these sizes: the first ones take longer."""
    for size in dict.fromkeys(sizes):
        grey = np.full((*segmenter.scaled_size(size), 3), 128, np.uint8)
        states = [segmenter.initial_state()]
        for stamp in (1, 2):
            _, states = segmenter.step([grey], states, [stamp], [size])
