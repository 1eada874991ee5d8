# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From clips to batches; what comes when depends on the seed and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from stmask_ros.training.clips import Clip, ClipSource

Example = TypeVar('Example')


@dataclass(frozen=True)
class Place:
    """Where in a run a clip comes: its number in the sources, and its position of all time."""

    number: int
    position: int


class ClipDataset(Dataset[Example]):
    """Clips of several sources, ready for the network."""

    def __init__(
        self, sources: Sequence[ClipSource],
        example: Callable[[Clip, np.random.Generator], Example], seed: int,
    ) -> None:
        """Read nothing yet. example: makes of a clip what its network learns from."""
        self._sources = sources
        self._example = example
        self._seed = seed
        self._ends = np.cumsum([len(source) for source in sources])

    def __len__(self) -> int:
        """Return the clips of an epoch."""
        return int(self._ends[-1])

    def __getitem__(self, place: Place) -> Example:
        """Return an example; the same place is the same example whoever asks."""
        rng = np.random.default_rng((self._seed, place.position))
        source = int(np.searchsorted(self._ends, place.number, side='right'))
        start = int(self._ends[source]) - len(self._sources[source])
        return self._example(self._sources[source].clip(place.number - start, rng), rng)


class ClipSampler(Sampler[list[Place]]):
    """The batches of one worker of a run, from an iteration on."""

    def __init__(
        self, length: int, batch_size: int, seed: int, iterations: range, rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """batch_size: of all workers together, which share each batch evenly."""
        self._length = length
        self._batch_size = batch_size
        self._seed = seed
        self._iterations = iterations
        self._share = range(rank, batch_size, world_size)
        self._epoch = -1
        self._order = np.zeros(0, np.int64)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._iterations)

    def __iter__(self) -> Iterator[list[Place]]:
        """Yield a batch for each iteration."""
        for iteration in self._iterations:
            start = iteration * self._batch_size
            yield [self._place(start + offset) for offset in self._share]

    def _place(self, position: int) -> Place:
        epoch, offset = divmod(position, self._length)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng((self._seed, epoch)).permutation(self._length)
        return Place(int(self._order[offset]), position)


def build_loader(
    dataset: ClipDataset[Example], sampler: ClipSampler, workers: int
) -> Iterable[list[Example]]:
    """Return an iterable of batches, lists of examples; it leaves the global seed alone."""
    return DataLoader[Any](
        dataset, batch_sampler=sampler, num_workers=workers, collate_fn=list,
        worker_init_fn=_use_one_thread, generator=torch.Generator(),
        persistent_workers=False, prefetch_factor=4 if workers else None,
    )


def _use_one_thread(_worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
