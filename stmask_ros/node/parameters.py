"""The segmenter node's parameters: their values, and the rules these obey."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stmask_ros.families.stmask.tracks import TrackerConfig
from stmask_ros.masks import MaskEncoding

_TRACKER = TrackerConfig()
_RULE = 'rule'
_CAMERA_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*')


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
    precision: Literal['float32', 'float16', 'bfloat16'] = _parameter(
        'float32',
        "Of the network's weights and feature maps; a CPU has float32 only.",
        read_only=True,
        choices=('float32', 'float16', 'bfloat16'),
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
    cameras: tuple[str, ...] = _parameter(
        (),
        "Names of the cameras: that of 'front' is received on front/image and answered on "
        '~/front/instances. None: one camera, received on image, answered on ~/instances.',
        read_only=True,
    )
    max_batch: int = _parameter(
        0,
        'Most images of different cameras in one step [count]; 0: all that wait on a GPU, one '
        'on a CPU, where a step takes as long as its images one after the other.',
        between=(0, 1024),
    )
    batch_wait: float = _parameter(
        0.005,
        'Longest time that an image waits for those of other cameras to share its step [s].',
        between=(0.0, 10.0),
    )
    trace: bool = _parameter(
        False,
        "Write the times of every image to a trace file in ROS's log directory.",
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
    birth_threshold: float = _parameter(
        0.2,
        'A detection with a lower score starts no track, it can only continue one [0..1].',
        between=(0.0, 1.0),
    )
    nms_threshold: float = _parameter(
        0.4,
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
        rules = {field.name: rule_of(field) for field in dataclasses.fields(self)}
        found = [rule.problem(name, getattr(self, name)) for name, rule in rules.items()]
        return [problem for problem in found if problem is not None] + self._camera_problems()

    def _camera_problems(self) -> list[str]:
        """Return which names of cameras cannot be part of a topic's name, or come twice."""
        problems = [
            f"cameras: '{name}' is no name: use letters, digits and underscores, a letter first"
            for name in self.cameras if not _CAMERA_NAME.fullmatch(name)
        ]
        if len(set(self.cameras)) < len(self.cameras):
            problems.append(f'cameras: a name comes twice in {", ".join(self.cameras)}')
        return problems

    def tracker(self) -> TrackerConfig:
        """Return the part that the tracker reads."""
        return TrackerConfig(
            score_threshold=self.score_threshold,
            birth_threshold=self.birth_threshold,
            nms_threshold=self.nms_threshold,
            max_missed=self.max_missed,
            confirm_hits=self.confirm_hits,
            capacity=self.capacity,
            retirement=self.retirement,
        )

    def encoding(self) -> MaskEncoding:
        """Return mask_encoding as the value of InstanceMask.encoding."""
        return MaskEncoding[self.mask_encoding.upper()]


def rule_of(field: dataclasses.Field[Any]) -> Rule:
    """Return the rule of a field of Parameters."""
    rule = field.metadata[_RULE]
    assert isinstance(rule, Rule)
    return rule
