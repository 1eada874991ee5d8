# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The checkpoints that the authors of SipMask publish: facts of their page, nothing is fetched."""

from __future__ import annotations

from stmask_ros.families.family import OfficialCheckpoint

PAGE = 'https://github.com/JialeCao001/SipMask'
_R50 = 'sipmask_r50_caffe_fpn_gn_1x'

# The page links to a file-sharing site; the names of the files there are not known, so that these
# are the names of the configurations.
OFFICIAL = (
    OfficialCheckpoint(
        _R50, _R50, 'youtube_vis_2019', 32.5, f'{PAGE}/tree/master/SipMask-VIS',
        'single-scale',
    ),
    OfficialCheckpoint(
        'sipmask_r50_caffe_fpn_gn_ms_1x', _R50, 'youtube_vis_2019', 33.7,
        f'{PAGE}/tree/master/SipMask-VIS', 'multi-scale',
    ),
)
