# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The processes of a run: one, or those that torchrun started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from stmask_ros.evaluation.dataset_run import Worker


@dataclass(frozen=True)
class Team:
    """This process among those of the run, and its device."""

    worker: Worker
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and the log."""
        return self.worker.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process."""
        return self.worker.count == 1

    def share_buffers(self, module: nn.Module) -> None:
        """Give all processes the buffers of the first: each has its own statistics of batches."""
        if not self.is_alone:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    def wait_for_all(self) -> None:
        """Return when every process has come here."""
        if not self.is_alone:
            dist.barrier()


@contextmanager
def joined_team(device: str) -> Iterator[Team]:
    """
    Join the processes of torchrun's environment for as long as the context lasts.

    device: 'cpu', 'cuda' for the one of this process, or 'auto'. Raises ValueError without CUDA.
    """
    worker = Worker.from_environment()
    cuda = torch.cuda.is_available()
    if device == 'cuda' and not cuda:
        raise ValueError('device cuda: PyTorch finds no CUDA device here; use cpu or auto')
    if cuda and device != 'cpu':
        chosen = torch.device('cuda', worker.local_rank)
        torch.cuda.set_device(chosen)
    else:
        chosen = torch.device('cpu')
    team = Team(worker, chosen)
    if team.is_alone:
        yield team
        return
    dist.init_process_group('nccl' if chosen.type == 'cuda' else 'gloo')
    try:
        yield team
    finally:
        dist.destroy_process_group()
