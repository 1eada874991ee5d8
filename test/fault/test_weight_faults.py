# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Weights that are corrupt, missing, of another network, or hostile: refused, with an ERROR."""

from __future__ import annotations

import os
import pickle
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from safetensors.torch import save_file
from segmenter_process import SegmenterProcess, image

from stmask_ros.models.checkpoint import load_model

SPOILED = 'ran.txt'


class Folder:
    """A model that can be spoiled and made good again, while the node looks at it."""

    def __init__(self, path: Path, model: Path) -> None:
        self.path = path
        self.weights = path / 'small.safetensors'
        self.model = model
        self.good = load_model(model).network.state_dict()
        self.mend()

    def mend(self) -> None:
        """Write what is right."""
        for path in self.path.iterdir():
            path.unlink() if path.name != 'sub' else path.rmdir()
        self.write_tensors(self.good)
        self.describe(weights=self.weights.name)

    def describe(self, **changes: Any) -> None:
        """Write the description with some fields changed."""
        description = yaml.safe_load(self.model.read_text()) | changes
        (self.path / 'small.yaml').write_text(yaml.safe_dump(description))

    def write_tensors(self, tensors: dict[str, torch.Tensor]) -> None:
        save_file({key: value.contiguous() for key, value in tensors.items()}, self.weights)


def missing_description(folder: Folder) -> None:
    (folder.path / 'small.yaml').unlink()


def broken_description(folder: Folder) -> None:
    (folder.path / 'small.yaml').write_text('classes: [person\n\t: {')


def binary_description(folder: Folder) -> None:
    (folder.path / 'small.yaml').write_bytes(bytes(range(256)))


def description_with_code(folder: Folder) -> None:
    command = f'touch {folder.path / SPOILED}'
    (folder.path / 'small.yaml').write_text(f'name: !!python/object/apply:os.system ["{command}"]')


def vast_network(folder: Folder) -> None:
    folder.describe(options={'channels': 10_000_000})


def missing_weights(folder: Folder) -> None:
    folder.weights.unlink()


def weights_that_are_a_folder(folder: Folder) -> None:
    (folder.path / 'sub').mkdir()
    folder.describe(weights='sub')


def weights_that_never_end(folder: Folder) -> None:
    folder.describe(weights='/dev/zero')


def weights_that_are_a_pipe(folder: Folder) -> None:
    folder.weights.unlink()
    os.mkfifo(folder.weights)


def empty_weights(folder: Folder) -> None:
    folder.weights.write_bytes(b'')


