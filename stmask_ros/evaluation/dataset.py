"""The official JSON files of YouTube-VIS and OVIS: ground truth and submitted results."""

from __future__ import annotations

import gc
import json
import logging
import math
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson

from stmask_ros.evaluation.long_lists import LongList, in_blocks, load_document
from stmask_ros.evaluation.rle import (
    MaskSequence,
    Rle,
    SegmentationError,
    decode_tracks,
    read_masks,
)
from stmask_ros.output_files import whole_file, write_whole

RESULTS_NAME = 'results.json'

_LOGGER = logging.getLogger(__name__)


class DatasetError(ValueError):
    """A file that is not what the format asks for; the text says what is wrong and where."""


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


def load_dataset(path: Path) -> Dataset:
    """Read a ground-truth file; DatasetError or OSError if that cannot be done."""
    with _collector_paused(), _document(path, 'annotations') as document:
        return parse_dataset(document, str(path))


def load_predictions(path: Path, dataset: Dataset) -> list[PredictedTrack]:
    """Read results.json, or the submission zip around it; DatasetError or OSError."""
    with _collector_paused(), _document(path) as document:
        return parse_predictions(document, dataset, str(path))


def parse_dataset(document: Any, source: str = 'ground truth') -> Dataset:
    """
    Check and convert a decoded ground-truth file.

    A file without annotations (the public valid and test files) has no tracks.
    source: what messages call the file. Raises DatasetError.
    """
    root = _Record(document, source)
    videos = _unique((_video(record) for record in root.records('videos')), source, 'video')
    names = _unique((_category(record) for record in root.records('categories')),
                    source, 'category')
    annotations = root.long_list('annotations') if root.has('annotations') else ()
    tracks = _unique(
        _tracks(annotations, f'{source}: annotations', videos, _truth), source, 'annotation'
    )
    return Dataset(
        tuple(videos[key] for key in sorted(videos)),
        tuple(names[key] for key in sorted(names)),
        tuple(tracks.values()),
    )


def parse_predictions(
    document: Any, dataset: Dataset, source: str = 'predictions'
) -> list[PredictedTrack]:
    """
    Check and convert a decoded results.json; an empty list is fine. Raises DatasetError.

    Warns about tracks that are read but cannot score: of an unknown category, or with masks of
    another size or number than their video's frames.
    """
    if not isinstance(document, list | LongList):
        raise DatasetError(f'{source}: expected a list of results, got {_kind(document)}')
    videos = {video.id: video for video in dataset.videos}
    predictions = list(_tracks(document, f'{source}: results', videos, _prediction))
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
def _collector_paused() -> Iterator[None]:
    """Keep the cycle collector from walking a growing heap without cycles again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _document(path: Path, key: str | None = None) -> Iterator[Any]:
    """Give a file's JSON with the list under a key, or itself, as one to be decoded on the way."""
    try:
        yield load_document(_read(path), key)
    except orjson.JSONDecodeError as error:
        raise DatasetError(f'{path}: not a JSON file: {error}') from error


def _read(path: Path) -> bytes:
    if path.suffix != '.zip':
        return path.read_bytes()
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(RESULTS_NAME)
    except (KeyError, zipfile.BadZipFile) as error:
        raise DatasetError(
            f'{path}: expected a zip with {RESULTS_NAME} at its top level: {error}'
        ) from error


