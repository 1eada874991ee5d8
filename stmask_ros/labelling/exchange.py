# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Labels from other tools, and how they become those of a folder, with the tracks' ids kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from stmask_ros.evaluation.dataset import Category, DatasetError
from stmask_ros.evaluation.rle import Rle
from stmask_ros.labelling.folder import Labels, LabelTrack, LabelVideo

# Below it, an object without an id is another than the one that was there.
_SAME = 0.5
# From it on, two tracks are one object.
_DOUBLE = 0.9
# Digits of a track id, which 64 bits hold.
_LONGEST_ID = 18

# What tools put around the name of an uploaded picture.
_UPLOADED = re.compile(r'^[0-9a-f]{8}-(?P<name>.+)$')
_RENAMED = re.compile(r'^(?P<name>.+)_(?:jpe?g|png)\.rf\.\w+$')


@dataclass(frozen=True)
class FoundObject:
    """
    An object in a picture, as a tool wrote it.

    picture: its number in the folder. category: '' if the format names none. track_id: as
    exported, None if it got lost. group: what the tool's own objects of one track share, '' for
    none.
    """

    picture: int
    category: str
    mask: Rle
    track_id: int | None = None
    group: str = ''


@dataclass(frozen=True)
class Found:
    """What an export holds: which pictures it is about, and the objects in them."""

    pictures: frozenset[int]
    objects: tuple[FoundObject, ...]


@dataclass(frozen=True)
class Picture:
    """A picture of the folder: its name below images/, its size [pixel], and where it stands."""

    file_name: str
    height: int
    width: int
    video_id: int
    frame: int


class Pictures(tuple[Picture, ...]):
    """All pictures of a folder, in the order of videos and frames, which numbers them from 0."""

    @classmethod
    def of(cls, labels: Labels) -> Pictures:
        """Return the pictures of some labels."""
        return cls(
            Picture(frame.file_name, video.height, video.width, video.id, index)
            for video in labels.videos for index, frame in enumerate(video.frames)
        )

    def number(self, name: str) -> int:
        """
        Return the number of a picture by what a tool calls it; DatasetError if there is none.

        The kind of file is ignored, and so is what Label Studio and Roboflow add; the folder only
        counts where pictures of several folders have the same name, and raises DatasetError then
        if it does not tell which is meant.
        """
        path = PurePosixPath(name.replace('\\', '/'))
        known: dict[str, list[int]] = {}
        for number, each in enumerate(self):
            known.setdefault(PurePosixPath(each.file_name).stem, []).append(number)
        for candidate in (path.stem, *_original_names(path.stem)):
            if numbers := known.get(candidate, []):
                return self._only(numbers, path)
        raise DatasetError(
            f'{name}: no picture of the folder has this name; it has {self[0].file_name}, ...')

    def _only(self, numbers: Sequence[int], path: PurePosixPath) -> int:
        """Return the one of these pictures, all of one name, whose folder ends a path's."""
        if len(numbers) > 1:
            folders = [PurePosixPath(self[number].file_name).parent.parts for number in numbers]
            numbers = [
                number for number, folder in zip(numbers, folders, strict=True)
                if folder == path.parent.parts[len(path.parent.parts) - len(folder):]]
        if len(numbers) != 1:
            raise DatasetError(
                f'{path}: several pictures of the folder have this name: expected that of their '
                'folder before it')
        return numbers[0]


def _original_names(stem: str) -> Iterator[str]:
    for pattern in (_UPLOADED, _RENAMED):
        if found := pattern.match(stem):
            yield found['name']


def told_id(value: object) -> int | None:
    """Return the track id that a tool wrote, None if it is none; DatasetError if too large."""
    text = str(value)
    if not text.isdecimal():
        return None
    if len(text) > _LONGEST_ID:
        raise DatasetError(f'track id {text:.30}: expected at most {_LONGEST_ID} digits')
    return int(text) or None


def merged(labels: Labels, found: Found, category: str = '') -> Labels:
    """
    Return labels in which the pictures of an export have its objects, and no others.

    Those pictures count as labelled. Objects without an id take that of the track that they
    cover. category: of new objects where the format names none. Raises DatasetError for tracks
    that are of two classes or twice in a picture, and for two tracks in one place.
    """
    pictures = Pictures.of(labels)
    ids = _identities(labels, pictures, found)
    _check_once(pictures, found, ids)
    categories = _with_new_names(labels.categories, found, category)
    tracks = _merged_tracks(labels, pictures, found, ids)
    result = Labels(
        _labelled_videos(labels, pictures, found),
        categories,
        tuple(_classified(track, found, ids, categories, labels, category) for track in tracks),
    )
    check_overlaps(result, pictures, sorted(found.pictures))
    return result


def masks_at(labels: Labels, picture: Picture) -> dict[int, Rle]:
    """Return the masks in a picture by their tracks' ids."""
    return {
        track.id: mask for track in labels.tracks if track.video_id == picture.video_id
        and (mask := track.masks[picture.frame]) is not None
    }


def check_overlaps(labels: Labels, pictures: Pictures, numbers: Sequence[int]) -> None:
    """Raise DatasetError if two tracks cover the same pixels of one of these pictures."""
    for picture in (pictures[number] for number in numbers):
        masks = masks_at(labels, picture)
        ids = list(masks)
        iou = np.triu(_iou(list(masks.values()), list(masks.values())), 1)
        if iou.size and iou.max() >= _DOUBLE:
            first, second = (ids[i] for i in np.unravel_index(iou.argmax(), iou.shape))
            raise DatasetError(
                f'{picture.file_name}: tracks {first} and {second} cover the same pixels (IoU '
                f'{iou.max():.2f}): delete one of them')


