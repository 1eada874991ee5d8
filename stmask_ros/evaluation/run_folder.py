# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The folder of a run over a data set: its settings, and a file for every finished video."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stmask_ros.evaluation.annotations import picture_name
from stmask_ros.evaluation.dataset import (
    Dataset,
    DatasetError,
    Video,
    as_result,
    parse_predictions,
)
from stmask_ros.evaluation.track_collection import NamedTrack
from stmask_ros.fingerprint import Fingerprint, differences, files_fingerprint
from stmask_ros.output_files import write_whole

_SETTINGS = 'run.json'
_VIDEOS = 'videos'


@dataclass(frozen=True)
class VideoOutcome:
    """
    What a run found in one video.

    seconds: of every frame, from its pixels to its tracks [s].
    """

    video_id: int
    tracks: Sequence[NamedTrack]
    seconds: Sequence[float]


class RunFolder:
    """
    Keeps the outcome of each video as soon as it is finished.

    Files appear whole or not at all, so that a run can be stopped at any moment and several
    workers can share the folder. What decides the outcome is kept as well, and compared before
    anything is taken over: the settings for the run, the frames for each video.

    images: the folder of the frames.
    """

    def __init__(self, path: Path, images: Path, settings: Fingerprint) -> None:
        """
        Create the folder, or open one whose run has the same settings.

        images: folder of the frames. Raises DatasetError if the settings differ, OSError if it
        cannot be written.
        """
        self.images = images
        self.path = path
        (path / _VIDEOS).mkdir(parents=True, exist_ok=True)
        file = path / _SETTINGS
        if not file.exists():
            self._check_empty()
            write_whole(file, json.dumps(settings, indent=2) + '\n')
        if changes := differences(_load(file), settings):
            raise DatasetError(
                f'{self.path} holds a run with other settings ({changes}): go on with those, '
                'choose another --out, or begin again with --overwrite'
            )

    @staticmethod
    def begin_again(path: Path) -> None:
        """Remove what an earlier run has kept, whatever its settings."""
        for file in (*(path / _VIDEOS).glob('*.json'), path / _SETTINGS):
            file.unlink(missing_ok=True)

    def _check_empty(self) -> None:
        # A worker writes the settings before it finishes a video.
        if kept := sorted((self.path / _VIDEOS).glob('*.json')):
            raise DatasetError(
                f'{kept[0]} is of a run whose settings, {_SETTINGS}, are lost: choose another '
                '--out, or begin again with --overwrite'
            )

    def frames(self, video: Video) -> Fingerprint:
        """Return what tells the frames of a video from others, as they are now."""
        return files_fingerprint(
            self.images, [str(picture_name(self.images, name)) for name in video.file_names]
        )

    def has(self, video: Video) -> bool:
        """Say whether a video is finished; DatasetError if that was with other frames."""
        return self._file(video.id).exists() and bool(self._read(video))

    def save(self, outcome: VideoOutcome, frames: Fingerprint) -> None:
        """Keep the outcome of a finished video, and what `frames` said before it was run."""
        write_whole(self._file(outcome.video_id), json.dumps({
            'frames': frames,
            'names': [track.name for track in outcome.tracks],
            'results': [as_result(track.prediction) for track in outcome.tracks],
            'seconds': list(outcome.seconds),
        }))

    def load(self, video: Video, dataset: Dataset) -> VideoOutcome:
        """Return the outcome of a finished video; DatasetError as `has`, or if it is damaged."""
        file = self._file(video.id)
        document = self._read(video)
        try:
            predictions = parse_predictions(document['results'], dataset, str(file))
            tracks = [
                NamedTrack(str(name), prediction)
                for name, prediction in zip(document['names'], predictions, strict=True)
            ]
            return VideoOutcome(video.id, tracks, [float(s) for s in document['seconds']])
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f'{file}: damaged ({error}); delete it and run again') from error

    def _read(self, video: Video) -> Any:
        file = self._file(video.id)
        document = _load(file)
        kept = document.get('frames') if isinstance(document, dict) else None
        if changes := differences(kept, self.frames(video)):
            raise DatasetError(
                f'{file} was made from other frames of {video.name} in {self.images} '
                f'({changes}): delete it to run them, or choose another --out'
            )
        return document

    def _file(self, video_id: int) -> Path:
        return self.path / _VIDEOS / f'{video_id:06}.json'


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise DatasetError(f'{path}: damaged ({error}); delete it and run again') from error
