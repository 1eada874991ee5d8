# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the processor can do, asked of it."""

from __future__ import annotations

import torch

# Instructions that multiply matrices of bfloat16: of x86 and of ARM.
_MULTIPLIES_BFLOAT16 = ('amx_bf16', 'avx512_bf16', 'bf16')


def multiplies_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 itself: by AMX, AVX512-BF16 or ARM's."""
    if hasattr(torch.cpu, 'get_capabilities'):
        known = torch.cpu.get_capabilities()
        return any(known.get(name, False) for name in _MULTIPLIES_BFLOAT16)
    # Before PyTorch 2.11. AMX has come with bfloat16 in all processors that have it.
    asked = (getattr(torch.cpu, f'_is_{name}_supported', None) for name in (
        'avx512_bf16', 'amx_tile',
    ))
    return any(ask is not None and ask() for ask in asked)
