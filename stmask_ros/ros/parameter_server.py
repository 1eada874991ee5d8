# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Declares a node's parameters, and keeps their values up to date while it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from stmask_ros.ros.parameter_rules import ParameterError, ParameterValues, rule_of
from stmask_ros.ros.unknown_parameters import warn_of_unknown_parameters

# ROS 2 has no empty list of a kind in files or on the command line: as others do, one empty text.
_NO_TEXTS = ['']

Values = TypeVar('Values', bound=ParameterValues)


class ParameterServer(Generic[Values]):
    """Declares the parameters on a node and keeps `values` up to date while they change."""

    def __init__(
        self, node: Node, kind: type[Values], on_change: Callable[[Values], None],
        problems_now: Callable[[Values], list[str]] = lambda _values: [],
    ) -> None:
        """
        Declare all parameters on `node`.

        kind: the dataclass whose fields they are.
        on_change: called with the new values after each accepted change.
        problems_now: what else is wrong with values that are to change, in the node's state.
        Raises ParameterError if values from the command line or a file are wrong.
        """
        self.values = _declare(node, kind)
        warn_of_unknown_parameters(node)
        self._on_change = on_change
        self._problems_now = problems_now
        node.add_pre_set_parameters_callback(self._without_empty_lists)
        node.add_on_set_parameters_callback(self._validate)
        node.add_post_set_parameters_callback(self._apply)

    def _without_empty_lists(self, changed: list[Parameter[Any]]) -> list[Parameter[Any]]:
        """Return what is to be set: `[]`, which comes as a list of another kind, as no texts."""
        return [
            Parameter(item.name, Parameter.Type.STRING_ARRAY, _NO_TEXTS)
            if isinstance(getattr(self.values, item.name, None), tuple) and item.value == []
            else item for item in changed
        ]

    def _validate(self, changed: list[Parameter[Any]]) -> SetParametersResult:
        values = _replaced(self.values, changed)
        problems = values.problems() + self._problems_now(values)
        return SetParametersResult(successful=not problems, reason='; '.join(problems))

    def _apply(self, changed: list[Parameter[Any]]) -> None:
        values = _replaced(self.values, changed)
        if values != self.values:
            self.values = values
            self._on_change(values)


def _declare(node: Node, kind: type[Values]) -> Values:
    declared = [_declare_one(node, field) for field in dataclasses.fields(kind)]
    problems = [item.problem for item in declared if item.problem]
    values = kind(**{item.name: item.value for item in declared if not item.problem})
    problems += values.problems()
    if problems:
        raise ParameterError('\n'.join(problems))
    return values


@dataclass(frozen=True)
class _Declared:
    name: str
    value: Any = None
    problem: str = ''


def _declare_one(node: Node, field: dataclasses.Field[Any]) -> _Declared:
    declare = _declare_texts if field.default == () else _declare_value
    try:
        parameter = declare(node, field)
    except InvalidParameterTypeException as error:
        hint = f'{error} (a number with a fraction is written 1.0, not 1)'
        return _Declared(field.name, problem=hint)
    except InvalidParameterValueException as error:
        return _Declared(field.name, problem=str(error))
    return _Declared(field.name, _value(parameter))


def _declare_value(node: Node, field: dataclasses.Field[Any]) -> Parameter[Any]:
    return node.declare_parameter(field.name, field.default, _descriptor(field))


def _declare_texts(node: Node, field: dataclasses.Field[Any]) -> Parameter[Any]:
    """
    Declare a list of texts, which always has a value.

    An empty list in a file or on the command line means no value to ROS 2, and one parameter
    without a value would empty the answer about all of them.
    """
    changeable = _descriptor(field)
    changeable.read_only = False
    parameter: Parameter[Any] = node.declare_parameter(field.name, _NO_TEXTS, changeable)
    if parameter.value is not None:
        final = _descriptor(field)
        final.type = Parameter.Type.STRING_ARRAY.value
        node.set_descriptor(field.name, final)
        return parameter
    node.undeclare_parameter(field.name)
    return node.declare_parameter(
        field.name, _NO_TEXTS, _descriptor(field), ignore_override=True)


def _replaced(values: Values, changed: Sequence[Parameter[Any]]) -> Values:
    names = {field.name for field in dataclasses.fields(values)}
    ours: Mapping[str, Any] = {item.name: _value(item) for item in changed if item.name in names}
    return dataclasses.replace(values, **ours)


def _value(parameter: Parameter[Any]) -> Any:
    """Return a parameter's value; a list as a tuple."""
    value = parameter.value
    if value is None or value == _NO_TEXTS:
        return ()
    return tuple(value) if isinstance(value, list) else value


def _descriptor(field: dataclasses.Field[Any]) -> ParameterDescriptor:
    rule = rule_of(field)
    descriptor = ParameterDescriptor(description=rule.description, read_only=rule.read_only)
    descriptor.additional_constraints = ', '.join(rule.choices)
    if rule.minimum is None or rule.maximum is None:
        return descriptor
    if isinstance(field.default, float):
        limits = FloatingPointRange(from_value=rule.minimum, to_value=rule.maximum)
        descriptor.floating_point_range = [limits]
    else:
        whole = IntegerRange(from_value=int(rule.minimum), to_value=int(rule.maximum), step=1)
        descriptor.integer_range = [whole]
    return descriptor
