"""Packages, fetched and opened; nothing of them is installed or run."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path


def open_wheel(name: str, version: str, folder: Path) -> zipfile.ZipFile:
    """Return a wheel of PyPI's, kept in a folder; CalledProcessError if pip cannot fetch it."""
    pattern = f'{name.replace("-", "_")}-{version}-*.whl'
    if not list(folder.glob(pattern)):
        subprocess.run([
            sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps',
            '--dest', str(folder), f'{name}=={version}',
        ], check=True)
    return zipfile.ZipFile(next(folder.glob(pattern)))


def unpack_debian(name: str, folder: Path) -> Path:
    """
    Return the folder with the files of a package of Debian's.

    Raises CalledProcessError if apt-get has no such package, FileNotFoundError without apt-get.
    """
    if not list(folder.glob(f'{name}_*.deb')):
        subprocess.run(['apt-get', 'download', name], cwd=folder, check=True)
    archive = next(folder.glob(f'{name}_*.deb'))
    subprocess.run(['dpkg-deb', '-x', str(archive), str(folder / name)], check=True)
    return folder / name
