"""The folder of a run over a data set: its settings, and a file for every finished video."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stmask_ros.evaluation.dataset import (
    Dataset,
    DatasetError,
    Video,
    as_result,
    parse_predictions,
)
from stmask_ros.evaluation.track_collection import NamedTrack
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
    workers can share the folder.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        """
        Create the folder, or open one whose run has the same settings.

        Raises DatasetError if its settings differ, OSError if it cannot be written.
        """
        self.path = path
        (path / _VIDEOS).mkdir(parents=True, exist_ok=True)
        file = path / _SETTINGS
        if not file.exists():
            write_whole(file, json.dumps(settings, indent=2) + '\n')
        self._check(_load(file), settings)

    def _check(self, old: Any, new: Mapping[str, Any]) -> None:
        found = old if isinstance(old, dict) else {}
        names = sorted(
            name for name in {*found, *new} if found.get(name) != new.get(name)
        )
        if names:
            changes = '; '.join(
                f'{name}: {found.get(name)}, now {new.get(name)}' for name in names
            )
            raise DatasetError(
                f'{self.path} holds a run with other settings ({changes}): go on with those, '
                'choose another --out, or delete the folder'
            )

    def has(self, video: Video) -> bool:
        """Say whether a video is finished."""
        return self._file(video.id).exists()

    def save(self, outcome: VideoOutcome) -> None:
        """Keep the outcome of a finished video."""
        write_whole(self._file(outcome.video_id), json.dumps({
            'names': [track.name for track in outcome.tracks],
            'results': [as_result(track.prediction) for track in outcome.tracks],
            'seconds': list(outcome.seconds),
        }))

    def load(self, video: Video, dataset: Dataset) -> VideoOutcome:
        """Return the outcome of a finished video; DatasetError if its file is damaged."""
        file = self._file(video.id)
        document = _load(file)
        try:
            predictions = parse_predictions(document['results'], dataset, str(file))
            tracks = [
                NamedTrack(str(name), prediction)
                for name, prediction in zip(document['names'], predictions, strict=True)
            ]
            return VideoOutcome(video.id, tracks, [float(s) for s in document['seconds']])
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(f'{file}: damaged ({error}); delete it and run again') from error

    def _file(self, video_id: int) -> Path:
        return self.path / _VIDEOS / f'{video_id:06}.json'


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise DatasetError(f'{path}: damaged ({error}); delete it and run again') from error
