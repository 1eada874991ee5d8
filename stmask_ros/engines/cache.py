# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A model's network as an engine's files: written when they are missing, kept beside the model."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from stmask_ros.engines.toolkit import Engine, engine_version, toolkit
from stmask_ros.families.errors import ModelError
from stmask_ros.families.family import Precision
from stmask_ros.layers.program import Program

# To be raised when a network computes anything else from the same weights and configuration, or
# is exported in another way.
_REVISION = 2


@dataclass(frozen=True)
class EngineCache:
    """
    The files of one model for one engine, and where they go.

    engine: not 'torch'. model: its name. digest: sha256 of its weights. configuration: whatever
    else its network depends on, as text. folder: of the model; None without one. Where it cannot
    be written, a folder of the user's takes its place. device: that programs run on. tell: is told
    of exports, and how long they took.
    """

    engine: Engine
    model: str
    digest: str
    configuration: str
    folder: Path | None
    device: torch.device
    tell: Callable[[str], object]

    def compiled(
        self, part: str, module: nn.Module, example: Tensor, precision: Precision
    ) -> Program:
        """
        Return a module as the engine runs it, exported first if its file is missing.

        part: its name among the modules of the model. module: on the CPU, in float32, from one
        tensor like the example to a tuple of them. Raises ModelError if the engine is not
        installed, or cannot run on the device or in the precision.
        """
        tools = toolkit(self.engine, precision)
        if precision not in tools.precisions:
            raise ModelError(
                f'engine {self.engine!r} runs here in {" or ".join(tools.precisions)}, '
                f'got precision {precision!r}'
            )
        path = self._find(f'{part}{tools.suffix}')
        if not path.is_file():
            self.tell(f'exporting {path.name}: once, within a minute or two')
            begin = time.monotonic()
            with _new_file(path) as file:
                tools.export(module, example, file)
            self.tell(f'exported {path} in {time.monotonic() - begin:.0f} s')
        try:
            return tools.load(path, self.device, precision)
        except (OSError, RuntimeError) as error:
            raise ModelError(
                f'{path} cannot be loaded; if you remove it, it is exported again: {error}'
            ) from error

    def _find(self, ending: str) -> Path:
        # Where the file is, or is to be.
        depends = f'{_REVISION} {torch.__version__} {self.digest} {self.configuration}'
        key = hashlib.sha256(depends.encode()).hexdigest()[:16]
        name = f'{self.model}.{self.engine}-{engine_version(self.engine)}.{key}.{ending}'
        folders = [_users_folder()] if self.folder is None else [self.folder, _users_folder()]
        there = [folder / name for folder in folders if (folder / name).is_file()]
        to_be = [folder / name for folder in folders if os.access(folder, os.W_OK)]
        return (there + to_be + [folders[-1] / name])[0]


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    # The file, and any beside it, come into being whole: another process may look for them.
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix='.export-') as folder:
        yield Path(folder) / path.name
        for file in sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name):
            file.replace(path.parent / file.name)


def _users_folder() -> Path:
    home = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(home) / 'stmask_ros'
