# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The public Python API is what the documents name; a name that goes must warn for a release."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
IMPORT = re.compile(r'^\s*from (stmask_ros[\w.]*) import ([\w, ]+)$', re.MULTILINE)
AUTOMODULE = re.compile(r'automodule:: (stmask_ros[\w.]*)')


def documented_names() -> set[tuple[str, str]]:
    """Return module and name of every import that a code block of the documents shows."""
    return {
        (module, name.split(' as ')[0].strip())
        for document in DOCUMENTS
        for module, names in IMPORT.findall(document.read_text())
        for name in names.split(',')
    }


@pytest.mark.filterwarnings('error::DeprecationWarning:stmask_ros')
@pytest.mark.parametrize(('module', 'name'), sorted(documented_names()))
def test_what_the_documents_import_is_there(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


def test_modules_of_the_reference_are_there() -> None:
    modules = AUTOMODULE.findall((ROOT / 'docs' / 'api.md').read_text())
    assert modules
    for module in modules:
        assert importlib.import_module(module).__doc__


def test_the_documents_were_read() -> None:
    assert ('stmask_ros.masks', 'decode') in documented_names()
    assert len(documented_names()) > 8
