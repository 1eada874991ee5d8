# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The page about two models on the same images: one HTML file that needs no other."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from stmask_ros.evaluation.comparison import Comparison, ModelRun
from stmask_ros.evaluation.report import vis_numbers
from stmask_ros.evaluation.report_page import facts_list, latency_table, page, table_html
from stmask_ros.evaluation.scores import Scores, Table
from stmask_ros.views.overlay import draw_overlay

Bgr = npt.NDArray[np.uint8]

_WIDTH, _QUALITY = 960, 80
_SHOWN = 'Those of which the two say the most different things.'
_NONE_SHOWN = 'The two see the same things in all images.'


@dataclass(frozen=True)
class ComparisonPage:
    """
    All that is told.

    facts: names and values for the head of the page. scores: before and after, of the annotated
    frames; None without annotations. pictures: of some images, by place in the topic.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    comparison: Comparison
    scores: tuple[Scores, Scores] | None
    pictures: Mapping[int, Bgr]

    def tables(self) -> list[Table]:
        """Return all tables, those of scores first."""
        latencies = [
            *self.comparison.before.latency('before'), *self.comparison.after.latency('after')]
        return [
            *_score_tables(self.scores), self.comparison.identity_table(),
            self.comparison.change_table(), *([latency_table(latencies)] if latencies else []),
        ]

    def text(self) -> str:
        """Return the tables for a terminal."""
        return '\n\n'.join(table.text() for table in self.tables())

    def html(self) -> str:
        """Return the page."""
        return page(self.title, ''.join([
            facts_list(self.facts), *map(table_html, self.tables()),
            '<p class="note">Times are of one image, from message to tracks; the two models took '
            'turns on each.</p>', '<h2>The same images, before and after</h2>',
            f'<p class="note">{_SHOWN if self.pictures else _NONE_SHOWN}</p>',
            '<div class="frames">', *map(self._pair, self.pictures), '</div>',
        ]))

    def _pair(self, place: int) -> str:
        return _figure(self, place, 'before', self.comparison.before) + _figure(
            self, place, 'after', self.comparison.after)


def _figure(whole: ComparisonPage, place: int, word: str, run: ModelRun) -> str:
    drawn = draw_overlay(whole.pictures[place], run.results[place], run.class_names)
    text = html.escape(f'image {place + 1}, {word}')
    data = base64.b64encode(_jpeg(drawn)).decode()
    return (f'<figure><img alt="{text}" src="data:image/jpeg;base64,{data}">'
            f'<figcaption>{text}</figcaption></figure>')


def _jpeg(picture: Bgr) -> bytes:
    scale = min(1.0, _WIDTH / picture.shape[1])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode('.jpg', small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _score_tables(scores: tuple[Scores, Scores] | None) -> list[Table]:
    if scores is None:
        return []
    before, after = scores
    summaries = [each.summary for each in scores]
    identities = Table(('annotated objects', 'before', 'after'), [
        ('found at IoU 0.5 [%]', *(f'{100 * s.recall:.1f}' for s in summaries)),
        ('mean IoU [%]', *(f'{100 * s.mean_iou:.1f}' for s in summaries)),
        ('same number [%]', *(f'{100 * s.stability:.1f}' for s in summaries)),
        ('number switches', *(str(s.id_switches) for s in summaries)),
    ])
    return [*_ap_table(before, after), identities]


def _ap_table(before: Scores, after: Scores) -> list[Table]:
    if before.vis is None or after.vis is None:
        return []
    reports = (before.vis, after.vis)
    rows = [
        (category.name, *(_percent(vis_numbers(r.per_category[category.id])['AP'])
                          for r in reports))
        for category in before.dataset.categories
    ]
    mean = ('mean of classes', *(_percent(vis_numbers(r.summary)['AP']) for r in reports))
    shown = [row for row in rows if row[1:] != ('-', '-')]
    return [Table(('track AP [%]', 'before', 'after'), [*shown, mean])]


def _percent(value: float) -> str:
    return f'{100 * value:.1f}' if value >= 0 else '-'
