# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which of a model's classes an operator wants, by name or number, and how sure of each."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from stmask_ros.families.class_thresholds import OFF, ClassThresholds

_MOST_LISTED = 100


@dataclass(frozen=True)
class ClassChoice:
    """
    A choice of classes, for any model.

    classes: names or numbers, from 1, of those that are on; empty for all. thresholds: pairs of a
    class and its lowest score [0, 1]; the last one counts.
    """

    classes: tuple[str, ...] = ()
    thresholds: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        """Raise ValueError for a threshold that is no score."""
        for name, lowest in self.thresholds:
            if not 0 <= lowest <= 1:
                raise ValueError(f'class_thresholds: {name}: {lowest} is outside 0 to 1')

    @classmethod
    def parsed(cls, classes: Sequence[str], thresholds: Sequence[str]) -> ClassChoice:
        """Return the choice of these texts, thresholds as 'person: 0.4'; raises ValueError."""
        return cls(tuple(classes), tuple(map(_threshold, thresholds)))

    def problems(self, names: Sequence[str]) -> list[str]:
        """Return which classes a model with these class names does not have, one line each."""
        wanted = [('classes', name) for name in self.classes]
        wanted += [('class_thresholds', name) for name, _ in self.thresholds]
        return [
            f'{parameter}: {_unknown(name, names)}'
            for parameter, name in wanted if _number(name, names) is None
        ]

    def of_model(self, names: Sequence[str], lowest: float) -> ClassThresholds:
        """
        Return the threshold of each class of a model, OFF for those not wanted.

        lowest: of the classes without a threshold of their own. () if nothing was chosen.
        Raises ValueError for unknown classes, see problems().
        """
        return _of_model(self, tuple(names), lowest)


@lru_cache(maxsize=32)
def _of_model(choice: ClassChoice, names: tuple[str, ...], lowest: float) -> ClassThresholds:
    if not choice.classes and not choice.thresholds:
        return ()
    if problems := choice.problems(names):
        raise ValueError('; '.join(problems))
    own = {_number(name, names): value for name, value in choice.thresholds}
    on = {_number(name, names) for name in choice.classes}
    return tuple(
        own.get(number, lowest) if number in on or not on else OFF
        for number in range(1, len(names) + 1)
    )


def _threshold(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition(':')
    try:
        return name.strip(), float(value)
    except ValueError as error:
        raise ValueError(
            f"class_thresholds: '{text}' is no class with its threshold, such as 'person: 0.4'"
        ) from error


def _number(name: str, names: Sequence[str]) -> int | None:
    # From 1. A class may be called by a number, and then that is its name.
    if name in names:
        return names.index(name) + 1
    return int(name) if name.isdecimal() and 1 <= int(name) <= len(names) else None


def _unknown(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.lower(), names, 1)
    hint = f", did you mean '{near[0]}'?" if near else '.'
    more = ', ...' if len(names) > _MOST_LISTED else ''
    return (
        f"'{name}' is no class of the model{hint} It has 1 to {len(names)}: "
        f'{", ".join(names[:_MOST_LISTED])}{more}'
    )