def _iou(first: Sequence[Rle], second: Sequence[Rle]) -> npt.NDArray[np.float64]:
    if not first or not second:
        return np.zeros((len(first), len(second)))
    return np.asarray(coco_mask.iou(list(first), list(second), [0] * len(second)), np.float64)


def _identities(labels: Labels, pictures: Pictures, found: Found) -> list[int]:
    """Return the track id of each object."""
    guesses = _covered(labels, pictures, found)
    votes: dict[str, Counter[int]] = {}
    for each, guess in zip(found.objects, guesses, strict=True):
        if each.group and guess is not None:
            votes.setdefault(each.group, Counter())[guess] += 1
    next_id = max(
        [track.id for track in labels.tracks] + [each.track_id or 0 for each in found.objects],
        default=0)
    named = _elected(votes)
    ids = []
    for each, guess in zip(found.objects, guesses, strict=True):
        known = each.track_id or (named.get(each.group) if each.group else guess)
        if known is None:
            next_id += 1
            known = next_id
        if each.group:
            named[each.group] = known
        ids.append(known)
    return ids


def _elected(votes: Mapping[str, Counter[int]]) -> dict[str, int]:
    """Return the track that most objects of a group cover, each track for one group."""
    named: dict[str, int] = {}
    for group, counter in sorted(votes.items(), key=lambda item: -item[1].total()):
        free = [i for i, _ in counter.most_common() if i not in named.values()]
        if free:
            named[group] = free[0]
    return named


def _covered(labels: Labels, pictures: Pictures, found: Found) -> list[int | None]:
    """Return, for each object without an id, the track whose mask in its picture it covers."""
    guesses: list[int | None] = [None] * len(found.objects)
    for number in found.pictures:
        here = [i for i, each in enumerate(found.objects) if each.picture == number]
        taken = {found.objects[i].track_id for i in here}
        lost = [i for i in here if found.objects[i].track_id is None]
        known = {i: m for i, m in masks_at(labels, pictures[number]).items() if i not in taken}
        iou = _iou([found.objects[i].mask for i in lost], list(known.values()))
        for row, column in zip(*linear_sum_assignment(-iou), strict=True):
            if iou[row, column] >= _SAME:
                guesses[lost[row]] = list(known)[column]
    return guesses


def _check_once(pictures: Pictures, found: Found, ids: Sequence[int]) -> None:
    places = Counter((each.picture, i) for each, i in zip(found.objects, ids, strict=True))
    for (number, track_id), count in places.items():
        if count > 1:
            raise DatasetError(
                f'{pictures[number].file_name}: track {track_id} is there {count} times: expected '
                'one object of a track in a picture')


def _labelled_videos(
    labels: Labels, pictures: Pictures, found: Found
) -> tuple[LabelVideo, ...]:
    seen = {(pictures[n].video_id, pictures[n].frame) for n in found.pictures}
    return tuple(
        replace(video, frames=tuple(
            replace(frame, is_labelled=True) if (video.id, index) in seen else frame
            for index, frame in enumerate(video.frames)))
        for video in labels.videos
    )


def _merged_tracks(
    labels: Labels, pictures: Pictures, found: Found, ids: Sequence[int]
) -> list[LabelTrack]:
    """Return the tracks that are seen anywhere, new ones without a class yet."""
    lengths = {video.id: len(video.frames) for video in labels.videos}
    tracks = {track.id: track for track in labels.tracks}
    masks = {track.id: list(track.masks) for track in labels.tracks}
    for picture in (pictures[number] for number in found.pictures):
        for track in labels.tracks_of(picture.video_id):
            masks[track.id][picture.frame] = None
    for each, track_id in zip(found.objects, ids, strict=True):
        picture = pictures[each.picture]
        new = LabelTrack(track_id, picture.video_id, 0, ())
        if tracks.setdefault(track_id, new).video_id != picture.video_id:
            raise DatasetError(
                f'{picture.file_name}: track {track_id} is in another video as well: expected '
                'other ids in each video')
        empty: list[Rle | None] = [None] * lengths[picture.video_id]
        masks.setdefault(track_id, empty)[picture.frame] = each.mask
    return [
        replace(track, masks=tuple(masks[track.id]), carrying={
            frame: end for frame, end in track.carrying.items() if masks[track.id][frame]})
        for track in tracks.values()
        if any(masks[track.id])
    ]


def _with_new_names(
    categories: tuple[Category, ...], found: Found, category: str
) -> tuple[Category, ...]:
    known = {each.name for each in categories}
    highest = max((each.id for each in categories), default=0)
    names = dict.fromkeys([*(o.category for o in found.objects), category])
    new = [name for name in names if name and name not in known]
    return (*categories, *(Category(highest + n, name) for n, name in enumerate(new, 1)))


def _classified(
    track: LabelTrack, found: Found, ids: Sequence[int], categories: Sequence[Category],
    labels: Labels, category: str,
) -> LabelTrack:
    """Return a track with the class that the export names, else its own."""
    numbers: Mapping[str, int] = {each.name: each.id for each in categories}
    named = {o.category for o, i in zip(found.objects, ids, strict=True) if i == track.id} - {''}
    if len(named) > 1:
        raise DatasetError(
            f'track {track.id} is of the classes {", ".join(sorted(named))}: expected one')
    if named:
        return replace(track, category_id=numbers[named.pop()])
    if track.category_id:
        return track
    if not category and len(labels.categories) != 1:
        raise DatasetError(
            f'the export names no class for its object {track.id}, which is no track of the '
            'folder: name one with --class')
    return replace(track, category_id=numbers[category or labels.categories[0].name])
