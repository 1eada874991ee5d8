# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Every row of the paper's tables 1 to 5 is a configuration, and each of them runs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from small_models import noise, small, small_segmenter

from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask, initialise

# Table, row: the configuration's name.
ROWS = {
    ('1', '3:3, 3:3, 3:3'): 'paper_yolact',
    ('1', '3:3, 3:2, 2:3'): 'paper_fca_3x2',
    ('1', '3:3, 3:5, 5:3'): 'paper_fca',
    ('2', 'FCA'): 'paper_fca',
    **{
        ('2', f'{branches} ({kind})'): f'paper_fca_{kind}_{branches}'
        for kind in ('ada', 'ali')
        for branches in ('class_mask_track', 'class_mask', 'class_track', 'mask_track')
    },
    ('3', 'P3, 13'): 'paper_fca_tf_p3',
    ('3', 'P4, 11'): 'paper_fca_tf_p4',
    ('4', 'baseline'): 'paper_yolact',
    ('4', 'FCA'): 'paper_fca',
    ('4', 'FCA FCB(ada)'): 'paper_fca_ada_class_mask_track',
    ('4', 'FCA FCB(ali)'): 'paper_fca_ali_mask_track',
    ('4', 'FCA FCB(ada) TF'): 'paper_fca_fcb_ada_tf',
    ('4', 'FCA FCB(ali) TF'): 'paper_fca_fcb_ali_tf',
    ('5', 'baseline'): 'paper_yolact',
    ('5', 'FCA'): 'paper_fca',
    ('5', 'FCB(ada)'): 'paper_yolact_fcb_ada',
    ('5', 'FCB(ali)'): 'paper_yolact_fcb_ali',
    ('5', 'TF'): 'paper_yolact_tf',
}

# Where the paper and the released code differ, and where the first public code did.
OPTIONS: list[dict[str, Any]] = [
    {'variances': (1.0, 1.0)},
    {'mask_activation': 'none'},
    {'centerness_order': 'legacy'},
    {'centerness_order': 'none'},
    {'concatenated': 'pyramid'},
    {'correlated': 'upfeature'},
    {'temporal_roi': 'legacy'},
    {'class_calibration': 'ada', 'calibration_layers': 'one'},
    {'kernels': ((3, 3), (3, 5), (5, 3)) * 2,
     'anchors': ((3, 3), (3, 5), (5, 3), (6, 6), (6, 10), (10, 6))},
]


def steps_through_three_frames(config: STMaskConfig, **tracker: Any) -> None:
    """Track through three frames, and find what a dense evaluation finds."""
    segmenter = small_segmenter(config, capacity=8, **tracker)
    state, shown = segmenter.initial_state(), 0
    for t in range(3):
        (result,), (state,) = segmenter.step([noise(t)], [state])
        assert result.temporal_valid == (t > 0)
        shown += len(result)
    assert shown
    assert state.next_id > 8
    network = segmenter.network
    with torch.inference_mode():
        predictions = network(torch.randn(2, 3, 96, 128))
        dense = network.instances(predictions)
        anchors = torch.randperm(predictions.boxes.shape[1])[:50]
        chosen = network.instances_at(predictions, 1, anchors)
    torch.testing.assert_close(chosen.mask_coefficients, dense.mask_coefficients[1, anchors])
    torch.testing.assert_close(chosen.embeddings, dense.embeddings[1, anchors])


@pytest.mark.parametrize(('table', 'row'), ROWS)
def test_row_of_the_paper(table: str, row: str) -> None:
    config = STMaskConfig.named(ROWS[table, row])
    assert (config.backbone, config.deformable_interval) == ('resnet101', 3)
    assert config.temporal_fusion == (table == '3' or 'TF' in row)
    steps_through_three_frames(config, matching='paper', max_detections=100)


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_option(options: dict[str, Any]) -> None:
    config = replace(STMaskConfig.named('stmask_lite'), **options)
    steps_through_three_frames(config)


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_option_changes_something(options: dict[str, Any]) -> None:
    """Boxes, scores, or what temporal fusion says of a box."""
    outcomes = []
    base = small(STMaskConfig.named('stmask_lite'))
    for config in (base, replace(base, **options)):
        network = STMask(config).eval()
        initialise(network, seed=1)
        assert network.TemporalNet is not None
        generator = torch.Generator().manual_seed(0)
        frames = torch.randn(2, 3, 96, 128, generator=generator)
        with torch.inference_mode():
            before, now = network(frames[:1]), network(frames[1:])
            joint = network.propagate(
                before.temporal, now.temporal, torch.tensor([[0.1, 0.2, 0.6, 0.7]]),
                torch.zeros(1, dtype=torch.int64),
            )
        outcomes.append((now.boxes, now.head.class_logits, now.head.centerness, *joint,
                         config.mask_activation))
    same = [
        a == b if isinstance(a, str) else a.shape == b.shape and torch.equal(a, b)
        for a, b in zip(*outcomes, strict=True)
    ]
    assert not all(same)


@pytest.mark.parametrize(
    ('options', 'told'),
    [
        ({'backbone': 'vgg'}, 'expected resnet50 or resnet101'),
        ({'kernels': ((3, 2),), 'class_calibration': 'ada'}, 'odd sides'),
        ({'kernels': ((7, 3),)}, 'sides of 1 to 5'),
        ({'anchors': ((3, 3),)}, 'an anchor for each of 3 kernels'),
        ({'correlation_patch': 10}, 'expected odd'),
        ({'colour': 'red'}, "unknown options ['colour']"),
    ],
)
def test_options_that_make_no_network_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        STMaskConfig.named('STMask_resnet50', **options)


def test_options_of_a_yaml_are_lists() -> None:
    config = STMaskConfig.named('stmask_lite', kernels=[[3, 3], [3, 5]], variances=[1, 1])
    assert config.kernels == ((3, 3), (3, 5))
    assert hash(config)
