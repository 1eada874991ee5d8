# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The official JSON files of YouTube-VIS and OVIS: ground truth and submitted results."""

from __future__ import annotations

import gc
import json
import logging
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from stmask_ros.evaluation.long_lists import LongList, in_blocks
from stmask_ros.evaluation.records import (
    RESULTS_NAME,
    BadEntries,
    Record,
    json_document,
    kind,
)
from stmask_ros.evaluation.records import DatasetError as DatasetError
from stmask_ros.evaluation.rle import (
    MaskSequence,
    Rle,
    SegmentationError,
    decode_tracks,
    read_masks,
)
from stmask_ros.output_files import whole_file, write_whole

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Video:
    """
    One video: its id, frame size [pixel], and the names of its frames in order.

    stamps: of its frames [ns]; empty where the file has none. Not part of the official format:
    an optional list beside file_names, by which a bag's images find their annotations.
    """

    id: int
    height: int
    width: int
    length: int
    file_names: tuple[str, ...]
    stamps: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The folder that its first frame is in, else its id."""
        folder, separator, _ = (self.file_names or ('',))[0].rpartition('/')
        return folder if separator else str(self.id)


@dataclass(frozen=True)
class Category:
    """One class of the data set."""

    id: int
    name: str


@dataclass(frozen=True)
class GroundTruthTrack:
    """
    One annotated object.

    average_area: mean of the annotation's own non-zero areas [pixel], 0 without any. The metric
    takes the size of an object from this field, not from the masks.
    """

    id: int
    video_id: int
    category_id: int
    is_crowd: bool
    average_area: float
    sequence: MaskSequence


@dataclass(frozen=True)
class PredictedTrack:
    """One hypothesis: a track, its class and its score (any finite number, higher is surer)."""

    video_id: int
    category_id: int
    score: float
    sequence: MaskSequence


Track = TypeVar('Track', GroundTruthTrack, PredictedTrack)


@dataclass(frozen=True)
class Dataset:
    """Videos and categories in ascending order of their ids; tracks in the order of the file."""

    videos: tuple[Video, ...]
    categories: tuple[Category, ...]
    tracks: tuple[GroundTruthTrack, ...]


def load_dataset(path: Path, skip_bad: bool = False) -> Dataset:
    """
    Read a ground-truth file; DatasetError or OSError if that cannot be done.

    skip_bad: leave out entries that are not as the format has them, with a warning of how many.
    """
    with collector_paused(), json_document(path, 'annotations') as document:
        return parse_dataset(document, str(path), skip_bad)


def load_predictions(
    path: Path, dataset: Dataset, skip_bad: bool = False
) -> list[PredictedTrack]:
    """Read results.json, or the submission zip around it; see load_dataset."""
    with collector_paused(), json_document(path) as document:
        return parse_predictions(document, dataset, str(path), skip_bad)


def parse_dataset(
    document: Any, source: str = 'ground truth', skip_bad: bool = False
) -> Dataset:
    """
    Check and convert a decoded ground-truth file.

    A file without annotations (the public valid and test files) has no tracks.
    source: what messages call the file. skip_bad: see load_dataset. Raises DatasetError.
    """
    root, bad = Record(document, source), BadEntries(skip_bad)
    videos = _unique(_parsed(root.records('videos'), _video, bad), source, 'video', bad)
    names = _unique(_parsed(root.records('categories'), _category, bad), source, 'category', bad)
    annotations = root.long_list('annotations') if root.has('annotations') else ()

    def truth(record: Record, sequence: MaskSequence) -> GroundTruthTrack:
        return _truth(record, sequence, names)

    tracks = _unique(
        _tracks(annotations, f'{source}: annotations', videos, truth, bad), source, 'annotation',
        bad,
    )
    bad.tell()
    return Dataset(
        tuple(videos[key] for key in sorted(videos)),
        tuple(names[key] for key in sorted(names)),
        tuple(tracks.values()),
    )


def parse_predictions(
    document: Any, dataset: Dataset, source: str = 'predictions', skip_bad: bool = False
) -> list[PredictedTrack]:
    """
    Check and convert a decoded results.json; an empty list is fine. Raises DatasetError.

    skip_bad: see load_dataset.

    Warns about tracks that are read but cannot score: of an unknown category, or with masks of
    another size or number than their video's frames.
    """
    if not isinstance(document, list | LongList):
        raise DatasetError(f'{source}: expected a list of results, got {kind(document)}')
    videos = {video.id: video for video in dataset.videos}
    bad = BadEntries(skip_bad)
    predictions = list(_tracks(document, f'{source}: results', videos, _prediction, bad))
    bad.tell()
    _warn_of_misfits(predictions, dataset, source)
    return predictions


def _warn_of_misfits(
    predictions: Sequence[PredictedTrack], dataset: Dataset, source: str
) -> None:
    known = {category.id for category in dataset.categories}
    videos = {video.id: video for video in dataset.videos}
    lengths = [len(track.sequence) for track in predictions]
    expected = [
        (videos[track.video_id].height, videos[track.video_id].width) for track in predictions
    ]
    none = np.zeros((0, 2), np.int64)
    sizes = np.concatenate([none, *(track.sequence.sizes for track in predictions)])
    differ = (sizes != np.repeat(np.reshape(expected, (-1, 2)), lengths, axis=0)) & (sizes > 0)
    owners = np.repeat(np.arange(len(predictions)), lengths)
    misfits = {
        'a category_id that the ground truth does not have': sum(
            track.category_id not in known for track in predictions
        ),
        'more or fewer frames than their video': sum(
            length != videos[track.video_id].length
            for track, length in zip(predictions, lengths, strict=True)
        ),
        'masks of another size than their video': len(np.unique(owners[differ.any(axis=1)])),
    }
    for what, count in misfits.items():
        if count:
            _LOGGER.warning('%s: %d of %d results have %s', source, count, len(predictions), what)


def write_predictions(path: Path, predictions: Iterable[PredictedTrack]) -> None:
    """Write results.json; a path that ends in .zip gets the archive that servers accept."""
    text = json.dumps([as_result(prediction) for prediction in predictions])
    if path.suffix != '.zip':
        write_whole(path, text)
        return
    with whole_file(path) as part, zipfile.ZipFile(part, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(RESULTS_NAME, text)


def as_result(prediction: PredictedTrack) -> dict[str, Any]:
    """Return a track as an entry of results.json."""
    return {
        'video_id': prediction.video_id,
        'category_id': prediction.category_id,
        'score': prediction.score,
        'segmentations': [_as_entry(mask) for mask in prediction.sequence.masks],
    }


def _as_entry(mask: Rle | None) -> dict[str, Any] | None:
    if mask is None:
        return None
    counts = mask['counts']
    text = counts.decode('ascii') if isinstance(counts, bytes) else counts
    return {'size': [int(side) for side in mask['size']], 'counts': text}


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the cycle collector from walking a growing heap without cycles again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _parsed(
    entries: Iterable[tuple[Any, str]], parse: Callable[[Record], Any], bad: BadEntries
) -> Iterator[Any]:
    for values, where in entries:
        with bad.left_out():
            yield parse(Record(values, where))


def _video(record: Record) -> Video:
    file_names = record.texts('file_names') if record.has('file_names') else ()
    length = record.integer('length') if record.has('length') else len(file_names)
    stamps = tuple(record.items('stamps')) if record.has('stamps') else ()
    if stamps and (len(stamps) != length or not all(isinstance(stamp, int) for stamp in stamps)):
        raise DatasetError(f"{record.where}: 'stamps': expected {length} whole numbers [ns]")
    return Video(record.integer('id'), *record.size(), length, file_names, stamps)


def _category(record: Record) -> Category:
    return Category(record.integer('id'), record.text('name'))


def _truth(
    record: Record, sequence: MaskSequence, categories: Mapping[int, Category]
) -> GroundTruthTrack:
    if record.integer('category_id') not in categories:
        raise DatasetError(
            f'{record.where}: category_id {record.integer("category_id")} is not among the '
            'categories')
    areas = record.numbers('areas') if record.has('areas') else sequence.areas.tolist()
    return GroundTruthTrack(
        record.integer('id'),
        record.integer('video_id'),
        record.integer('category_id'),
        bool(record.integer('iscrowd')) if record.has('iscrowd') else False,
        average_area(areas),
        sequence,
    )


def _prediction(record: Record, sequence: MaskSequence) -> PredictedTrack:
    return PredictedTrack(
        record.integer('video_id'),
        record.integer('category_id'),
        record.number('score'),
        sequence,
    )


def _tracks(
    items: LongList | Sequence[Any], where: str, videos: Mapping[int, Video],
    track_of: Callable[[Record, MaskSequence], Track], bad: BadEntries,
) -> Iterator[Track]:
    """Yield the track of every item; where: what complaints call the list."""
    total = 0
    for block in in_blocks(items):
        read: list[tuple[Record, list[Rle | None]]] = []
        for index, item in enumerate(block, total):
            with bad.left_out():
                record = Record(item, f'{where}[{index}]')
                read.append((record, _masks(record, videos)))
        total += len(block)
        for record, sequence in _decoded_block(read, bad):
            with bad.left_out():
                yield track_of(record, sequence)


def _decoded_block(
    read: Sequence[tuple[Record, list[Rle | None]]], bad: BadEntries
) -> Iterator[tuple[Record, MaskSequence]]:
    try:
        sequences = decode_tracks([masks for _, masks in read])
    except SegmentationError:
        # One by one, to name the record.
        for record, masks in read:
            with bad.left_out():
                yield record, _decoded(record, masks)
        return
    yield from ((record, found) for (record, _), found in zip(read, sequences, strict=True))


def _masks(record: Record, videos: Mapping[int, Video]) -> list[Rle | None]:
    video = videos.get(record.integer('video_id'))
    if video is None:
        raise DatasetError(
            f'{record.where}: video_id {record.integer("video_id")} is not among the videos '
            'of the ground truth'
        )
    try:
        return read_masks(record.items('segmentations'), video.height, video.width)
    except SegmentationError as error:
        raise _bad_segmentation(record, error) from error


def _decoded(record: Record, masks: Sequence[Rle | None]) -> MaskSequence:
    try:
        return MaskSequence.from_masks(masks)
    except SegmentationError as error:
        raise _bad_segmentation(record, error) from error


def _bad_segmentation(record: Record, error: SegmentationError) -> DatasetError:
    return DatasetError(f"{record.where}: 'segmentations': {error}")


def average_area(areas: Sequence[float | None]) -> float:
    """Return the mean [pixel] of the areas that are neither None nor 0; 0 without any."""
    shown = [area for area in areas if area]
    return sum(shown) / len(shown) if shown else 0.0


def _unique(
    entries: Iterable[Any], source: str, name: str, bad: BadEntries
) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for entry in entries:
        with bad.left_out():
            if entry.id in found:
                raise DatasetError(f'{source}: {name} id {entry.id} occurs more than once')
            found[entry.id] = entry
    return found
