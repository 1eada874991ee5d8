# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""SG-Net's choice of grids and its assembly, on small made-up outputs (GOLDEN.md there)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from siblings import Sibling, close
from torch import Tensor

from stmask_ros.families.sgnet.config import SGNetConfig
from stmask_ros.families.sgnet.granularity import (
    box_areas,
    grids_of,
    level_areas,
    levels_of_cells,
)
from stmask_ros.families.sgnet.network import padded_choice
from stmask_ros.families.sipmask.detection import DetectionRules, best_candidates, suppress
from stmask_ros.families.sipmask.masks import assemble, binary_masks
from stmask_ros.families.sipmask.towers import TowerOutput
from stmask_ros.layers.deformable import by_cell

SIZES = ((12, 20), (6, 10), (3, 5), (2, 3), (1, 2))
CONFIG = SGNetConfig()


@pytest.fixture(scope='module')
def sibling(reference_numbers: Path) -> Sibling:
    return Sibling.of(reference_numbers, 'sgnet')


@pytest.mark.parametrize('grid', [2, 3, 4])
def test_reference_mode(sibling: Sibling, grid: int) -> None:
    """From level outputs to masks, with the published code's defects."""
    g = sibling.numbers(f'ops/head_grid{grid}')

    def levels(name: str, channels: int) -> list[Tensor]:
        return [sibling.randn(f'sgn/{grid}/{name}{i}', (1, channels, *size))
                for i, size in enumerate(SIZES)]

    mean = torch.from_numpy(g['reg_mean']).float().view(4, 1, 1)
    distances = by_cell([
        (mean + float(g['reg_std'][i]) * noise) * 8 * 2**i
        for i, noise in enumerate(levels('reg', 4))
    ])
    towers = TowerOutput(
        [], [], [], [], [], 2 * by_cell(levels('cls', 40)) - 2, distances,
        by_cell(levels('ctr', 1)).squeeze(2), SIZES,
    )
    areas = level_areas(distances[0], SIZES)
    np.testing.assert_allclose(areas, g['level_area'], rtol=1e-4, atol=0.1)
    places = grids_of(areas, CONFIG.grids, CONFIG.thresholds)
    np.testing.assert_array_equal(places + 2, g['level_grid'])

    scale = torch.tensor(1.0)
    best = best_candidates(towers, 0, torch.tensor((90, 150)), scale, 200)
    found = suppress(best, DetectionRules())
    np.testing.assert_array_equal(found.classes - 1, g['labels'])
    np.testing.assert_array_equal(found.cells, best.cells[g['cand']])
    close(torch.cat((found.boxes, found.scores[:, None]), 1), g['boxes'], 1e-3)

    each = [by_cell(levels(f'cof{n}_', 32 * n * n))[0][found.cells] for n in CONFIG.grids]
    coefficients = padded_choice(each, places[levels_of_cells(SIZES, scale.device)[found.cells]])
    prototypes = sibling.randn(f'sgn/{grid}/proto', (1, 32, 48, 80)).relu()[0]
    soft = assemble(
        prototypes, coefficients, found.boxes / 2, torch.full_like(found.cells, 2)
    )
    for mask, bits in zip(binary_masks(soft, (1, 1), (90, 150)), g['mask_bits'], strict=True):
        shape = tuple(int(side) for side in g['mask_size'])
        theirs = np.unpackbits(bits)[:shape[0] * shape[1]].reshape(shape)[:90, :150]
        assert np.count_nonzero(mask.to_full(90, 150) != theirs) <= 2


def test_instance_mode(sibling: Sibling) -> None:
    """Each box its own grid, and as many sub-regions."""
    g = sibling.numbers('ops/assembly_fixed')
    boxes = torch.from_numpy(g['boxes'])
    areas = box_areas(boxes)
    close(areas, g['area'], 1e-3)
    places = grids_of(areas, CONFIG.grids, CONFIG.thresholds)
    np.testing.assert_array_equal(places + 2, g['grid'])
    each = [1.2 * sibling.randn(f'sgf/cof{n}', (24, 32 * n * n)) for n in CONFIG.grids]
    prototypes = sibling.randn('sgf/proto', (48, 80, 32)).relu().permute(2, 0, 1)
    soft = assemble(prototypes, padded_choice(each, places), boxes, places + 2)
    close(soft[:, ::2, ::2], g['soft'], 1e-5)
    np.testing.assert_allclose(soft.double().sum((1, 2)), g['soft_sum'], rtol=1e-5, atol=1e-4)
