"""The segmenter node's parameters: declared, validated together, changed while it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from stmask_ros.masks import MaskEncoding
from stmask_ros.tracking.tracks import TrackerConfig

_TRACKER = TrackerConfig()
_RULE = 'rule'


class ParameterError(ValueError):
    """Parameters that the node cannot start with; the message lists every one."""


@dataclass(frozen=True)
class Rule:
    """What a parameter means, which values it takes, and whether it can change at run time."""

    description: str
    read_only: bool
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]

    def problem(self, name: str, value: object) -> str | None:
        """Return what is wrong with a value of the right type, or None."""
        if self.choices and value not in self.choices:
            return f"{name}: '{value}' is none of {', '.join(self.choices)}"
        if isinstance(value, str) and not value.strip():
            return f'{name}: must not be empty'
        if self.minimum is None or self.maximum is None or not isinstance(value, (int, float)):
            return None
        if not self.minimum <= value <= self.maximum:
            return f'{name}: {value} is outside {self.minimum} to {self.maximum}'
        return None


def _parameter(
    default: Any,
    description: str,
    *,
    read_only: bool = False,
    between: tuple[float, float] | None = None,
    choices: Sequence[str] = (),
) -> Any:
    minimum, maximum = between or (None, None)
    rule = Rule(description, read_only, minimum, maximum, tuple(choices))
    return dataclasses.field(default=default, metadata={_RULE: rule})


@dataclass(frozen=True)
class Parameters:
    """The values of all parameters of the segmenter node (config/stmask.yaml explains each)."""

    model: str = _parameter(
        'stmask_lite',
        "Name of a model in the package's model folder, or path of a model's .yaml file.",
        read_only=True,
    )
    device: str = _parameter(
        'auto',
        "Where the network runs: 'cpu', 'cuda', 'cuda:1', or 'auto' (CUDA if there is one).",
        read_only=True,
    )
    torch_threads: int = _parameter(
        0,
        "CPU threads of the network [count]; 0 is PyTorch's own choice.",
        read_only=True,
        between=(0, 1024),
    )
    image_transport: str = _parameter(
        'raw',
        "'raw' subscribes to image, 'compressed' to image/compressed.",
        read_only=True,
        choices=('raw', 'compressed'),
    )
    autostart: bool = _parameter(
        False,
        'Configure and activate at start-up, without a lifecycle manager.',
        read_only=True,
    )
    diagnostics_period: float = _parameter(
        1.0,
        'Time between two reports on /diagnostics [s].',
        read_only=True,
        between=(0.05, 60.0),
    )
    max_gap: float = _parameter(
        10.0,
        'Longest pause between the stamps of two images of one epoch [s]; 0: no limit.',
        between=(0.0, 1e9),
    )
    score_threshold: float = _parameter(
        _TRACKER.score_threshold,
        'Instances with a lower score are not reported [0..1].',
        between=(0.0, 1.0),
    )
    nms_threshold: float = _parameter(
        _TRACKER.nms_threshold,
        'Of two detections that overlap more than this (IoU), the weaker is dropped [0..1].',
        between=(0.0, 1.0),
    )
    max_missed: int = _parameter(
        _TRACKER.max_missed,
        'A track not detected in more frames in a row than this is given up [frames].',
        between=(0, 10_000),
    )
    confirm_hits: int = _parameter(
        _TRACKER.confirm_hits,
        'A track is TENTATIVE until it was detected in this many frames [frames].',
        between=(1, 10_000),
    )
    capacity: int = _parameter(
        _TRACKER.capacity,
        'Most tracks kept at a time [count].',
        read_only=True,
        between=(1, 4096),
    )
    retirement: Literal['missed', 'never'] = _parameter(
        _TRACKER.retirement,
        "'missed' gives tracks up after max_missed; 'never' keeps all, as STMask does.",
        read_only=True,
        choices=('missed', 'never'),
    )
    mask_encoding: str = _parameter(
        'coco_rle',
        'Encoding of the masks in ~/instances.',
        choices=('coco_rle', 'bitpack', 'mono8', 'none'),
    )
    publish_class_names: bool = _parameter(
        True,
        'Send the name of the class with every instance, not its number alone.',
    )

    def problems(self) -> list[str]:
        """Return what is wrong with the values, one line each; empty if all are right."""
        rules = {field.name: _rule(field) for field in dataclasses.fields(self)}
        found = [rule.problem(name, getattr(self, name)) for name, rule in rules.items()]
        return [problem for problem in found if problem is not None]

    def tracker(self) -> TrackerConfig:
        """Return the part that the tracker reads."""
        return TrackerConfig(
            score_threshold=self.score_threshold,
            nms_threshold=self.nms_threshold,
            max_missed=self.max_missed,
            confirm_hits=self.confirm_hits,
            capacity=self.capacity,
            retirement=self.retirement,
        )

    def encoding(self) -> MaskEncoding:
        """Return mask_encoding as the value of InstanceMask.encoding."""
        return MaskEncoding[self.mask_encoding.upper()]


class ParameterServer:
    """Declares the parameters on a node and keeps `values` up to date while they change."""

    def __init__(self, node: Node, on_change: Callable[[Parameters], None]) -> None:
        """
        Declare all parameters on `node`.

        on_change: called with the new values after each accepted change.
        Raises ParameterError if values from the command line or a file are wrong.
        """
        self.values = _declare(node)
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


def _declare(node: Node) -> Parameters:
    declared = [_declare_one(node, field) for field in dataclasses.fields(Parameters)]
    problems = [item.problem for item in declared if item.problem]
    values = Parameters(**{item.name: item.value for item in declared if not item.problem})
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
    try:
        parameter = node.declare_parameter(field.name, field.default, _descriptor(field))
    except InvalidParameterTypeException as error:
        hint = f'{error} (a number with a fraction is written 1.0, not 1)'
        return _Declared(field.name, problem=hint)
    except InvalidParameterValueException as error:
        return _Declared(field.name, problem=str(error))
    return _Declared(field.name, parameter.value)


def _replaced(values: Parameters, changed: Sequence[Parameter[Any]]) -> Parameters:
    names = {field.name for field in dataclasses.fields(values)}
    ours: Mapping[str, Any] = {item.name: item.value for item in changed if item.name in names}
    return dataclasses.replace(values, **ours)


def _descriptor(field: dataclasses.Field[Any]) -> ParameterDescriptor:
    rule = _rule(field)
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


def _rule(field: dataclasses.Field[Any]) -> Rule:
    rule = field.metadata[_RULE]
    assert isinstance(rule, Rule)
    return rule
