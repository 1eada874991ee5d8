# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Scores as numbers under the names papers use, as a text table and as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stmask_ros.evaluation.average_precision import NOT_DEFINED
from stmask_ros.evaluation.dataset import Dataset
from stmask_ros.evaluation.identity import IdentityReport, IdentityScores
from stmask_ros.evaluation.vis_metric import VisReport, VisSummary

_VIS_NAMES = {
    'AP': 'ap', 'AP50': 'ap50', 'AP75': 'ap75',
    'AP_S': 'ap_small', 'AP_M': 'ap_medium', 'AP_L': 'ap_large',
    'AR1': 'ar1', 'AR10': 'ar10', 'AR100': 'ar100',
    'AR_S': 'ar_small', 'AR_M': 'ar_medium', 'AR_L': 'ar_large',
}
_IDENTITY_NAMES = {
    'HOTA': 'hota', 'DetA': 'deta', 'AssA': 'assa', 'DetRe': 'detre', 'DetPr': 'detpr',
    'AssRe': 'assre', 'AssPr': 'asspr', 'LocA': 'loca', 'MOTA': 'mota', 'MOTP': 'motp',
    'IDSW': 'id_switches', 'CLR_TP': 'clear_tp', 'CLR_FP': 'clear_fp', 'CLR_FN': 'clear_fn',
    'MT': 'mostly_tracked', 'PT': 'partly_tracked', 'ML': 'mostly_lost',
    'Frag': 'fragmentations', 'IDF1': 'idf1', 'IDP': 'idp', 'IDR': 'idr',
    'IDTP': 'idtp', 'IDFP': 'idfp', 'IDFN': 'idfn',
}
_VIS_COLUMNS = ('AP', 'AP50', 'AP75', 'AP_S', 'AP_M', 'AP_L', 'AR1', 'AR10', 'AR100')
_IDENTITY_RATIOS = ('HOTA', 'DetA', 'AssA', 'IDF1', 'MOTA')
_IDENTITY_COUNTS = ('IDSW', 'MT', 'ML', 'Frag')


def vis_numbers(summary: VisSummary) -> dict[str, float]:
    """Return the numbers by the names of the YouTube-VIS tables (AP, AP50, ..., AR_L)."""
    return {name: getattr(summary, field) for name, field in _VIS_NAMES.items()}


def identity_numbers(scores: IdentityScores) -> dict[str, float]:
    """Return the numbers by the names of TrackEval (HOTA, DetA, ..., IDFN)."""
    return {name: getattr(scores, field) for name, field in _IDENTITY_NAMES.items()}


def vis_json(report: VisReport) -> dict[str, Any]:
    """Return the report as JSON values; IoU matrices under 'video id,category id'."""
    return {
        'summary': vis_numbers(report.summary),
        'class_agnostic': report.class_agnostic and vis_numbers(report.class_agnostic),
        'per_category': {
            str(key): vis_numbers(summary) for key, summary in report.per_category.items()
        },
        'AP_per_iou': {f'{iou:.2f}': value for iou, value in report.ap_per_iou.items()},
        'ious': {
            f'{video},{category}': iou.tolist()
            for (video, category), iou in report.iou_matrices.items()
        },
    }


def identity_json(report: IdentityReport) -> dict[str, Any]:
    """Return the report as JSON values."""
    return {
        'class_average': identity_numbers(report.class_average),
        'detection_average': identity_numbers(report.detection_average),
        'per_category': {
            str(key): identity_numbers(scores) for key, scores in report.per_category.items()
        },
    }


def vis_table(report: VisReport, dataset: Dataset) -> str:
    """Return the rows of vis_rows as an aligned table."""
    return text_table(*vis_rows(report, dataset))


def vis_rows(
    report: VisReport, dataset: Dataset
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """
    Return the header and a row for each class that has objects, and for all of them.

    The metric is in percent, '-' where it is undefined.
    """
    rows = [
        (category.name, report.per_category[category.id])
        for category in dataset.categories
        if report.per_category[category.id].ap > NOT_DEFINED
    ]
    if report.class_agnostic is not None:
        rows.append(('all classes as one', report.class_agnostic))
    rows.append(('mean of classes', report.summary))
    return ('track AP [%]', *_VIS_COLUMNS), [
        (name, *(_percent(vis_numbers(summary)[column]) for column in _VIS_COLUMNS))
        for name, summary in rows
    ]


def identity_table(report: IdentityReport, dataset: Dataset) -> str:
    """Return the rows of identity_rows as an aligned table."""
    return text_table(*identity_rows(report, dataset))


def identity_rows(
    report: IdentityReport, dataset: Dataset
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return the header and a row for each class in use: ratios in percent, and counts."""
    rows = [
        (category.name, report.per_category[category.id])
        for category in dataset.categories
        if _is_used(report.per_category[category.id])
    ]
    rows += [('all detections', report.detection_average),
             ('mean of classes', report.class_average)]
    return ('identity [%]', *_IDENTITY_RATIOS, *_IDENTITY_COUNTS), [
        (name, *_identity_cells(identity_numbers(scores))) for name, scores in rows
    ]


def _identity_cells(numbers: Mapping[str, float]) -> list[str]:
    ratios = [f'{100 * numbers[name]:.1f}' for name in _IDENTITY_RATIOS]
    return ratios + [f'{numbers[name]:.0f}' for name in _IDENTITY_COUNTS]


def _is_used(scores: IdentityScores) -> bool:
    return scores.clear_tp + scores.clear_fp + scores.clear_fn > 0


def _percent(value: float) -> str:
    return '-' if value <= NOT_DEFINED else f'{100 * value:.1f}'


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned table: names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return '\n'.join(
        '  '.join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    )
