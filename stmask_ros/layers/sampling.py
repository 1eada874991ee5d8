# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The samples of a deformable convolution by compiled code, src/sample_taps.cpp, where it is."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

import stmask_ros

_LOGGER = logging.getLogger(__name__)
_LIBRARY = 'libsample_taps.so'
# Fewer are taken sooner than a thread starts [numbers].
_LEAST_FOR_A_THREAD = 1 << 18

Samples = Callable[[int, int], Tensor]


class Taps(NamedTuple):
    """
    Where the taps of N cells are before they are displaced, and on maps of which size.

    y, x: [N, taps]. height, width: [N, 1], of the map. first: int32 [N, 1], its first cell of all.
    All in cells, on a CPU contiguous.
    """

    y: Tensor
    x: Tensor
    height: Tensor
    width: Tensor
    first: Tensor


class _Task(ctypes.Structure):
    # As Task in src/sample_taps.cpp.
    _fields_ = (
        *((name, ctypes.c_void_p) for name in (
            'table', 'offset', 'modulation', 'tap_y', 'tap_x', 'height', 'width', 'first', 'out',
        )),
        *((name, ctypes.c_int64) for name in (
            'table_cells', 'cells', 'taps', 'channels', 'begin', 'end',
        )),
    )


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """Return the compiled code that was installed with this package, or None without it."""
    for folder in stmask_ros.__path__:
        if (path := Path(folder) / _LIBRARY).is_file():
            try:
                return ctypes.CDLL(str(path))
            except OSError as error:
                _LOGGER.warning(
                    'deformable convolutions run slower, without their compiled code: %s', error
                )
    return None


def compiled_samples(
    table: Tensor, offset: Tensor, modulation: Tensor | None, taps: Taps
) -> Samples | None:
    """
    Return a function that takes the samples of rows of cells [begin, end).

    table: [B, cells of the maps, C]. offset: [B, N, 2 * taps], modulation: [B, N, taps] or None.
    The function returns [end - begin, taps * C] of the B * N rows. None where the compiled code
    is not there or cannot serve: for another device or dtype, and where gradients are asked for.
    """
    code = library()
    kind = {torch.float32: 'float32', torch.bfloat16: 'bfloat16'}.get(table.dtype)
    inputs = [table, offset] if modulation is None else [table, offset, modulation]
    if code is None or kind is None or not all(map(_is_readable, inputs)):
        return None
    take = getattr(code, f'stmask_sample_taps_{kind}')
    dtype = table.dtype
    numbers = [values.float().contiguous() for values in inputs]
    _, cells, count = offset.shape

    def samples(begin: int, end: int) -> Tensor:
        out = table.new_empty(end - begin, count // 2 * table.shape[2], dtype=dtype)
        threads = min(torch.get_num_threads(), max(1, out.numel() // _LEAST_FOR_A_THREAD))
        task = _Task(
            *(values.data_ptr() for values in numbers), *(None,) * (3 - len(numbers)),
            *(each.data_ptr() for each in taps), out.data_ptr(),
            table.shape[1], cells, count // 2, table.shape[2], begin, end,
        )
        take(ctypes.byref(task), ctypes.c_int64(threads))
        return out

    return samples


def _is_readable(values: Tensor) -> bool:
    # A subclass, such as a fake tensor, may have no values.
    no_gradient = not (torch.is_grad_enabled() and values.requires_grad)
    return type(values) is Tensor and values.device.type == 'cpu' and no_gradient
