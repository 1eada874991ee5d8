# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What a family gives so that a model of it learns new classes on features that stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from stmask_ros.families.frames import AnnotatedFrame

_Configuration = TypeVar('_Configuration', contravariant=True)
_Network = TypeVar('_Network', bound=nn.Module, contravariant=True)


@dataclass(frozen=True)
class TaughtClass:
    """
    A class of the model after.

    kept: the classes of the model before, from 0, by any of which it is recognised. learned:
    whether there are labelled objects that it is to be recognised by. One of the two there is.
    """

    name: str
    kept: tuple[int, ...] = ()
    learned: bool = False


class Learner(Protocol):
    """What learns: a module with all parameters that do, and nothing else."""

    def parameters(self) -> Any:
        """Return the parameters."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what load_state_dict() takes."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> Any:
        """Go on from a state."""
        ...

    def losses(self, lessons: Sequence[Any]) -> Mapping[str, Tensor]:
        """Return the terms of the loss by name, scalars with their weights in."""
        ...

    def finish(self) -> nn.Module:
        """Return the network after with what was learned so far; the same one each time."""
        ...


class ClassTeaching(Protocol[_Configuration, _Network]):
    """How new classes are taught."""

    def check(self, configuration: _Configuration) -> None:
        """Raise TrainingError that says which models can be taught, if this is none of them."""
        ...

    def options(
        self, configuration: _Configuration, classes: Sequence[TaughtClass]
    ) -> dict[str, Any]:
        """Return the options of the configuration after that come with its classes."""
        ...

    def teacher(
        self, network: _Network, device: torch.device
    ) -> Callable[[AnnotatedFrame], Any]:
        """
        Return what makes a lesson of a frame: all that is learned from, on the host, half as big.

        network: before, which stays as it is. The labels of the frames are of the classes after;
        0 marks objects of which nothing is learned. All objects of learned classes are labelled.
        """
        ...

    def learner(
        self, network: _Network, classes: Sequence[TaughtClass], device: torch.device, seed: int
    ) -> Learner:
        """Return what learns, at its start. network: before."""
        ...


@runtime_checkable
class TeachesClasses(Protocol):
    """A family of which some models can learn new classes from few pictures."""

    @property
    def teaching(self) -> ClassTeaching[Any, Any]:
        """How they are taught."""
        ...
