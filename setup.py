# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
Front end for `pip install --no-build-isolation .` on ROS 2 wheels: it runs CMakeLists.txt.

colcon never reads this file (package.xml says ament_cmake).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


def _cmake(*arguments: str | Path) -> None:
    environment = {
        **os.environ,
        # The ament resource index is looked up through this variable, which a wheel does not set.
        'AMENT_PREFIX_PATH': sys.prefix,
        # CMake and Ninja may be wheels of the same environment, which need not be activated.
        'PATH': os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']]),
    }
    subprocess.run(['cmake', *map(str, arguments)], check=True, env=environment)


def _work_directory() -> Path:
    """Return a folder of this checkout and this environment: two of them can share neither."""
    key = hashlib.sha256(f'{ROOT}\n{sys.prefix}'.encode()).hexdigest()[:8]
    return ROOT / 'build' / f'pip-{Path(sys.prefix).name}-{key}'


def _install_with_cmake(build: Path, prefix: Path) -> None:
    """Configure, build and install the ament package into `prefix`."""
    _cmake(
        '-S', ROOT, '-B', build, '-G', 'Ninja',
        f'-DCMAKE_INSTALL_PREFIX={prefix}',
        f'-DCMAKE_PREFIX_PATH={sys.prefix}',
        f'-DCMAKE_PROJECT_INCLUDE={ROOT / "cmake" / "ros_wheels.cmake"}',
        f'-DPython3_EXECUTABLE={sys.executable}',
        '-DCMAKE_BUILD_TYPE=Release',
        '-DBUILD_TESTING=OFF',
    )
    _cmake('--build', build)
    _cmake('--install', build)


def _site_packages(prefix: Path) -> Path:
    """Return where ament put the Python package below its prefix."""
    version = sysconfig.get_python_version()
    return prefix / 'lib' / f'python{version}' / 'site-packages'


class BuildWithCMake(build_py):
    """Take the Python package and all other files of the wheel from a CMake installation."""

    def run(self) -> None:
        """Fill build_lib and the distribution's data_files."""
        prefix = _work_directory() / 'prefix'
        shutil.rmtree(prefix, ignore_errors=True)
        _install_with_cmake(_work_directory() / 'cmake', prefix)
        target = Path(self.build_lib)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(_site_packages(prefix) / 'stmask_ros', target / 'stmask_ros')
        shutil.rmtree(_site_packages(prefix))
        self.distribution.data_files = [
            (str(file.parent.relative_to(prefix)), [str(file)])
            for file in sorted(prefix.rglob('*')) if file.is_file()
        ]


class PlatformDistribution(Distribution):
    """A distribution whose wheel is bound to this platform and Python."""

    def has_ext_modules(self) -> bool:
        """Say that there are compiled type supports."""
        return True


setup(cmdclass={'build_py': BuildWithCMake}, distclass=PlatformDistribution)
