# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the package never does: run code from data, start programs, use the network itself."""

from __future__ import annotations

import ast
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from stmask_ros.families.errors import ModelError
from stmask_ros.models.checkpoint import load_model

PACKAGE = Path(__file__).resolve().parents[2] / 'stmask_ros'
MODULES = sorted(PACKAGE.rglob('*.py'))

# Programs, the network, and formats whose reading runs code.
MODULES_NOT_TO_IMPORT = (
    'subprocess', 'pty', 'ctypes', 'socket', 'socketserver', 'ssl', 'asyncio', 'http', 'urllib',
    'ftplib', 'smtplib', 'telnetlib', 'xmlrpc', 'webbrowser', 'requests', 'httpx', 'aiohttp',
    'torch.hub', 'huggingface_hub', 'pickle', 'cPickle', 'dill', 'cloudpickle', 'joblib',
    'marshal', 'shelve', 'runpy', 'importlib.import_module',
    'torch.distributed', 'multiprocessing', 'torch.multiprocessing',
)
CALLS_NOT_TO_MAKE = (
    'eval', 'exec', 'compile', '__import__', 'os.system', 'os.popen', 'os.fork', 'os.forkpty',
    'os.startfile', 'os.posix_spawn', 'os.posix_spawnp', 'os.execv', 'os.execve', 'os.execvp',
    'os.execl', 'os.execlp', 'os.spawnv', 'os.spawnl', 'yaml.load', 'yaml.full_load',
    'yaml.unsafe_load', 'importlib.import_module', 'torch.hub.load', 'cv2.VideoCapture',
)
# These arguments make the calls safe; without them both may run code that the file holds.
ARGUMENTS_TO_GIVE = {'torch.load': ('weights_only', True)}
ARGUMENTS_NOT_TO_GIVE = {'allow_pickle': True, 'shell': True}

EXCEPTIONS = {
    ('moved_modules.py', 'importlib.import_module'),  # of names in its own table
    ('memory.py', 'ctypes'),  # two functions of the C library that the process runs on
    ('layers/sampling.py', 'ctypes'),  # two functions of src/sample_taps.cpp
    ('commands/demo_processes.py', 'subprocess'),  # `stmask demo` starts nodes
    ('labelling/server.py', 'http'),  # on the loopback address, see test_label_page.py
    ('bags/recording.py', 'cv2.VideoCapture'),  # of a video that it has just written
    ('sources/pictures.py', 'cv2.VideoCapture'),  # of files that exist, see test_sources.py
}
# Workers of torchrun and of the data loader; nodes never train.
PARALLEL = ('torch.distributed', 'multiprocessing', 'torch.multiprocessing')


def is_of(name: str, module: str) -> bool:
    return name == module or name.startswith(module + '.')


def findings(source: str) -> Iterator[str]:
    """Yield the forbidden things that a module's source does."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        else:
            names = []
        for module in MODULES_NOT_TO_IMPORT:
            yield from (module for name in names if is_of(name, module))
        if isinstance(node, ast.Call):
            yield from findings_of_call(node)


def findings_of_call(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    given = {
        keyword.arg: getattr(keyword.value, 'value', None)
        for keyword in call.keywords
    }
    if name in CALLS_NOT_TO_MAKE:
        yield name
    if name in ARGUMENTS_TO_GIVE:
        argument, value = ARGUMENTS_TO_GIVE[name]
        if given.get(argument) is not value:
            yield f'{name} without {argument}={value}'
    for argument, value in ARGUMENTS_NOT_TO_GIVE.items():
        if given.get(argument) is value:
            yield f'{name} with {argument}={value}'


def is_excepted(file: str, finding: str) -> bool:
    apart = finding in PARALLEL and (
        file.startswith(('training/', 'evaluation/')) or '/training/' in file)
    return apart or (file, finding) in EXCEPTIONS


@pytest.mark.parametrize('module', MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_code_from_data_no_shell_no_network(module: Path) -> None:
    file = module.relative_to(PACKAGE).as_posix()
    found = [item for item in findings(module.read_text()) if not is_excepted(file, item)]
    assert not found


@pytest.mark.parametrize('source', [
    'import subprocess as s', 'from urllib.request import urlopen', 'import torch.hub',
    'from os import path; import pickle', 'os.system("ls")', 'eval(text)', 'yaml.load(stream)',
    'torch.load(path)', 'torch.load(path, weights_only=False)', 'np.load(f, allow_pickle=True)',
    'run(command, shell=True)', 'from importlib import import_module',
])
def test_the_rules_catch_what_they_are_for(source: str) -> None:
    assert list(findings(source))


def test_the_rules_leave_the_rest_alone() -> None:
    source = 'network.eval(); re.compile("x"); torch.load(path, weights_only=True); np.load(f)'
    assert not list(findings(source))


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f'touch {self.proof}',)


def hostile_model(kind: str, folder: Path, proof: Path) -> Path:
    """Write a model that would create `proof` if any code of its files were run."""
    path, weights = folder / 'model.yaml', folder / 'weights.pth'
    command = f'!!python/object/apply:os.system ["touch {proof}"]'
    text = 'name: hostile\nconfiguration: stmask_lite\nclasses: [a, b, c, d]\n'
    text += 'weights: weights.pth\n'
    if kind == 'pickle':
        weights.write_bytes(pickle.dumps({'a': Hostile(proof)}))
    elif kind == 'archive':
        torch.save({'a': Hostile(proof)}, weights)
    elif kind == 'pickle called safetensors':
        (folder / 'weights.safetensors').write_bytes(pickle.dumps(Hostile(proof)))
        text = text.replace('.pth', '.safetensors')
    elif kind == 'yaml':
        text = f'name: {command}\n'
    path.write_text(text)
    return path


@pytest.mark.parametrize('kind', ['pickle', 'archive', 'pickle called safetensors', 'yaml'])
def test_no_code_in_a_model_is_run(kind: str, tmp_path: Path) -> None:
    (tmp_path / 'model').mkdir()
    proof = tmp_path / 'proof'
    with pytest.raises(ModelError):
        load_model(hostile_model(kind, tmp_path / 'model', proof))
    assert not proof.exists()


def test_the_proof_would_be_there(tmp_path: Path) -> None:
    """What is refused above does create its file when something does unpickle it."""
    proof = tmp_path / 'proof'
    pickle.loads(pickle.dumps(Hostile(proof)))
    assert proof.exists()
