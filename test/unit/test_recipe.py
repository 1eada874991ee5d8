"""What stmask_lite is trained with."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stmask_ros.training.config import read_config

MODEL = Path(__file__).resolve().parents[2] / 'model'


def test_all_parts_can_be_read() -> None:
    parts = sorted((MODEL / 'training').glob('*.yaml'))
    assert len(parts) > 5
    for part in parts:
        assert read_config(part).name in ('stmask_lite', 'held_out')


def test_rewind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = load_file(MODEL / 'stmask_lite.safetensors')
    start = {
        name: torch.zeros_like(value, dtype=torch.float32)
        for name, value in trained.items() if name.startswith('backbone.layers.')
    }
    save_file(start, tmp_path / 'start.safetensors')
    script = MODEL / 'training' / 'rewind.py'
    out = tmp_path / 'new' / 'mixed.safetensors'
    monkeypatch.setattr(sys, 'argv', [
        str(script), str(MODEL / 'stmask_lite.yaml'), str(tmp_path / 'start.safetensors'),
        '0.25', str(out),
    ])
    runpy.run_path(str(script), run_name='__main__')
    mixed = load_file(out)
    assert mixed.keys() == trained.keys()
    for name, value in trained.items():
        kept = 0.75 if name in start and value.is_floating_point() else 1
        torch.testing.assert_close(mixed[name], (kept * value.float()).to(mixed[name].dtype))
