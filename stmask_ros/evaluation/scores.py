# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""All scores of a run in one value, and as tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stmask_ros.evaluation.annotations import Annotations
from stmask_ros.evaluation.coverage import (
    CoverageSummary,
    ObjectCoverage,
    measure_coverage,
    summarise,
)
from stmask_ros.evaluation.dataset import Dataset
from stmask_ros.evaluation.identity import IdentityReport, evaluate_identity
from stmask_ros.evaluation.report import (
    identity_json,
    identity_rows,
    text_table,
    vis_json,
    vis_rows,
)
from stmask_ros.evaluation.track_collection import NamedTrack, predictions_of
from stmask_ros.evaluation.video_iou import VideoOverlap, measure_overlaps
from stmask_ros.evaluation.vis_metric import VisReport, evaluate_vis

Row = Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table of text; the first column holds names, the others numbers."""

    header: Row
    rows: Sequence[Row]

    def text(self) -> str:
        """Return it aligned, for a terminal."""
        return text_table(self.header, self.rows)

    def markdown(self) -> str:
        """Return it as Markdown has it."""
        marks = ['---', *('---:' for _ in self.header[1:])]
        lines = (self.header, marks, *self.rows)
        return '\n'.join(f'| {" | ".join(_escaped(line))} |' for line in lines)


@dataclass(frozen=True)
class Scores:
    """
    What a run is worth.

    vis, identity: None where the annotations are not complete, so that a track on none of the
    objects may be right. overlaps: what all was measured on. track_names: of the predictions in
    each video's overlap.
    """

    dataset: Dataset
    overlaps: Sequence[VideoOverlap]
    track_names: Mapping[int, Sequence[str]]
    coverage: Sequence[ObjectCoverage]
    vis: VisReport | None
    identity: IdentityReport | None

    @property
    def summary(self) -> CoverageSummary:
        """Coverage over all objects."""
        return summarise(self.coverage)

    def tables(self) -> list[Table]:
        """Return the tables, the most important first."""
        tables = [coverage_table(self)]
        if self.identity is not None:
            tables.insert(0, Table(*identity_rows(self.identity, self.dataset)))
        if self.vis is not None:
            tables.insert(0, Table(*vis_rows(self.vis, self.dataset)))
        return tables

    def json(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        document: dict[str, Any] = {
            'coverage': asdict(self.summary) | {
                'per_object': [asdict(entry) for entry in self.coverage],
            },
        }
        if self.vis is not None:
            document['vis'] = vis_json(self.vis)
        if self.identity is not None:
            document['identity'] = identity_json(self.identity)
        return document


def score(
    annotations: Annotations,
    tracks: Sequence[NamedTrack],
    score_threshold: float | None = None,
) -> Scores:
    """
    Score predicted tracks.

    score_threshold: tracks with a lower score count for the track AP only.
    """
    dataset, complete = annotations.dataset, annotations.is_complete
    shown = [
        track for track in tracks
        if score_threshold is None or track.prediction.score >= score_threshold
    ]
    predictions = predictions_of(shown)
    overlaps = measure_overlaps(dataset, predictions)
    return Scores(
        dataset,
        overlaps,
        _names_by_video(shown),
        measure_coverage(overlaps),
        evaluate_vis(dataset, predictions_of(tracks)) if complete else None,
        evaluate_identity(dataset, predictions, overlaps=overlaps) if complete else None,
    )


def _names_by_video(tracks: Sequence[NamedTrack]) -> Mapping[int, Sequence[str]]:
    names: defaultdict[int, list[str]] = defaultdict(list)
    for track in tracks:
        names[track.prediction.video_id].append(track.name)
    return names


def coverage_table(scores: Scores) -> Table:
    """Return a row for each object, and their mean."""
    names = {video.id: video.name for video in scores.dataset.videos}
    summary = scores.summary
    rows = [
        _coverage_row(f'{names[entry.video_id]}, object {entry.object_id}', entry)
        for entry in scores.coverage
    ]
    mean = _coverage_row(f'mean of {summary.objects} objects', summary)
    return Table(
        ('found at IoU 0.5 [%]', 'recall', 'mean IoU', 'identity stability', 'id switches'),
        [*rows, mean],
    )


def _coverage_row(name: str, entry: ObjectCoverage | CoverageSummary) -> Row:
    ratios = (entry.recall, entry.mean_iou, entry.stability)
    return (name, *(f'{100 * ratio:.1f}' for ratio in ratios), str(entry.id_switches))


def _escaped(cells: Sequence[str]) -> list[str]:
    return [cell.replace('|', '\\|') for cell in cells]
