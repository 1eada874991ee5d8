# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What decides a run's result, kept with the run: what goes on with it must be the same."""

from __future__ import annotations

import hashlib
import json
import xml.etree.ElementTree
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stmask_ros.resources import PACKAGE, share_directory

Fingerprint = dict[str, Any]  # of JSON values, with names for what they are

_CHUNK = 1 << 20


def versions() -> Fingerprint:
    """Return the version of this package and of the libraries that its results depend on."""
    import cv2  # here, because a fingerprint of files alone needs none of them
    import numpy as np
    import torch
    import torchvision

    package = xml.etree.ElementTree.parse(share_directory() / 'package.xml').findtext('version')
    libraries = {
        library.__name__: str(library.__version__) for library in (torch, torchvision, np, cv2)
    }
    return {PACKAGE: package, **libraries}


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content; OSError if it cannot be read."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def files_fingerprint(folder: Path, names: Iterable[str]) -> Fingerprint:
    """
    Return what tells files of a folder from others without reading them.

    That is their number, their size [byte] and the sha256 of their names, sizes and times of
    change. A file that is not there counts as one without size and time.
    """
    lines = [f'{name} {_size_and_time(folder / name)}' for name in names]
    sizes = [int(line.split()[-2]) for line in lines]
    text = '\n'.join(lines)
    return {
        'files': len(lines), 'bytes': sum(sizes),
        'names, sizes and times': hashlib.sha256(text.encode()).hexdigest(),
    }


def _size_and_time(path: Path) -> str:
    try:
        status = path.stat()
    except (OSError, ValueError):  # a name that no file can have
        return '0 0'
    return f'{status.st_size} {status.st_mtime_ns}'


def differences(old: Any, new: Mapping[str, Any]) -> str:
    """Say what differs between a kept fingerprint and a new one; nothing if they are the same."""
    before, now = (
        _flat(json.loads(json.dumps(values if isinstance(values, Mapping) else {})))
        for values in (old, new)
    )
    return ' and '.join(
        f'{name} {_told(before, name)}, not {_told(now, name)}'
        for name in sorted({*before, *now}) if _told(before, name) != _told(now, name)
    )


def _told(values: Mapping[str, Any], name: str) -> str:
    return str(values[name]) if name in values else 'unknown'


def _flat(values: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f'{prefix}{name}.')
        else:
            flat[f'{prefix}{name}'] = value
    return flat
