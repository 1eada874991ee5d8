# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which labelled frames judge a model and are never learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stmask_ros.evaluation.dataset import DatasetError
from stmask_ros.teaching.material import LabelledFrame, Material

# Of the labelled frames.
SHARE = 5


@dataclass(frozen=True)
class Split:
    """Frames to learn from, and frames to judge by: the numbers of a material's frames."""

    learned: tuple[int, ...]
    held_out: tuple[int, ...]

    def described(self, material: Material) -> str:
        """Say how the frames are divided."""
        seen, judged = (
            _tracks([material.frames[number] for number in numbers])
            for numbers in (self.learned, self.held_out)
        )
        first, last = (material.frames[self.held_out[end]].file_name for end in (0, -1))
        return (
            f'{len(self.held_out)} labelled frames in a row, {first} to {last}, with '
            f'{len(judged)} objects, {len(judged - seen)} of which are in no other; learned from: '
            f'the other {len(self.learned)}'
        )


def held_out(material: Material, learned_classes: Sequence[str]) -> Split:
    """
    Divide labelled frames.

    Held out is a fifth of them in a row: of neighbours, one would tell what is in the other. Of
    all rows that leave every class something to learn from, it is the one with most of the
    classes, then with most objects that are seen in no other frame, then the last.
    learned_classes: names of categories. Raises DatasetError if there is no such row.
    """
    count = len(material.frames)
    size = max(count // SHARE, 1)
    wanted = set(learned_classes)
    rows = [range(first, first + size) for first in range(count - size + 1)]
    fitting = [row for row in rows if wanted <= _classes(material, _others(row, count))]
    fitting = [row for row in fitting if wanted & _classes(material, row)]
    if not fitting:
        rare = min(wanted, key=lambda name: sum(
            name in material.classes_of(frame) for frame in material.frames))
        raise DatasetError(
            f'{material.folder}: {rare} is in too few labelled frames to be learned from some and '
            f'judged by others: label it in more than {size}'
        )
    best = max(fitting, key=lambda row: (
        len(wanted & _classes(material, row)), _unseen(material, row), row.start))
    return Split(tuple(_others(best, count)), tuple(best))


def _others(row: range, count: int) -> list[int]:
    return [number for number in range(count) if number not in row]


def _classes(material: Material, numbers: Sequence[int]) -> set[str]:
    return set().union(*(material.classes_of(material.frames[number]) for number in numbers))


def _unseen(material: Material, row: range) -> int:
    frames = material.frames
    others = _tracks([frames[number] for number in _others(row, len(frames))])
    return len(_tracks([frames[number] for number in row]) - others)


def _tracks(frames: Sequence[LabelledFrame]) -> set[int]:
    return {track.id for frame in frames for track in frame.tracks}
