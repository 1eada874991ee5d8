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

VARIABLE = 'FAULT'

# Of each stage: module and name of the function that is replaced.
STAGES = {
    'conversion': ('stmask_ros.images', 'raw_picture'),
    'preprocessing': ('stmask_ros.families.stmask.preprocess', 'on_device'),
    'network': ('stmask_ros.families.stmask.network', 'STMask.forward'),
    'temporal fusion': ('stmask_ros.families.stmask.network', 'STMask.propagate'),
    'detection': ('stmask_ros.families.stmask.detection', 'suppress'),
    'association': ('stmask_ros.families.stmask.association', 'associate'),
    'masks': ('stmask_ros.layers.soft_masks', 'region_mask'),
    'message': ('stmask_ros.ros.messages', 'instances_message'),
    'overlay': ('stmask_ros.views.overlay', 'draw_overlay'),
    'label image': ('stmask_ros.views.overlay', 'label_image'),
    'freeing': ('torch.cuda', 'empty_cache'),
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

    def environment(self) -> dict[str, str]:
        """Return the environment to start the process with."""
        return dict(os.environ) | {VARIABLE: str(self.path)}

    def write(self, stages: tuple[str, ...], error: str) -> None:
        """Let these stages fail from now on; an error is one of ERRORS."""
        assert set(stages) <= set(STAGES)
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


def _replace(stage: str, fault: Fault) -> None:
    module, name = STAGES[stage]
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
    for stage in STAGES:
        _replace(stage, fault)
    from stmask_ros.node.segmenter_node import main as run
    run()


if __name__ == '__main__':
    main()
