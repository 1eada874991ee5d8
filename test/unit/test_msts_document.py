# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The Python in docs/msts.md runs as it stands, on a small network."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import torch
import yaml
from small_models import noise
from small_msts import small_config, small_network

from stmask_ros.families.msts.config import MSTSConfig

DOCUMENT = Path(__file__).resolve().parents[2] / 'docs' / 'msts.md'


def test_python_of_the_document() -> None:
    text = DOCUMENT.read_text(encoding='utf-8')
    blocks = re.findall(r'(?:^    .*\n|^\n(?=    ))+', text, re.MULTILINE)
    stages, losses = (textwrap.dedent(b).strip() for b in blocks if 'import ' in b)
    names: dict[str, Any] = {
        'images': [noise(0), noise(1)], 'state_dict': small_network().state_dict(),
        'height': 90, 'width': 128, 'small': small_config(),
    }
    exec(stages.replace("MSTSConfig.named('SeqFormer_resnet50')", 'small'), names)
    assert names['result'].sequence == 2
    found, frames = len(names['queries']), 2
    assert names['pixels'].shape == (found, frames, 90, 128)
    names |= {
        'labels': torch.tensor([2]), 'boxes': torch.full((1, 2, 4), 0.3),
        'masks': torch.ones(1, 2, 64, 96, dtype=torch.bool),
        'logits': torch.randn(12, 5), 'predicted_boxes': torch.rand(2, 12, 4),
        'mask_logits_of_pairs': torch.randn(1, 2, 16, 24),
        'clips': torch.randn(1, 2, 3, 64, 96), 'valid': torch.ones(1, 64, 96, dtype=torch.bool),
    }
    names['network'].train().requires_grad_(True)
    exec(losses, names)
    assert names['cost'].shape == (12, 1)
    assert names['network'].level_embed.grad is not None


def test_names_of_the_document_exist() -> None:
    text = DOCUMENT.read_text(encoding='utf-8')
    for name in MSTSConfig.names():
        assert f'`{name}`' in text
    model = yaml.safe_load(textwrap.dedent(re.findall(r'(?:^    .*\n)+', text, re.MULTILINE)[0]))
    assert MSTSConfig.named(model['configuration'], **model['options'])
