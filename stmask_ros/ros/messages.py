# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From the result of a step to messages, at the speed of the generated code's fast paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Duration, Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from stmask_ros.masks import MaskEncoding, RegionMask
from stmask_ros.msg import InstanceMask, LabelInfo, TrackedInstance, TrackedInstanceArray
from stmask_ros.tracking.results import FrameResult

_NANOSECONDS = 1_000_000_000
_LAST_SECOND = 2**31 - 1


@dataclass(frozen=True)
class InstanceFormat:
    """
    How instances are written.

    model: name of the model. class_names: class i + 1 is class_names[i]; empty names are sent
    where it is too short.
    """

    model: str
    class_names: Sequence[str]
    encoding: MaskEncoding


def stamp_of(header: Header) -> int:
    """Return a header's stamp [ns]; 0 means that it has none."""
    return int(header.stamp.sec) * _NANOSECONDS + int(header.stamp.nanosec)


def time_message(nanoseconds: int) -> Time:
    """Return a stamp [ns] as a message; one beyond the year 2038 becomes the last that fits."""
    message = Time()
    _fill_time(message, nanoseconds)
    return message


def _fill_time(message: Time, nanoseconds: int) -> None:
    seconds, message.nanosec = divmod(nanoseconds, _NANOSECONDS)
    message.sec = min(seconds, _LAST_SECOND)


def duration_message(nanoseconds: int) -> Duration:
    """Return a duration [ns] as a message."""
    seconds, rest = divmod(nanoseconds, _NANOSECONDS)
    return Duration(sec=min(seconds, _LAST_SECOND), nanosec=rest)


def instances_message(
    result: FrameResult, header: Header, frames_skipped: int, written: InstanceFormat
) -> TrackedInstanceArray:
    """
    Return all of a frame's instances as one message, under the image's own header.

    processing_time is left at zero: only the publisher knows it.
    """
    message = TrackedInstanceArray(
        header=header,
        image_width=result.image_width,
        image_height=result.image_height,
        epoch=result.epoch,
        sequence=result.sequence,
        frames_skipped=frames_skipped,
        temporal_valid=result.temporal_valid,
        model=written.model,
    )
    message.instances = instance_messages(result, written)
    return message


def instance_messages(result: FrameResult, written: InstanceFormat) -> list[TrackedInstance]:
    """Return all of a result's instances."""
    # tolist() turns whole columns into Python's own numbers, which is what messages take.
    columns = zip(
        result.track_ids.tolist(), result.statuses.tolist(), result.sources.tolist(),
        result.class_ids.tolist(), result.scores.tolist(), result.detection_scores.tolist(),
        result.ages.tolist(), result.hits.tolist(), result.missed.tolist(),
        result.first_seen.tolist(), result.last_detected.tolist(), result.boxes.tolist(),
        result.masks, strict=True,
    )
    return [_instance(written, *values) for values in columns]


def _instance(
    written: InstanceFormat, track_id: int, status: int, source: int, class_id: int, score: float,
    detection_score: float, age: int, hits: int, missed: int, first_seen: int,
    last_detected: int, box: list[float], mask: RegionMask,
) -> TrackedInstance:
    message = TrackedInstance(
        track_id=track_id, state=status, source=source,
        class_id=class_id, class_name=class_name(written.class_names, class_id),
        score=score, detection_score=detection_score,
        age=age, hits=hits, missed=missed,
        x_min=box[0], y_min=box[1], x_max=box[2], y_max=box[3],
    )
    # A message makes all its parts anyway: filling those takes half the time of bringing others.
    _fill_time(message.first_seen, first_seen)
    _fill_time(message.last_detected, last_detected)
    _fill_mask(message.mask, mask, written.encoding)
    return message


def class_name(class_names: Sequence[str], class_id: int) -> str:
    """Return the name of a class; '' if it has none."""
    return class_names[class_id - 1] if 1 <= class_id <= len(class_names) else ''


def _fill_mask(message: InstanceMask, mask: RegionMask, encoding: MaskEncoding) -> None:
    message.encoding = int(encoding)
    message.x_offset, message.y_offset = mask.x_offset, mask.y_offset
    message.height, message.width = mask.pixels.shape
    message.area = mask.area
    message.data.frombytes(mask.encode(encoding))


def image_message(
    image: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], encoding: str, header: Header
) -> Image:
    """Return a picture as an Image: uint8 [H, W, 3] for 'bgr8', uint16 [H, W] for 'mono16'."""
    rows = np.ascontiguousarray(image)
    message = Image(header=header, encoding=encoding)
    message.height, message.width = rows.shape[:2]
    message.step = rows.strides[0]
    message.is_bigendian = 0
    # Filling the array that is there skips the setter, which would look at every byte.
    message.data.frombytes(rows.data.cast('B'))
    return message


def label_info_message(
    model: str, class_names: Sequence[str], score_threshold: float, stamp: Time
) -> LabelInfo:
    """Return the classes of a model, as of `stamp`."""
    return LabelInfo(
        header=Header(stamp=stamp),
        model=model,
        class_names=list(class_names),
        score_threshold=score_threshold,
    )
