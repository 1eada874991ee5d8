"""The camera node's parameters: declared, checked, read once at start-up."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

_DESCRIPTION = 'description'


class CameraParameterError(ValueError):
    """A parameter that the camera node cannot start with; the message is for the user."""


def _parameter(default: Any, description: str) -> Any:
    return dataclasses.field(default=default, metadata={_DESCRIPTION: description})


@dataclass(frozen=True)
class CameraParameters:
    """The values of all parameters of the camera node; each field's description says what for."""

    source: str = _parameter(
        '', 'What to play: device:0 or /dev/video0 for a camera, a video file, a folder of '
        'pictures, a bag (its folder, or its .mcap or .db3 file). Empty: the built-in clip.')
    bag_topic: str = _parameter(
        '', 'Image topic to read from a bag, raw or compressed. Empty: the first one in it.')
    rate: float = _parameter(
        0.0, "Frames a second. 0.0: the source's own (folders: 30).")
    loop: bool = _parameter(
        True, 'Play the source again when it ends. If false, the node ends with the source.')
    wait_for_subscribers: int = _parameter(
        0, 'Do not start before this many subscriptions to the images, raw and compressed, are '
        'there.')
    frame_id: str = _parameter(
        '', "frame_id of all messages. Empty: the recorded one, else 'camera'.")
    stamps: str = _parameter(
        'node', "Stamps of all messages. node: the node's clock when a frame is published, so "
        'use_sim_time is honoured. source: as recorded (bags only).')
    camera_info_url: str = _parameter(
        '', 'Calibration file (a path or file:// URL), as camera_calibration writes it. Empty: '
        'camera_info says that the camera is not calibrated.')
    width: int = _parameter(0, "Width to resize to, together with height. 0: the source's own.")
    height: int = _parameter(0, "Height to resize to, together with width. 0: the source's own.")
    jpeg_quality: int = _parameter(90, 'Quality of the JPEGs that this node makes, 1 to 100.')

    def __post_init__(self) -> None:
        """Raise CameraParameterError for a value that makes no sense."""
        if not 0 <= self.rate <= 1000:
            raise CameraParameterError(f'rate: {self.rate} is outside 0.0 to 1000.0')
        if self.stamps not in ('node', 'source'):
            raise CameraParameterError(f"stamps: '{self.stamps}' is neither node nor source")
        if not 1 <= self.jpeg_quality <= 100:
            raise CameraParameterError(f'jpeg_quality: {self.jpeg_quality} is outside 1 to 100')
        sides = (self.width, self.height)
        if sides != (0, 0) and not all(1 <= side <= 16384 for side in sides):
            raise CameraParameterError(
                f'width and height: give both (1 to 16384) or none, not {self.width} and '
                f'{self.height}')


def declare_camera_parameters(node: Node) -> CameraParameters:
    """Declare all parameters on a node and return their values; CameraParameterError if wrong."""
    values = {}
    for field in dataclasses.fields(CameraParameters):
        descriptor = ParameterDescriptor(
            description=field.metadata[_DESCRIPTION], read_only=True)
        values[field.name] = node.declare_parameter(field.name, field.default, descriptor).value
    return CameraParameters(**values)
