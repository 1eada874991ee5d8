# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The Python in docs/models.md runs as it stands."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

from small_models import noise, small

from stmask_ros.families.stmask.config import STMaskConfig
from stmask_ros.families.stmask.network import STMask

DOCUMENT = Path(__file__).resolve().parents[2] / 'docs' / 'models.md'


def test_python_of_the_document() -> None:
    text = DOCUMENT.read_text(encoding='utf-8')
    blocks = re.findall(r'(?:^    .*\n|^\n(?=    ))+', text, re.MULTILINE)
    python = [textwrap.dedent(b).strip() for b in blocks if 'import torch' in b or 'with ' in b]
    config = small(STMaskConfig.named('STMask_plus_resnet50_ali_OVIS'))
    names: dict[str, Any] = {'images': [noise(0), noise(1)]}
    names['state_dict'] = STMask(config).state_dict()
    exec(python[0].replace(  # the document's own words, on a small network
        "config = STMaskConfig.named('STMask_plus_resnet50_ali_OVIS')", 'config = small_config'
    ), names | {'small_config': config}, names)
    exec(python[1], names)
    assert len(python) == 2
    assert names['result'].sequence == 2
    assert names['dense'].embeddings.shape[:2] == names['p'].boxes.shape[:2]


def test_names_of_the_document_exist() -> None:
    text = DOCUMENT.read_text(encoding='utf-8')
    known = STMaskConfig.names()
    for name in re.findall(r'`((?:STMask|paper|stmask)_[a-z0-9_]*[a-z0-9])`', text):
        assert STMaskConfig.named(name)
    assert all(name in text or name.startswith('paper_fca_a') for name in known)