def cut_off_weights(folder: Folder) -> None:
    data = folder.weights.read_bytes()
    folder.weights.write_bytes(data[:len(data) // 2])


def noise_for_weights(folder: Folder) -> None:
    folder.weights.write_bytes(os.urandom(100_000))


def vast_header(folder: Folder) -> None:
    folder.weights.write_bytes(struct.pack('<Q', 2**62) + b'{}')


def other_checksum(folder: Folder) -> None:
    folder.describe(weights=folder.weights.name, sha256='0' * 64)


def missing_tensors(folder: Folder) -> None:
    folder.write_tensors(dict(list(folder.good.items())[5:]))


def unknown_tensors(folder: Folder) -> None:
    folder.write_tensors(folder.good | {'surplus': torch.zeros(3)})


def weights_of_another_network(folder: Folder) -> None:
    folder.describe(weights=folder.weights.name, classes=['one'])


def not_a_number(folder: Folder) -> None:
    _set_one(folder, float('nan'))


def infinite(folder: Folder) -> None:
    _set_one(folder, float('-inf'))


def _set_one(folder: Folder, value: float) -> None:
    tensors = {key: tensor.clone() for key, tensor in folder.good.items()}
    tensors[a_bias(folder.good)][3] = value
    folder.write_tensors(tensors)


def a_bias(tensors: dict[str, torch.Tensor]) -> str:
    """Return the name of the first bias."""
    return next(name for name in tensors if name.endswith('.bias'))


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f'touch {self.path}',)


def pickle_with_code(folder: Folder) -> None:
    (folder.path / 'small.pth').write_bytes(pickle.dumps(Touch(folder.path / SPOILED)))
    folder.describe(weights='small.pth')


def checkpoint_with_code(folder: Folder) -> None:
    torch.save({'bias': Touch(folder.path / SPOILED)}, folder.path / 'small.pth')
    folder.describe(weights='small.pth')


def checkpoint_without_tensors(folder: Folder) -> None:
    torch.save({'epoch': 3, 'names': list(folder.good)}, folder.path / 'small.pth')
    folder.describe(weights='small.pth')


# What spoils the model, and what the node says of it.
FAULTS: dict[Callable[[Folder], None], str] = {
    missing_description: 'no model',
    broken_description: 'is no description of a model',
    binary_description: 'is no description of a model',
    description_with_code: 'is no description of a model',
    vast_network: 'GiB of weights',
    missing_weights: 'are not a file that is there',
    weights_that_are_a_folder: 'are not a file that is there',
    weights_that_never_end: 'are not a file that is there',
    weights_that_are_a_pipe: 'are not a file that is there',
    empty_weights: 'cannot be read',
    cut_off_weights: 'cannot be read',
    noise_for_weights: 'cannot be read',
    vast_header: 'cannot be read',
    other_checksum: 'the file is damaged or another one',
    missing_tensors: '5 missing',
    unknown_tensors: '1 unknown: surplus',
    weights_of_another_network: 'misshaped',
    not_a_number: '1 of the weights are not finite: ',
    infinite: '1 of the weights are not finite: ',
    pickle_with_code: 'is not a checkpoint of plain tensors',
    checkpoint_with_code: 'is not a checkpoint of plain tensors',
    checkpoint_without_tensors: 'holds something else than named tensors',
}

# Those that read what a family says of its network.
OF_EVERY_FAMILY = {
    vast_network, missing_tensors, unknown_tensors, weights_of_another_network, not_a_number,
    infinite,
}


@pytest.fixture(scope='module')
def folder(
    tmp_path_factory: pytest.TempPathFactory, family: str, small_model: Path
) -> Folder:
    return Folder(tmp_path_factory.mktemp('model'), small_model)


@pytest.fixture(scope='module')
def segmenter(folder: Folder) -> Iterator[SegmenterProcess]:
    node = SegmenterProcess(
        'weights', '-p', f'model:={folder.path / "small.yaml"}', '-p', 'torch_threads:=1',
        '-p', 'diagnostics_period:=0.05')
    try:
        yield node
    finally:
        node.close()


@pytest.mark.parametrize(('spoil', 'told'), [
    pytest.param(
        spoil, told, id=spoil.__name__,
        marks=[] if spoil in OF_EVERY_FAMILY else pytest.mark.long_for_others)
    for spoil, told in FAULTS.items()])
def test_a_model_that_is_not_taken(
    segmenter: SegmenterProcess, folder: Folder, spoil: Callable[[Folder], None], told: str
) -> None:
    """Configuring fails with the reason in log and diagnostics, and nothing of it was run."""
    folder.mend()
    spoil(folder)
    assert not segmenter.change_state(Transition.TRANSITION_CONFIGURE)
    assert segmenter.state() == State.PRIMARY_STATE_UNCONFIGURED
    segmenter.facts()
    assert segmenter.status is not None
    assert segmenter.status.level == DiagnosticStatus.ERROR
    assert segmenter.status.message.startswith('not configured: ')
    assert told in segmenter.status.message
    assert not (folder.path / SPOILED).exists()
    assert 'Traceback' not in segmenter.log()


def test_a_mended_model_is_taken(
    segmenter: SegmenterProcess, folder: Folder, record_property: Callable[[str, object], None]
) -> None:
    """The node need not be started again."""
    folder.mend()
    missing_weights(folder)
    assert not segmenter.change_state(Transition.TRANSITION_CONFIGURE)
    folder.mend()
    start = time.monotonic()
    assert segmenter.change_state(Transition.TRANSITION_CONFIGURE), segmenter.log()
    segmenter.facts()
    record_property('recovery, with loading the model [s]', f'{time.monotonic() - start:.2f}')
    assert segmenter.status is not None
    assert segmenter.status.level != DiagnosticStatus.ERROR
    assert segmenter.change_state(Transition.TRANSITION_ACTIVATE)
    segmenter.warm_up(image)