@dataclass(frozen=True)
class _Record:
    """A JSON object and where it stands, so that every complaint can name the place."""

    values: Any
    where: str

    def __post_init__(self) -> None:
        if not isinstance(self.values, dict):
            raise DatasetError(f'{self.where}: expected an object, got {_kind(self.values)}')

    def has(self, name: str) -> bool:
        return self.values.get(name) is not None

    def integer(self, name: str) -> int:
        value = self._value(name)
        if not isinstance(value, int):
            raise self._unexpected(name, 'a whole number')
        return value

    def number(self, name: str) -> float:
        value = self._value(name)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self._unexpected(name, 'a finite number')
        return float(value)

    def text(self, name: str) -> str:
        value = self._value(name)
        if not isinstance(value, str):
            raise self._unexpected(name, 'text')
        return value

    def items(self, name: str) -> list[Any]:
        value = self._value(name)
        if not isinstance(value, list):
            raise self._unexpected(name, 'a list')
        return value

    def long_list(self, name: str) -> list[Any] | LongList:
        value = self._value(name)
        return value if isinstance(value, LongList) else self.items(name)

    def numbers(self, name: str) -> list[float | None]:
        values = self.items(name)
        if not all(value is None or isinstance(value, (int, float)) for value in values):
            raise self._unexpected(name, 'a list of numbers and nulls')
        return values

    def records(self, name: str) -> Iterable[_Record]:
        entries = self.items(name)
        return (_Record(entry, f'{self.where}: {name}[{index}]')
                for index, entry in enumerate(entries))

    def _value(self, name: str) -> Any:
        if name not in self.values:
            raise DatasetError(f"{self.where}: '{name}' is missing")
        return self.values[name]

    def _unexpected(self, name: str, expected: str) -> DatasetError:
        return DatasetError(
            f"{self.where}: '{name}': expected {expected}, got {self.values[name]!r:.60}"
        )


def _video(record: _Record) -> Video:
    file_names = tuple(record.items('file_names')) if record.has('file_names') else ()
    length = record.integer('length') if record.has('length') else len(file_names)
    stamps = tuple(record.items('stamps')) if record.has('stamps') else ()
    if stamps and (len(stamps) != length or not all(isinstance(stamp, int) for stamp in stamps)):
        raise DatasetError(f"{record.where}: 'stamps': expected {length} whole numbers [ns]")
    return Video(
        record.integer('id'), record.integer('height'), record.integer('width'), length,
        file_names, stamps,
    )


def _category(record: _Record) -> Category:
    return Category(record.integer('id'), record.text('name'))


def _truth(record: _Record, sequence: MaskSequence) -> GroundTruthTrack:
    areas = record.numbers('areas') if record.has('areas') else sequence.areas.tolist()
    return GroundTruthTrack(
        record.integer('id'),
        record.integer('video_id'),
        record.integer('category_id'),
        bool(record.integer('iscrowd')) if record.has('iscrowd') else False,
        average_area(areas),
        sequence,
    )


def _prediction(record: _Record, sequence: MaskSequence) -> PredictedTrack:
    return PredictedTrack(
        record.integer('video_id'),
        record.integer('category_id'),
        record.number('score'),
        sequence,
    )


def _tracks(
    items: LongList | Sequence[Any], where: str, videos: Mapping[int, Video],
    track_of: Callable[[_Record, MaskSequence], Track],
) -> Iterator[Track]:
    """Yield the track of every item; where: what complaints call the list."""
    total = 0
    for block in in_blocks(items):
        records = [_Record(item, f'{where}[{index}]') for index, item in enumerate(block, total)]
        total += len(records)
        masks = [_masks(record, videos) for record in records]
        try:
            sequences = decode_tracks(masks)
        except SegmentationError:
            # One by one, to name the record.
            sequences = list(map(_decoded, records, masks))
        yield from map(track_of, records, sequences)


def _masks(record: _Record, videos: Mapping[int, Video]) -> list[Rle | None]:
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


def _decoded(record: _Record, masks: Sequence[Rle | None]) -> MaskSequence:
    try:
        return MaskSequence.from_masks(masks)
    except SegmentationError as error:
        raise _bad_segmentation(record, error) from error


def _bad_segmentation(record: _Record, error: SegmentationError) -> DatasetError:
    return DatasetError(f"{record.where}: 'segmentations': {error}")


def average_area(areas: Sequence[float | None]) -> float:
    """Return the mean [pixel] of the areas that are neither None nor 0; 0 without any."""
    shown = [area for area in areas if area]
    return sum(shown) / len(shown) if shown else 0.0


def _unique(entries: Iterable[Any], source: str, name: str) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for entry in entries:
        if entry.id in found:
            raise DatasetError(f'{source}: {name} id {entry.id} occurs more than once')
        found[entry.id] = entry
    return found


def _kind(value: Any) -> str:
    return 'null' if value is None else f'{type(value).__name__} {value!r:.40}'
