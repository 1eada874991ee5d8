# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Memory that every image needs again: the C library keeps it, instead of giving it back."""

from __future__ import annotations

import ctypes
import os

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

_KEPT = 64 * 2**20
# The most that glibc takes.
_LARGEST_BLOCK = 32 * 2**20

_USERS_OWN = ('GLIBC_TUNABLES', 'MALLOC_TRIM_THRESHOLD_', 'MALLOC_MMAP_THRESHOLD_')


def keep_freed_memory() -> bool:
    """
    Let this process keep up to 64 MiB that it freed, for new blocks of up to 32 MiB.

    An image of 1920x1080 has 6 MB. By default glibc returns such blocks to the kernel, which hands
    out the next ones page by page: with four cameras a fifth of the node's processor time.
    Returns False, and changes nothing, where the C library is another one or the user has set
    variables of it.
    """
    if any(variable in os.environ for variable in _USERS_OWN):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    return bool(
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK) and mallopt(_M_TRIM_THRESHOLD, _KEPT)
    )


def give_back_freed_memory() -> None:
    """Return all that was freed to the system, as far as whole pages are free."""
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:
        return
    malloc_trim(0)
