# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Which classes a taught model has, and what each of them is recognised by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stmask_ros.families.class_teaching import TaughtClass
from stmask_ros.families.errors import TrainingError


@dataclass(frozen=True)
class ClassChanges:
    """
    What becomes of the classes of the model before.

    keep: their names, of those that stay; None for all. replace: names of kept classes that are
    learned anew from the labelled objects, and forgotten as they were. merge: names of classes,
    each of several: of the model before, of the labelled objects, or both.
    """

    keep: Sequence[str] | None = None
    replace: Sequence[str] = ()
    merge: Mapping[str, Sequence[str]] | None = None


@dataclass(frozen=True)
class ClassPlan:
    """
    The classes after, and which of them the categories of the labelled objects are.

    classes: as TaughtClass. labels: category name -> number of its class, from 1.
    """

    classes: tuple[TaughtClass, ...]
    labels: Mapping[str, int]

    @property
    def learned(self) -> tuple[str, ...]:
        """The names of the classes that are learned."""
        return tuple(each.name for each in self.classes if each.learned)

    @property
    def kept(self) -> tuple[str, ...]:
        """The names of the classes that are as they were."""
        return tuple(each.name for each in self.classes if not each.learned)


def plan_classes(
    before: Sequence[str], labelled: Sequence[str], changes: ClassChanges
) -> ClassPlan:
    """
    Return the classes after.

    before: of the model. labelled: categories that have objects. A category with the name of a
    kept class is that class, and nothing is learned of it, unless it is replaced or merged.
    Raises TrainingError for names that nobody knows, or if nothing is left to learn.
    """
    merge = changes.merge or {}
    kept = list(before if changes.keep is None else changes.keep)
    parts = [part for several in merge.values() for part in several]
    _check_known(kept, before, 'keep')
    _check_known(changes.replace, set(before) & set(labelled), 'replace')
    _check_known(parts, {*before, *labelled}, 'merge')
    _check_once(parts, merge, {*before, *labelled} - set(parts))
    names = list(dict.fromkeys([
        *(name for name in kept if name not in parts),
        *(name for name in labelled if name not in parts), *merge,
    ]))
    classes = tuple(
        _taught(name, merge.get(name, (name,)), before, labelled, {*kept, *parts}, changes)
        for name in names
    )
    if not any(each.learned for each in classes):
        raise TrainingError(
            f'nothing to learn: the model has all labelled classes ({", ".join(labelled)}); '
            'learn one anew with --replace, or beside what is known with --merge NAME=NAME,OTHER'
        )
    owner = {part: names.index(name) + 1 for name, several in merge.items() for part in several}
    return ClassPlan(classes, {
        name: owner[name] if name in owner else names.index(name) + 1 for name in labelled
    })


def _taught(
    name: str, parts: Sequence[str], before: Sequence[str], labelled: Sequence[str],
    stays: set[str], changes: ClassChanges,
) -> TaughtClass:
    known = tuple(
        before.index(part) for part in parts
        if part in before and part in stays and part not in changes.replace
    )
    fresh = [part for part in parts if part in labelled and (part not in before or (
        part in changes.replace or part not in stays))]
    return TaughtClass(name, known, bool(fresh))


def _check_known(names: Sequence[str], known: Sequence[str] | set[str], option: str) -> None:
    if unknown := [name for name in names if name not in known]:
        raise TrainingError(
            f'--{option}: no class {", ".join(unknown)}; expected some of '
            f'{", ".join(sorted(known)) or "none that there are"}'
        )


def _check_once(parts: Sequence[str], merge: Mapping[str, Sequence[str]], rest: set[str]) -> None:
    twice = sorted({part for part in parts if parts.count(part) > 1})
    taken = sorted(set(merge) & rest)
    if twice or taken:
        raise TrainingError(
            f'--merge: {", ".join(twice or taken)} would be two classes: give each name once, and '
            'a new name that no other class has'
        )
