# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The rules that a node's parameters obey, kept in the fields of a frozen dataclass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from stmask_ros.ros.node_help import Described

_RULE = 'rule'


class ParameterError(ValueError):
    """Parameters that a node cannot start with; the message lists every one."""


class ParameterValues(Protocol):
    """A frozen dataclass whose fields were all made by parameter()."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def problems(self) -> list[str]:
        """Return what is wrong with the values, one line each; empty if all are right."""


@dataclass(frozen=True)
class Rule:
    """What a parameter means, which values it takes, and whether it can change at run time."""

    description: str
    read_only: bool
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    may_be_empty: bool

    def problem(self, name: str, value: object) -> str | None:
        """Return what is wrong with a value of the right type, or None."""
        if self.choices and value not in self.choices:
            return f"{name}: '{value}' is none of {', '.join(self.choices)}"
        if isinstance(value, str) and not (value.strip() or self.may_be_empty):
            return f'{name}: must not be empty'
        if self.minimum is None or self.maximum is None or not isinstance(value, (int, float)):
            return None
        if not self.minimum <= value <= self.maximum:
            return f'{name}: {value} is outside {self.minimum} to {self.maximum}'
        return None


def parameter(
    default: Any,
    description: str,
    *,
    read_only: bool = False,
    between: tuple[float, float] | None = None,
    choices: Sequence[str] = (),
    may_be_empty: bool = False,
) -> Any:
    """
    Return a dataclass field for a parameter.

    read_only: it is read once, at start-up. between: least and greatest number. choices: of a
    text. may_be_empty: whether a text may be.
    """
    minimum, maximum = between or (None, None)
    rule = Rule(description, read_only, minimum, maximum, tuple(choices), may_be_empty)
    return dataclasses.field(default=default, metadata={_RULE: rule})


def rule_of(field: dataclasses.Field[Any]) -> Rule:
    """Return the rule of a field that parameter() made."""
    rule = field.metadata[_RULE]
    assert isinstance(rule, Rule)
    return rule


def broken_rules(values: ParameterValues) -> list[str]:
    """Return which values break the rule of their field, one line each."""
    rules = {field.name: rule_of(field) for field in dataclasses.fields(values)}
    found = [rule.problem(name, getattr(values, name)) for name, rule in rules.items()]
    return [problem for problem in found if problem is not None]


def problem_of(read: Callable[[], object]) -> list[str]:
    """Return why reading a value fails with ValueError, in a line; empty if it does not."""
    try:
        read()
    except ValueError as error:
        return [str(error)]
    return []


def described(kind: type[ParameterValues]) -> list[Described]:
    """Return all parameters of a node for the help."""
    return [
        Described(field.name, field.default, rule_of(field).description)
        for field in dataclasses.fields(kind)
    ]
