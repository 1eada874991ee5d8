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

Values = TypeVar('Values', bound=ParameterValues)


class ParameterServer(Generic[Values]):
    """Declares the parameters on a node and keeps `values` up to date while they change."""

    def __init__(
        self, node: Node, kind: type[Values], on_change: Callable[[Values], None]
    ) -> None:
        """
        Declare all parameters on `node`.

        kind: the dataclass whose fields they are.
        on_change: called with the new values after each accepted change.
        Raises ParameterError if values from the command line or a file are wrong.
        """
        self.values = _declare(node, kind)
        self._on_change = on_change
        node.add_on_set_parameters_callback(self._validate)
        node.add_post_set_parameters_callback(self._apply)

    def _validate(self, changed: list[Parameter[Any]]) -> SetParametersResult:
        problems = _replaced(self.values, changed).problems()
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
    # rclpy would take an empty list for one of bytes.
    default = Parameter.Type.STRING_ARRAY if field.default == () else field.default
    try:
        parameter = node.declare_parameter(field.name, default, _descriptor(field))
    except InvalidParameterTypeException as error:
        hint = f'{error} (a number with a fraction is written 1.0, not 1)'
        return _Declared(field.name, problem=hint)
    except InvalidParameterValueException as error:
        return _Declared(field.name, problem=str(error))
    return _Declared(field.name, _value(parameter))


def _replaced(values: Values, changed: Sequence[Parameter[Any]]) -> Values:
    names = {field.name for field in dataclasses.fields(values)}
    ours: Mapping[str, Any] = {item.name: _value(item) for item in changed if item.name in names}
    return dataclasses.replace(values, **ours)


def _value(parameter: Parameter[Any]) -> Any:
    """Return a parameter's value; a list as a tuple, and one that is not set as an empty one."""
    value = parameter.value
    if value is None:
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
