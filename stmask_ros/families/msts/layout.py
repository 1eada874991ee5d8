# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of SeqFormer and MS-STS: their names for our tensors (specification, 10)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from stmask_ros.families.errors import ModelError

_OFFICIAL = 'detr.'
# Never read: an attention that no layer calls, and a projection that encoder layers do not use.
_UNUSED = re.compile(
    r'temp_attn_box\.|^detr\.transformer\.encoder\.layers\.\d+\.self_attn\.output_proj_box\.'
)
_RENAMED = (
    (re.compile(r'^detr\.backbone\.0\.body\.layer(\d)\.'),
     lambda found: f'backbone.layers.{int(found[1]) - 1}.'),
    (re.compile(r'^detr\.backbone\.0\.body\.'), 'backbone.'),
    (re.compile(r'^detr\.(class_embed|query_embed)\.'), r'decoder.\1.'),
    (re.compile(r'^detr\.bbox_embed\.'), 'decoder.bbox_embed.'),
    (re.compile(r'^detr\.transformer\.reference_points\.'), 'decoder.reference_points.'),
    (re.compile(r'^detr\.transformer\.'), ''),
    (re.compile(r'^detr\.'), ''),
)


def is_official(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether tensors bear the names of the released code."""
    return any(key.startswith(_OFFICIAL) for key in tensors)


def own_name(key: str) -> str:
    """Return our name of a tensor of a released checkpoint."""
    for pattern, replacement in _RENAMED:
        renamed, count = pattern.subn(replacement, key)
        if count:
            return renamed
    return key


def unused_names(tensors: Iterable[str]) -> list[str]:
    """Return the names of tensors of a released checkpoint that its network never reads."""
    return [key for key in tensors if _UNUSED.search(key)]


def own_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """
    Return the tensors of a released checkpoint under our names; others as they are.

    The frozen batch norms get the counters that ours have, and what is never read is left out.
    Raises ModelError if two names of one tensor say different things.
    """
    if not is_official(tensors):
        return dict(tensors)
    unused = set(unused_names(tensors))
    renamed: dict[str, Tensor] = {}
    for key, value in tensors.items():
        name = own_name(key)
        if key in unused:
            continue
        if name in renamed and not torch.equal(renamed[name], value):
            raise ModelError(f'{key} is a second name of {name} and holds other numbers')
        renamed[name] = value
        if name.endswith('.running_mean'):
            counter = name.removesuffix('running_mean') + 'num_batches_tracked'
            renamed[counter] = torch.zeros((), dtype=torch.int64)
    return renamed
