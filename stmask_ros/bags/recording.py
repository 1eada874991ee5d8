# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a recording of the segmenter holds: checked message by message, summed up, and shown."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.bags.files import INSTANCES, BagMessage, read_bag
from stmask_ros.bags.image_reader import pictures
from stmask_ros.images.raw import Bgr
from stmask_ros.masks import MaskEncoding, decode

_TERMINATED = 4


class RecordingError(Exception):
    """A recorded message breaks a promise of the node; the message says which."""


@dataclass(frozen=True)
class Recording:
    """
    The sums of a recording that kept all promises.

    inputs, outputs: recorded input images, and processed ones. instances: in all outputs.
    tracks: different (epoch, track id). latencies: from the image's stamp to the recording of
    its instances [s], [outputs].
    """

    inputs: int
    outputs: int
    instances: int
    tracks: int
    epochs: int
    latencies: npt.NDArray[np.float64]


def check_recording(bag: Path, image_topic: str, instances_topic: str) -> Recording:
    """
    Read a bag back and check every instance message.

    Each must carry the header of an input image, ids that are unique and never come back, scores
    in [0, 1], boxes in the image, and masks inside their region and the image with exactly `area`
    pixels. Raises RecordingError at the first that does not, BagError if the bag is unreadable.
    """
    headers = {
        _header(message.content) for message in read_bag(bag, image_topic)
    }
    outputs = list(read_bag(bag, instances_topic))
    ids: set[tuple[int, int]] = set()
    ended: set[tuple[int, int]] = set()
    for message in outputs:
        array = message.content
        if _header(array) not in headers:
            raise RecordingError(f'header {_header(array)} is that of no recorded image')
        present = _check_instances(array)
        if back := present & ended:
            raise RecordingError(f'track {min(back)} came back after it was terminated')
        ids |= present
        ended |= {
            (array.epoch, i.track_id) for i in array.instances if i.state == _TERMINATED
        }
    return Recording(
        inputs=len(headers),
        outputs=len(outputs),
        instances=sum(len(message.content.instances) for message in outputs),
        tracks=len(ids),
        epochs=len({message.content.epoch for message in outputs}),
        latencies=np.array([_latency(message) for message in outputs], np.float64),
    )


def _check_instances(array: Any) -> set[tuple[int, int]]:
    counts = Counter(instance.track_id for instance in array.instances)
    if repeated := [track for track, count in counts.items() if count > 1 or track < 1]:
        raise RecordingError(f'track ids {repeated} are below 1 or repeated in one message')
    for instance in array.instances:
        _check_instance(instance, array.image_width, array.image_height)
    return {(array.epoch, track) for track in counts}


def _check_instance(instance: Any, width: int, height: int) -> None:
    name = f'track {instance.track_id}'
    if not (0 <= instance.score <= 1 and 0 <= instance.detection_score <= 1):
        raise RecordingError(f'{name}: score {instance.score} is not in [0, 1]')
    if not (0 <= instance.x_min <= instance.x_max <= width
            and 0 <= instance.y_min <= instance.y_max <= height):
        raise RecordingError(f'{name}: its box is not inside the image')
    if instance.mask.encoding == MaskEncoding.NONE:
        return
    mask = decode(instance.mask)
    full = mask.to_full(height, width)  # raises if the region leaves the image
    if not np.count_nonzero(full) == mask.area == instance.mask.area:
        raise RecordingError(f'{name}: area {instance.mask.area}, but {mask.area} pixels')
    if mask.area and not (mask.pixels[[0, -1]].any(1).all()
                          and mask.pixels[:, [0, -1]].any(0).all()):
        raise RecordingError(f'{name}: its region is not tight')


def _header(content: Any) -> tuple[int, int, str]:
    stamp = content.header.stamp
    return int(stamp.sec), int(stamp.nanosec), str(content.header.frame_id)


def _latency(message: BagMessage) -> float:
    sec, nanosec, _ = _header(message.content)
    return message.time * 1e-9 - (sec + nanosec * 1e-9)


def write_video(path: Path, frames: Iterable[Bgr], rate: float) -> int:
    """
    Write pictures of one size as an MP4 of so many frames a second; return how many.

    Raises OSError if they are not all in the file: OpenCV says nothing of a full disk.
    """
    writer: cv2.VideoWriter | None = None
    count = 0
    for frame in frames:
        count += 1
        if writer is None:
            size = (frame.shape[1], frame.shape[0])
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), rate, size)
        writer.write(np.ascontiguousarray(frame))
    if writer is not None:
        writer.release()
        if cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) != count:
            raise OSError(errno.EIO, 'the video is not whole; is the disk full?', str(path))
    return count


def write_picture(path: Path, picture: Bgr) -> None:
    """Write a picture in the format that the name tells; OSError if it cannot be written."""
    encoded = cv2.imencode(path.suffix, picture)[1]
    try:
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def contact_sheet(frames: Sequence[Bgr], columns: int = 3, width: int = 426) -> Bgr:
    """Return up to columns * columns pictures, evenly chosen, side by side in one."""
    if not frames:
        raise ValueError('a contact sheet needs at least one picture')
    chosen = np.unique(np.linspace(0, len(frames) - 1, columns * columns).round().astype(int))
    height = round(width * frames[0].shape[0] / frames[0].shape[1])
    tiles = [cv2.resize(frames[i], (width, height), interpolation=cv2.INTER_AREA) for i in chosen]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i:i + columns]) for i in range(0, len(tiles), columns)]
    return np.vstack(rows)


def rate_of(messages: Iterable[BagMessage]) -> float:
    """Return how many messages a second the stamps of a topic say there are, at least 1."""
    stamps = [_header(m.content)[0] + _header(m.content)[1] * 1e-9 for m in messages]
    if len(stamps) < 2 or stamps[-1] <= stamps[0]:
        return 1.0
    return max((len(stamps) - 1) / (stamps[-1] - stamps[0]), 1.0)


__all__ = [
    'INSTANCES', 'Recording', 'RecordingError', 'check_recording', 'contact_sheet', 'pictures',
    'rate_of', 'write_picture', 'write_video',
]
