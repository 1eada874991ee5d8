# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The lessons of a run: every frame in several variations, through the network once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stmask_ros.families.errors import TrainingError
from stmask_ros.families.frames import AnnotatedFrame
from stmask_ros.teaching.variations import variation

# Of a frame; more tell little that is new.
MOST_VARIATIONS = 16


@dataclass(frozen=True)
class Lessons:
    """Lessons, and the drawing of batches of them."""

    all: Sequence[Any]
    batch_size: int
    seed: int

    def batch(self, iteration: int) -> list[Any]:
        """Return the lessons of an iteration: each once in an epoch, in an order of its own."""
        size = min(self.batch_size, len(self.all))
        in_epoch = len(self.all) // size
        epoch, place = divmod(iteration, in_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.all))
        return [self.all[row] for row in order[place * size:(place + 1) * size]]


def variations_of_a_frame(frames: int, lessons: int) -> int:
    """Return how many variations of each frame make about so many lessons; TrainingError of 0."""
    if lessons < 1:
        raise TrainingError(f'lessons: expected 1 or more, got {lessons}')
    return min(max(round(lessons / frames), 1), MOST_VARIATIONS)


def make_lessons(
    frames: Sequence[AnnotatedFrame], variations: int, seed: int,
    teacher: Callable[[AnnotatedFrame], Any], done: Callable[[], object],
) -> list[Any]:
    """Return lessons of all variations of the frames; done: called after each."""
    lessons = []
    for number in range(variations):
        for row, frame in enumerate(frames):
            lessons.append(teacher(variation(frame, number, hash((seed, row)) & 0xFFFF)))
            done()
    return lessons
