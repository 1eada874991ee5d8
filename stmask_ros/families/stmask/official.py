# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The checkpoints that the authors of STMask publish: facts of their page, nothing is fetched."""

from __future__ import annotations

from stmask_ros.families.family import OfficialCheckpoint

# The authors' page, as of February 2022.
PAGE = 'https://github.com/MinghanLi/STMask'
_LINK = 'https://drive.google.com/file/d/{}/view'


def _published(
    configuration: str, suffix: str, classes: str, ap: float | None, ap_per_class: float,
    file_id: str,
) -> OfficialCheckpoint:
    """
    Return a published checkpoint.

    ap: with suppression across classes, as this package does by default; None if not published.
    ap_per_class: with suppression within each class.
    """
    return OfficialCheckpoint(
        configuration + suffix, configuration, classes, ap, _LINK.format(file_id),
        f'{ap_per_class:.1f} within classes',
    )


def _youtube_vis_2019(
    name: str, ap: float | None, ap_per_class: float, file_id: str
) -> OfficialCheckpoint:
    return _published(name, '', 'youtube_vis_2019', ap, ap_per_class, file_id)


def _youtube_vis_2021(name: str, ap_per_class: float, file_id: str) -> OfficialCheckpoint:
    return _published(
        name, '_YTVIS2021', 'youtube_vis_2021', None, ap_per_class, file_id)


def _ovis(name: str, ap_per_class: float, file_id: str) -> OfficialCheckpoint:
    return _published(name, '_OVIS', 'ovis', None, ap_per_class, file_id)


# The page gives both checkpoints of FCB(ali) one and the same link.
OFFICIAL = (
    _youtube_vis_2019('STMask_plus_resnet50', 32.6, 33.4, '14RHpTHA5GZGbuyHzc3bgn0luTsl4STuo'),
    _youtube_vis_2019('STMask_plus_resnet50_ali', None, 32.1, '1ZWIH0oFL8kNU4roe-kwiL9Q8lGgZ8MwJ'),
    _youtube_vis_2019('STMask_plus_resnet50_ada', 32.8, 33.0, '1fxkEtjiIwwqgc-wh-e-7OPLBNjDu-faA'),
    _youtube_vis_2019('STMask_plus_base', 36.0, 36.3, '1qgq8yC8otUMJMsffsaC288YOAwYf3OIz'),
    _youtube_vis_2019('STMask_plus_base_ali', 36.3, 37.1, '1ZWIH0oFL8kNU4roe-kwiL9Q8lGgZ8MwJ'),
    _youtube_vis_2019('STMask_plus_base_ada', 36.8, 37.9, '1Y5TZZVY9BF2Jq1F2_g4ZRfrmy6B6hEVn'),
    _youtube_vis_2021('STMask_plus_resnet50', 30.6, '1i_Wy2z2H_Z9vSf8oNqikhVNdVqSomoVP'),
    _youtube_vis_2021('STMask_plus_resnet50_ada', 31.1, '1XxP8rVwjH2-aMfKtX3gW_89Z7-5ZiNjt'),
    _youtube_vis_2021('STMask_plus_base', 33.7, '1gXyo25muXlFxjuXKO_MblKsvDramBGC8'),
    _youtube_vis_2021('STMask_plus_base_ada', 34.6, '1EcZcvSdPR6aMl1hpBIGY2S9IUHmonzR5'),
    _ovis('STMask_plus_resnet50', 15.4, '18aij_6YboxVzScc0Nmcb50nb0uczal6P'),
    _ovis('STMask_plus_resnet50_ada', 15.4, '10qx2dBeksHlNxG5nmPaNOyz35Bl6u2uQ'),
    _ovis('STMask_plus_base', 17.3, '1lw2YSEO58kDOgqtg6tlZueCCQkLMV1QX'),
    _ovis('STMask_plus_base_ada', 15.8, '1zJazhMlrYHydnHggKhBjiICVVWpr5djS'),
)
