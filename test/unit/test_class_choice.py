# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Classes by name and number, and thresholds of their own."""

from __future__ import annotations

import pytest

from stmask_ros.tracking.class_choice import OFF, ClassChoice

NAMES = ('person', 'cat', 'car')


def thresholds(classes: list[str], own: list[str]) -> tuple[float, ...]:
    """Return those of each class where 0.2 is the lowest of all others."""
    return ClassChoice.parsed(classes, own).of_model(NAMES, 0.2)


def test_classes_are_chosen_by_name_or_number() -> None:
    assert thresholds([], []) == ()
    assert thresholds(['car', '1'], []) == (0.2, OFF, 0.2)
    assert thresholds([], ['person: 0.4', 'person:0.5']) == (0.5, 0.2, 0.2)
    assert thresholds(['2'], ['cat: 0.7', 'car: 0.1']) == (OFF, 0.7, OFF)


def test_a_class_may_be_called_by_a_number() -> None:
    assert ClassChoice(('3',)).of_model(('3', 'b', 'c'), 0.2) == (0.2, OFF, OFF)


@pytest.mark.parametrize(('wrong', 'said'), [
    ('person', "'person' is no class with its threshold"),
    ('person: high', "'person: high' is no class with its threshold"),
    ('person: 1.5', 'person: 1.5 is outside 0 to 1'),
    ('person: nan', 'person: nan is outside 0 to 1'),
])
def test_a_threshold_that_is_none_is_refused(wrong: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ClassChoice.parsed([], [wrong])


def test_an_unknown_class_is_told_with_those_that_are_there() -> None:
    choice = ClassChoice.parsed(['Persn', '4'], ['dog: 0.3'])
    assert choice.problems(NAMES) == [
        "classes: 'Persn' is no class of the model, did you mean 'person'? It has 1 to 3: "
        'person, cat, car',
        "classes: '4' is no class of the model. It has 1 to 3: person, cat, car",
        "class_thresholds: 'dog' is no class of the model. It has 1 to 3: person, cat, car",
    ]
    with pytest.raises(ValueError, match="'Persn' is no class"):
        choice.of_model(NAMES, 0.2)
