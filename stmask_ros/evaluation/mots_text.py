# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The text files of KITTI-MOTS and MOTS Challenge: one a video, in it a line for every mask.

A line is `frame id class height width text`, the last the compressed run lengths of COCO. The
format is described in docs/MOTS-format.txt of TrackEval.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stmask_ros.evaluation.dataset import (
    Category,
    Dataset,
    DatasetError,
    GroundTruthTrack,
    Video,
    average_area,
)
from stmask_ros.evaluation.records import MOST_PIXELS, MOST_SIDE, BadEntries
from stmask_ros.evaluation.rle import MaskSequence, Rle, SegmentationError
from stmask_ros.names import natural_order

CATEGORIES = (Category(1, 'car'), Category(2, 'pedestrian'))

# MOTS Challenge has a folder for each video, with these in it.
_FILE_OF_CHALLENGE, _FRAMES_OF_CHALLENGE = 'gt', 'img1'
# Where nobody is to be blamed for a track.
_IGNORED = 10_000
_MOST_FRAMES = 1_000_000


@dataclass(frozen=True)
class _Line:
    """A mask: where it stands, its frame, the object's id and class, and the mask."""

    where: str
    frame: int
    object_id: int
    category_id: int
    mask: Rle


def load_mots_text(path: Path, skip_bad: bool = False) -> Dataset:
    """
    Read a file, or a folder of files named as their videos; DatasetError or OSError.

    Of each video come the frames from the first to the last that a line names; pixels that are to
    be ignored are left out. skip_bad: leave out lines that are not as the format has them, with a
    warning of how many.
    """
    files = [path] if path.is_file() else sorted(
        path.glob('*.txt'), key=lambda file: natural_order(file.name))
    videos: list[Video] = []
    tracks: list[GroundTruthTrack] = []
    bad = BadEntries(skip_bad)
    for file in files:
        if lines := list(_lines(file, bad)):
            videos.append(_video(len(videos) + 1, file, lines))
            tracks += _tracks(videos[-1], lines, bad, len(tracks) + 1)
    bad.tell()
    if not videos:
        raise DatasetError(
            f'{path}: expected lines `frame id class height width run-lengths`, and found none')
    return Dataset(tuple(videos), CATEGORIES, tuple(tracks))


def _lines(file: Path, bad: BadEntries) -> Iterator[_Line]:
    size: list[int] = []
    text = file.read_text(encoding='utf-8', errors='replace').removeprefix('\ufeff')
    for number, line in enumerate(text.split('\n'), 1):
        if not line.strip():
            continue
        with bad.left_out():
            parsed = _parsed(line, f'{file}: line {number}')
            size = size or parsed.mask['size']
            if size != parsed.mask['size']:
                raise DatasetError(
                    f'{parsed.where}: an image of {parsed.mask["size"]}, but of {size} before it')
            if parsed.object_id != _IGNORED:
                yield parsed


def _parsed(line: str, where: str) -> _Line:
    fields = line.split()
    try:
        frame, object_id, category_id, height, width = map(int, fields[:-1])
    except ValueError as error:
        raise DatasetError(
            f'{where}: expected five whole numbers and run lengths, got {line!r:.60}') from error
    if not (0 <= frame < _MOST_FRAMES and 0 < object_id <= _IGNORED):
        raise DatasetError(
            f'{where}: frame {frame} and id {object_id}: expected 0 to {_MOST_FRAMES - 1} and 1 '
            f'to {_IGNORED}')
    known = [category.id for category in CATEGORIES]
    if category_id not in known and object_id != _IGNORED:
        raise DatasetError(f'{where}: class {category_id} is none of {known}')
    if not (0 < height <= MOST_SIDE and 0 < width <= MOST_SIDE and height * width <= MOST_PIXELS):
        raise DatasetError(f'{where}: {width}x{height} is the size of no picture')
    return _Line(where, frame, object_id, category_id, {
        'size': [height, width], 'counts': fields[-1]})


def _video(video_id: int, file: Path, lines: Sequence[_Line]) -> Video:
    frames = [line.frame for line in lines]
    place = _FRAMES_OF_CHALLENGE if file.stem == _FILE_OF_CHALLENGE else file.stem
    names = tuple(f'{place}/{frame:06}.png' for frame in range(min(frames), max(frames) + 1))
    height, width = lines[0].mask['size']
    return Video(video_id, height, width, len(names), names)


def _objects(lines: Sequence[_Line], bad: BadEntries) -> Iterator[dict[int, _Line]]:
    """Yield the lines of each object by their frame, in the order of the ids."""
    objects: defaultdict[int, dict[int, _Line]] = defaultdict(dict)
    for line in lines:
        with bad.left_out():
            shown = objects[line.object_id]
            if line.frame in shown:
                raise DatasetError(f'{line.where}: object {line.object_id} is there already')
            before = next(iter(shown.values()), line)
            if before.category_id != line.category_id:
                raise DatasetError(
                    f'{line.where}: object {line.object_id} is of class {line.category_id}, but '
                    f'of {before.category_id} before')
            shown[line.frame] = line
    yield from (objects[key] for key in sorted(objects) if objects[key])


def _tracks(
    video: Video, lines: Sequence[_Line], bad: BadEntries, first_id: int
) -> Iterator[GroundTruthTrack]:
    first = min(line.frame for line in lines)
    for track_id, shown in enumerate(_objects(lines, bad), first_id):
        category_id = next(iter(shown.values())).category_id
        masks = _whole(shown, bad)
        sequence = MaskSequence.from_masks(
            [masks.get(frame) for frame in range(first, first + video.length)])
        area = average_area(sequence.areas.tolist())
        yield GroundTruthTrack(track_id, video.id, category_id, False, area, sequence)


def _whole(shown: Mapping[int, _Line], bad: BadEntries) -> dict[int, Rle]:
    """Return the masks that can be decoded, by their frame."""
    masks = {frame: line.mask for frame, line in shown.items()}
    try:
        MaskSequence.from_masks(list(masks.values()))
    except SegmentationError:
        for line in shown.values():
            with bad.left_out():
                masks.pop(line.frame)
                _check(line)
                masks[line.frame] = line.mask
    return masks


def _check(line: _Line) -> None:
    try:
        MaskSequence.from_masks([line.mask])
    except SegmentationError as error:
        raise DatasetError(f'{line.where}: {error.__cause__}') from error
