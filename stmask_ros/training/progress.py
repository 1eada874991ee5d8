# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a run tells of itself: lines in the log, and TensorBoard's files where it is installed."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

_LOGGER = logging.getLogger(__name__)


class Progress:
    """Means of the terms since the last line, the rate, and the time left."""

    def __init__(self, folder: Path, first: int, iterations: int, every: int) -> None:
        """
        Prepare.

        first: iteration that the run starts or goes on with. every: iterations a line, 0 for one
        at the end.
        """
        self._writer = _writer(folder)
        self._iterations = iterations
        self._every = every
        self._last = first
        self._since = time.monotonic()
        self._sums: dict[str, float] = {}

    def add(self, iteration: int, values: Mapping[str, float], rate: float) -> None:
        """Note the terms of an iteration; every so often, say how it goes."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        done = iteration + 1
        if (self._every and done % self._every == 0) or done == self._iterations:
            self._tell(done, rate)

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """Note numbers for TensorBoard."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, iteration)
            self._writer.flush()

    def close(self) -> None:
        """Finish the files."""
        if self._writer is not None:
            self._writer.close()

    def _tell(self, done: int, rate: float) -> None:
        count = done - self._last
        means = {name: total / count for name, total in self._sums.items()}
        seconds = (time.monotonic() - self._since) / count
        left = timedelta(seconds=round(seconds * (self._iterations - done)))
        _LOGGER.info(
            '%d/%d  %s  rate %.2g  %.3f s each  left %s', done, self._iterations,
            ' '.join(f'{name} {mean:.3f}' for name, mean in means.items()), rate, seconds, left,
        )
        self.scalars(done, {f'loss/{name}': mean for name, mean in means.items()} | {
            'rate': rate, 'seconds': seconds,
        })
        self._last, self._since, self._sums = done, time.monotonic(), {}


def _writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        _LOGGER.info('no TensorBoard files: pip install tensorboard to have them')
        return None
    return SummaryWriter(str(folder / 'tensorboard'))
