# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
A segmenter whose stages fail when they are told to: `python faulty_segmenter.py --ros-args ...`.

The functions of the stages are replaced before the node imports them, in this process alone. They
look at each call whether the file that the variable FAULT names holds their fault, as written by
Fault.write().
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

VARIABLE, FAMILY = 'FAULT', 'FAULTY_FAMILY'

# Of each stage: module and name of the function that is replaced.
STAGES = {
    'conversion': ('stmask_ros.images', 'raw_picture'),
    'message': ('stmask_ros.ros.messages', 'instances_message'),
    'overlay': ('stmask_ros.views.overlay', 'draw_overlay'),
    'label image': ('stmask_ros.views.overlay', 'label_image'),
    'freeing': ('torch.cuda', 'empty_cache'),
}
_SIPMASK = {
    'preprocessing': ('stmask_ros.families.sipmask.preprocess', 'normalised'),
    'network': ('stmask_ros.families.sipmask.network', 'SipMask.forward'),
    'temporal part': ('stmask_ros.families.sipmask.tracks', 'TrackTable.aged'),
    'detection': ('stmask_ros.families.sipmask.detection', 'suppress'),
    'association': ('stmask_ros.families.sipmask.association', 'match'),
    'masks': ('stmask_ros.layers.soft_masks', 'region_mask'),
}
# Those within a step of each family.
STAGES_OF_FAMILY = {
    'stmask': {
        'preprocessing': ('stmask_ros.families.stmask.preprocess', 'on_device'),
        'network': ('stmask_ros.families.stmask.network', 'STMask.forward'),
        'temporal part': ('stmask_ros.families.stmask.network', 'STMask.propagate'),
        'detection': ('stmask_ros.families.stmask.detection', 'suppress'),
        'association': ('stmask_ros.families.stmask.association', 'associate'),
        'masks': ('stmask_ros.layers.soft_masks', 'region_mask'),
    },
    'sipmask': _SIPMASK,
    'sgnet': _SIPMASK | {
        'network': ('stmask_ros.families.sgnet.network', 'SGNet.forward'),
        'temporal part': ('stmask_ros.families.sgnet.network', 'SGNet.motion'),
    },
    'msts': {
        'preprocessing': ('stmask_ros.families.msts.preprocess', 'normalised'),
        'network': ('stmask_ros.families.msts.network', 'MSTS.tokens'),
        'temporal part': ('stmask_ros.families.msts.decoder', 'Decoder.forward'),
        'detection': ('stmask_ros.families.msts.slots', 'find_slots'),
        'association': ('stmask_ros.families.msts.association', 'matched'),
        'masks': ('stmask_ros.families.msts.selection', 'image_logits'),
    },
}


def _exception() -> NoReturn:
    raise RuntimeError('an injected failure')


def _out_of_memory() -> NoReturn:
    import torch
    raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')


def _no_memory() -> NoReturn:
    raise MemoryError


def _device_lost() -> NoReturn:
    raise RuntimeError('CUDA error: unspecified launch failure')


def _slow() -> None:
    time.sleep(2.0)


ERRORS: dict[str, Callable[[], None]] = {
    'exception': _exception,
    'out of memory': _out_of_memory,
    'no memory': _no_memory,
    'device lost': _device_lost,
    'slow': _slow,
}


@dataclass(frozen=True)
class Fault:
    """The file by which a test tells the process which stage fails how."""

    path: Path

    def environment(self, family: str) -> dict[str, str]:
        """Return the environment to start the process with, for a model of a family."""
        return dict(os.environ) | {VARIABLE: str(self.path), FAMILY: family}

    def write(self, stages: tuple[str, ...], error: str) -> None:
        """Let these stages fail from now on; an error is one of ERRORS."""
        assert set(stages) <= set(STAGES) | set(_SIPMASK)
        assert error in ERRORS
        # A rename, so that the process never sees half of it.
        draft = self.path.with_suffix('.draft')
        draft.write_text('\n'.join((error, *stages)))
        draft.rename(self.path)

    def clear(self) -> None:
        """Let all stages work."""
        self.path.write_text('')

    def strike(self, stage: str) -> None:
        """Fail if the stage has to."""
        error, *stages = self.path.read_text().split('\n')
        if stage in stages:
            ERRORS[error]()


def _replace(stage: str, module: str, name: str, fault: Fault) -> None:
    owner: Any = importlib.import_module(module)
    *classes, name = name.split('.')
    for part in classes:
        owner = getattr(owner, part)
    function = getattr(owner, name)

    @functools.wraps(function)
    def _faulty(*arguments: Any, **keywords: Any) -> Any:
        fault.strike(stage)
        return function(*arguments, **keywords)

    setattr(owner, name, _faulty)


def main() -> None:
    """Replace the functions, then run the node as usual."""
    sys.path[0] = ''  # as for `python -m`: the package of the working directory comes first
    fault = Fault(Path(os.environ[VARIABLE]))
    for stage, (module, name) in (STAGES | STAGES_OF_FAMILY[os.environ[FAMILY]]).items():
        _replace(stage, module, name, fault)
    from stmask_ros.node.segmenter_node import main as run
    run()


if __name__ == '__main__':
    main()
