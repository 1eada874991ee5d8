# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The camera node's parameters: declared, checked, read once at start-up."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from stmask_ros.ros.node_help import Described
from stmask_ros.ros.unknown_parameters import warn_of_unknown_parameters

_DESCRIPTION = 'description'
_BETWEEN = 'between'


class CameraParameterError(ValueError):
    """A parameter that the camera node cannot start with; the message is for the user."""


def _parameter(
    default: Any, description: str, between: tuple[float, float] | None = None
) -> Any:
    metadata = {_DESCRIPTION: description, _BETWEEN: between}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class CameraParameters:
    """The values of all parameters of the camera node; each field's description says what for."""

    source: str = _parameter(
        '', 'What to play: device:0 or /dev/video0 for a camera, a video file, a folder of '
        'pictures, a bag (its folder, or its .mcap or .db3 file). Empty: the built-in clip.')
    bag_topic: str = _parameter(
        '', 'Image topic to read from a bag, raw or compressed. Empty: one in colour '
        "before depth, infrared and a segmenter's pictures; the log says which.")
    rate: float = _parameter(
        0.0, "Frames a second. 0.0: the source's own (folders: 30).", (0.0, 1000.0))
    loop: bool = _parameter(
        True, 'Play the source again when it ends. If false, the node ends with the source.')
    wait_for_subscribers: int = _parameter(
        0, 'Do not start before this many subscriptions to the images, raw and compressed, are '
        'there.', (0, 1000))
    frame_id: str = _parameter(
        '', "frame_id of all messages. Empty: the recorded one, else 'camera'.")
    stamps: str = _parameter(
        'node', "Stamps of all messages. node: the node's clock when a frame is published, so "
        'use_sim_time is honoured. source: as recorded (bags only).')
    camera_info_url: str = _parameter(
        '', 'Calibration file (a path, file:// or package:// URL, with ${ROS_HOME} and ${NAME} in '
        'it), as camera_calibration writes it. Empty: '
        'camera_info says that the camera is not calibrated.')
    width: int = _parameter(
        0, "Width to resize to, together with height. 0: the source's own.", (0, 16384))
    height: int = _parameter(
        0, "Height to resize to, together with width. 0: the source's own.", (0, 16384))
    jpeg_quality: int = _parameter(90, 'Quality of the JPEGs that this node makes.', (1, 100))

    def __post_init__(self) -> None:
        """Raise CameraParameterError for a value that makes no sense."""
        for field in dataclasses.fields(self):
            value, between = getattr(self, field.name), field.metadata[_BETWEEN]
            if between and not between[0] <= value <= between[1]:
                raise CameraParameterError(
                    f'{field.name}: {value} is outside {between[0]} to {between[1]}')
        if self.stamps not in ('node', 'source'):
            raise CameraParameterError(f"stamps: '{self.stamps}' is neither node nor source")
        if (self.width == 0) != (self.height == 0):
            raise CameraParameterError(
                f'width and height: give both or none, not {self.width} and {self.height}')


def described() -> list[Described]:
    """Return all parameters for the help."""
    return [
        Described(field.name, field.default, field.metadata[_DESCRIPTION])
        for field in dataclasses.fields(CameraParameters)
    ]


def declare_camera_parameters(node: Node) -> CameraParameters:
    """Declare all parameters on a node and return their values; CameraParameterError if wrong."""
    values = {}
    for field in dataclasses.fields(CameraParameters):
        declared = node.declare_parameter(field.name, field.default, _descriptor(field))
        values[field.name] = declared.value
    warn_of_unknown_parameters(node)
    return CameraParameters(**values)


def _descriptor(field: dataclasses.Field[Any]) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=field.metadata[_DESCRIPTION], read_only=True)
    between = field.metadata[_BETWEEN]
    if between and isinstance(field.default, float):
        limits = FloatingPointRange(from_value=between[0], to_value=between[1])
        descriptor.floating_point_range = [limits]
    elif between:
        whole = IntegerRange(from_value=between[0], to_value=between[1], step=1)
        descriptor.integer_range = [whole]
    return descriptor
