# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The report of a run: one HTML page that needs no other file, and the same tables in Markdown."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stmask_ros.evaluation.coverage import best_iou
from stmask_ros.evaluation.dataset import GroundTruthTrack, Video
from stmask_ros.evaluation.report_drawings import latency_plot, timeline
from stmask_ros.evaluation.scores import Scores, Table
from stmask_ros.evaluation.video_iou import VideoOverlap
from stmask_ros.evaluation.worst_frames import FrameScore, draw_frame, worst_frames
from stmask_ros.output_files import write_whole

Bgr = npt.NDArray[np.uint8]

_MOST_TIMELINES = 20
_MOST_PICTURES = 6
_PERCENTILES = {50: 'median', 90: '90 %', 99: '99 %', 100: 'longest'}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 980px; margin: 2em auto; padding: 0 1em;
       color: #1a1a1a; background: #fff }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em } h3 { font-size: 1em }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums }
th, td { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1em }
dt { font-weight: 600 } dd { margin: 0 }
.frames { display: flex; flex-wrap: wrap; gap: 12px; width: min(94vw, 1900px); position: relative;
          left: 50%; transform: translateX(-50%) }
figure { margin: 0; width: 48% }
img { width: 100% } figcaption, p.note { color: #555; font-size: .9em }
svg { display: block; max-width: 100% } svg text { font: 11px system-ui, sans-serif; fill: #333 }
"""


@dataclass(frozen=True)
class Latency:
    """What was timed, and how long each frame took [s]."""

    meaning: str
    seconds: Sequence[float]


@dataclass(frozen=True)
class Report:
    """
    A scored run.

    facts: names and values for the head of the page. latencies: each with one frame or more.
    pictures: returns those of some frames of videos, None where one cannot be had. more_tables:
    what else was counted.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    scores: Scores
    latencies: Sequence[Latency]
    pictures: Callable[[Sequence[tuple[Video, int]]], Sequence[Bgr | None]]
    more_tables: Sequence[Table] = ()

    def tables(self) -> list[Table]:
        """Return all tables."""
        latencies = [latency_table(self.latencies)] if self.latencies else []
        return [*self.scores.tables(), *self.more_tables, *latencies]

    def text(self) -> str:
        """Return the tables for a terminal."""
        return '\n\n'.join(table.text() for table in self.tables())

    def markdown(self) -> str:
        """Return the facts and the tables."""
        facts = '\n'.join(f'- {name}: {value}' for name, value in self.facts)
        tables = '\n\n'.join(table.markdown() for table in self.tables())
        return f'# {self.title}\n\n{facts}\n\n{tables}\n'

    def html(self) -> str:
        """Return the page."""
        body = ''.join([
            facts_list(self.facts),
            '<h2>Scores</h2>', *(table_html(table) for table in self.tables()),
            self._latency_plots(),
            self._timelines(),
            self._worst_frames(),
        ])
        return page(self.title, body)

    def write(self, folder: Path) -> None:
        """Write report.html, report.md and scores.json into a folder."""
        write_whole(folder / 'report.html', self.html())
        write_whole(folder / 'report.md', self.markdown())
        write_whole(folder / 'scores.json', json.dumps(self.scores.json(), indent=2) + '\n')

    def _latency_plots(self) -> str:
        plots = ''.join(
            f'<h3>{html.escape(latency.meaning)}</h3>{latency_plot(latency.seconds)}'
            for latency in self.latencies
        )
        return f'<h2>Latency</h2>{plots}' if plots else ''

    def _timelines(self) -> str:
        ranked = sorted(self.scores.overlaps, key=_mean_iou)
        shown = [overlap for overlap in ranked if overlap.truths][:_MOST_TIMELINES]
        parts = ['<h2>Identity timelines</h2>', (
            '<p class="note">One colour is one track. An object keeps its colour for as long as '
            'one track holds it (IoU 0.5); grey: no track does. The worst videos come first'
            f', {len(shown)} of {len(self.scores.overlaps)}.</p>'
        )]
        for overlap in shown:
            parts.append(f'<h3>{html.escape(self._video(overlap.video_id).name)}</h3>')
            parts.append(timeline(
                overlap,
                [self._object_name(truth) for truth in overlap.truths],
                self.scores.track_names.get(overlap.video_id, ()),
            ))
        return ''.join(parts)

    def _worst_frames(self) -> str:
        worst = worst_frames(self.scores, _MOST_PICTURES)
        pictures = self.pictures([(self._video(e.video_id), e.frame) for e in worst])
        figures = map(self._figure, worst, pictures)
        return ('<h2>Worst frames</h2><p class="note">White: outline of the annotated objects. '
                'Red: the track that fits each best.</p>'
                f'<div class="frames">{"".join(figures)}</div>')

    def _figure(self, entry: FrameScore, picture: Bgr | None) -> str:
        video = self._video(entry.video_id)
        text = f'{video.name}, frame {entry.frame}: mean IoU {entry.iou:.2f}'
        if picture is None:
            return f'<figure><figcaption>{html.escape(text)} (no picture)</figcaption></figure>'
        overlap = next(o for o in self.scores.overlaps if o.video_id == entry.video_id)
        data = base64.b64encode(draw_frame(picture, overlap, entry.frame)).decode()
        return (f'<figure><img alt="{html.escape(text)}" src="data:image/jpeg;base64,{data}">'
                f'<figcaption>{html.escape(text)}</figcaption></figure>')

    def _object_name(self, truth: GroundTruthTrack) -> str:
        categories = self.scores.dataset.categories
        if len(categories) == 1:
            return f'object {truth.id}'
        name = next((entry.name for entry in categories if entry.id == truth.category_id), '?')
        return f'object {truth.id}, {name}'

    def _video(self, video_id: int) -> Video:
        return next(v for v in self.scores.dataset.videos if v.id == video_id)


def page(title: str, body: str) -> str:
    """Return a page of HTML that needs no other file; body: in HTML, below the title."""
    title = html.escape(title)
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<title>{title}</title><style>{STYLE}</style></head>'
            f'<body><h1>{title}</h1>{body}</body></html>\n')


def latency_table(latencies: Sequence[Latency]) -> Table:
    """Return a row of percentiles for each; all have one frame or more."""
    rows = []
    for latency in latencies:
        milliseconds = 1000 * np.asarray(latency.seconds, np.float64)
        percentiles = np.percentile(milliseconds, list(_PERCENTILES)).tolist()
        rows.append((latency.meaning, *(f'{value:.1f}' for value in percentiles)))
    return Table(('latency [ms]', *_PERCENTILES.values()), rows)


def _mean_iou(overlap: VideoOverlap) -> float:
    values = best_iou(overlap)
    seen = values[~np.isnan(values)]
    return float(seen.mean()) if seen.size else 1.0


def facts_list(facts: Sequence[tuple[str, str]]) -> str:
    """Return names and values in HTML."""
    entries = ''.join(
        f'<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>' for name, value in facts
    )
    return f'<dl>{entries}</dl>'


def table_html(table: Table) -> str:
    """Return a table in HTML."""
    head = ''.join(f'<th>{html.escape(cell)}</th>' for cell in table.header)
    rows = ''.join(
        f'<tr>{"".join(f"<td>{html.escape(cell)}</td>" for cell in row)}</tr>'
        for row in table.rows
    )
    return f'<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
