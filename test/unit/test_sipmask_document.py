# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The Python in docs/sipmask.md runs as it stands, for both families."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import noise
from torch import nn

from stmask_ros.families.sgnet.config import SGNetConfig
from stmask_ros.families.sgnet.network import SGNet
from stmask_ros.families.sipmask.config import SipMaskConfig
from stmask_ros.families.sipmask.network import SipMask
from stmask_ros.families.sipmask.training.targets import FrameTargets

DOCUMENT = Path(__file__).resolve().parents[2] / 'docs' / 'sipmask.md'
BLOCK = re.compile(r'(?:^    .*\n|^\n(?=    ))+', re.MULTILINE)


@pytest.mark.parametrize('family', ['sipmask', 'sgnet'])
def test_python_of_the_document(family: str) -> None:
    blocks = [textwrap.dedent(b).strip() for b in BLOCK.findall(DOCUMENT.read_text())]
    python = [block for block in blocks if 'import ' in block]
    small = SipMaskConfig.named('sipmask_tiny') if family == 'sipmask' else (
        SGNetConfig.named('sgnet_tiny', motion=False))
    build: type[nn.Module] = SipMask if family == 'sipmask' else SGNet
    boxes = torch.tensor([[10.0, 10, 60, 60]])
    masks = torch.zeros(1, 96, 128, dtype=torch.bool)
    masks[:, 10:60, 10:60] = True
    one = torch.tensor([1])
    names: dict[str, Any] = {
        'images': [noise(0), noise(1)], 'state_dict': build(small).state_dict(), 'small': small,
        'Small': build, 'images_batch': 50 * torch.randn(1, 3, 96, 128),
        'reference_batch': 50 * torch.randn(1, 3, 96, 128),
        'targets': [FrameTargets(boxes, one, masks, boxes, one)],
    }
    text = '\n'.join(python).replace(
        "config = SipMaskConfig.named('sipmask_r50_caffe_fpn_gn_1x')", 'config = small'
    ).replace('network = SipMask(config)', 'network = Small(config)')
    text = text.replace("family='sipmask'", f'family={family!r}')
    if family == 'sgnet':
        text = text.replace('network.coefficients(p)', 'network.coefficients(p, 2)')
    exec(text, names)
    assert names['result'].sequence == 2
    assert names['coefficients'].shape[2] == 4 * small.num_prototypes
    assert names['losses'].total.isfinite()
    assert any(p.grad is not None for p in names['network'].parameters())


def test_names_of_the_document_exist() -> None:
    text = DOCUMENT.read_text()
    for name in (*SipMaskConfig.names(), *SGNetConfig.names()):
        assert f'`{name}`' in text
