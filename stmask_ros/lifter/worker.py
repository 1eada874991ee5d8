# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The thread that lifts pairs: take the newest, lift, publish."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rclpy.node import Node

from stmask_ros.lifter.diagnostics import LifterMonitor
from stmask_ros.lifter.outputs import LifterOutputs
from stmask_ros.lifter.pairing import DEACTIVATED, Pair, Pairing
from stmask_ros.lifting.depth import DepthImage
from stmask_ros.lifting.errors import LiftingError
from stmask_ros.lifting.pipeline import LiftedPair, LiftingPipeline, read_any_depth
from stmask_ros.lifting.stamp_check import StampCheck
from stmask_ros.ros.throttle import LogThrottle

_LONGEST_WAIT = 0.5
# Of so many pairs, one is looked at for stamps that are off by a frame.
_CHECK_EVERY = 3
# The camera_info of the depth and of the image, for a pair.
Calibrations = Callable[[Pair], tuple[Any | None, Any | None]]


class LifterWorker:
    """Lifts the newest pairs in a thread of its own. No pair can make it raise."""

    def __init__(
        self, node: Node, pairing: Pairing, pipeline: LiftingPipeline, outputs: LifterOutputs,
        monitor: LifterMonitor, calibrations: Calibrations,
    ) -> None:
        """Prepare; start() starts."""
        self._node = node
        self._pairing = pairing
        self._pipeline = pipeline
        self._outputs = outputs
        self._monitor = monitor
        self._calibrations = calibrations
        self._log = LogThrottle(node.get_logger())
        self._check = StampCheck(pipeline.sensor)
        self._lifted = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name='lifter', daemon=True)

    def start(self) -> None:
        """Start lifting."""
        self._pairing.open()
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Stop; what waits is dropped. Return whether the thread ended within `timeout` [s]."""
        self._stopping.set()
        self._pairing.close()
        if self._thread.ident is not None:  # it was started
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _stopped(self) -> bool:
        return self._stopping.is_set() or not self._node.context.ok()

    def _run(self) -> None:
        while not self._stopped():
            pair = self._pairing.take(_LONGEST_WAIT)
            if pair is not None:
                self._process(pair)

    def _process(self, pair: Pair) -> None:
        lifted = self._lift(pair)
        if lifted is None:
            return
        self._pairing.finish()
        # The pair is answered already: failing here costs the views alone.
        try:
            self._outputs.publish_views(pair, lifted)
            self._check_stamps(pair, lifted)
        except Exception:
            if not self._stopped():
                self._monitor.view_failed()
                self._log.error('views', f'not all views published:\n{traceback.format_exc()}')

    def _check_stamps(self, pair: Pair, lifted: LiftedPair) -> None:
        """Compare the depth before and after with the masks, now and then."""
        self._lifted += 1
        if self._lifted % _CHECK_EVERY or not isinstance(lifted.depth, DepthImage):
            return
        with suppress(LiftingError):
            before, after = (
                None if other is None else read_any_depth(other)
                for other in (pair.before, pair.after))
            self._check.add(lifted, before, after)
            self._monitor.stamps_off_by(self._check.off_by)

    def _lift(self, pair: Pair) -> LiftedPair | None:
        """Lift and publish a pair; None if it was dropped."""
        try:
            depth_info, image_info = self._calibrations(pair)
            lifted = self._pipeline.lift(pair.instances, pair.depth, depth_info, image_info)
            if self._stopped():
                self._pairing.drop(DEACTIVATED)
                return None
            elapsed = self._outputs.publish(pair, lifted)
        except LiftingError as error:
            self._pairing.drop(error.reason)
            self._monitor.failed(str(error))
            self._log.warning(error.reason, f'a pair was dropped: {error}')
            return None
        except Exception as error:
            if self._stopped():
                self._pairing.drop(DEACTIVATED)
                return None
            self._pairing.drop('lifting failed')
            self._monitor.failed(f'{type(error).__name__}: {error}')
            self._log.error(
                'lifting failed', f'a pair was dropped:\n{traceback.format_exc()}')
            return None
        found = lifted.lifted
        self._monitor.lifted(
            elapsed, len(lifted.frame), int(found.measured.sum()), int(found.rejected.sum()))
        return lifted
