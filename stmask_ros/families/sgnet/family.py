# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""SG-Net as a family: built, stepped and trained as SipMask, with a network of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stmask_ros.families.sgnet.config import SGNetConfig
from stmask_ros.families.sgnet.network import SGNet
from stmask_ros.families.shapes import Shapes
from stmask_ros.families.sipmask.family import SipMaskFamily
from stmask_ros.families.sipmask.recognition import Layout

if TYPE_CHECKING:
    from stmask_ros.families.sipmask.training.family import SipMaskTraining

# Its authors have published code and no weights.
PAGE = 'https://github.com/goodproj13/SG-Net'
_COEFFICIENTS = 'bbox_head.sgnet_cof_'


def _options(shapes: Shapes) -> dict[str, Any]:
    # What SG-Net has beside SipMask; the thresholds of its grids are not in the tensors.
    grids = sorted({
        int(key.removeprefix(_COEFFICIENTS)[0]) for key in shapes if key.startswith(_COEFFICIENTS)
    } - {1})
    options: dict[str, Any] = {
        'motion': 'motion_head.displacement.weight' in shapes,
        'motion_reads':
            'features' if 'motion_head.reduce.weight' in shapes else 'centerness',
        'spatial_attention': 'attention.conv.weight' in shapes,
    }
    if not options['motion']:
        del options['motion_reads']
    if len(grids) == 1:
        options |= {'grids': tuple(grids), 'thresholds': ()}
    return options


def _training() -> SipMaskTraining:
    from stmask_ros.families.sgnet.training.step import TrainingStep
    from stmask_ros.families.sipmask.training.family import SipMaskTraining
    from stmask_ros.families.sipmask.training.losses import LossConfig

    return SipMaskTraining(LossConfig, TrainingStep)


SGNET = SipMaskFamily(
    'sgnet', PAGE, (),
    Layout('SG-Net', 'sgnet_lat0', 'sgnet_track', {}, SGNetConfig, SGNet, _options),
    _training,
)
