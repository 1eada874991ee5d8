"""
Front end for `pip install --no-build-isolation .` on ROS 2 wheels: it runs CMakeLists.txt.

colcon never reads this file (package.xml says ament_cmake).
"""

from __future__ import annotations

import os
from pathlib import Path
import shutil
import subprocess
import sys
import sysconfig
from tempfile import TemporaryDirectory

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


def _cmake(*arguments: str | Path) -> None:
    # The ament resource index is looked up through this variable, which a wheel does not set.
    environment = {**os.environ, 'AMENT_PREFIX_PATH': sys.prefix}
    subprocess.run(['cmake', *map(str, arguments)], check=True, env=environment)


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
        self._staging = TemporaryDirectory(prefix='stmask_ros_')
        staging = Path(self._staging.name)
        prefix = staging / 'prefix'
        _install_with_cmake(staging / 'build', prefix)
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
