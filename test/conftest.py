# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What all tests share: reference data, a ROS domain of their own, short and long runs."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from stmask_ros.ros.transport import use_large_message_profile

ROOT = Path(__file__).resolve().parent.parent
REFERENCE_NUMBERS = ROOT / 'test' / 'conformance' / 'data'
SHARED_MEMORY = Path('/dev/shm')
FIRST_FAMILY = 'stmask'

# For benchmark/, which is not installed. At the end, so that an installed package comes first.
sys.path.append(str(ROOT))

# Child processes inherit these. A domain of its own keeps a test run apart from a robot, and from
# another test run, on the same machine (0 to 101 are safe on every platform).
os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
if 'PYTEST_XDIST_WORKER' in os.environ:
    # Each of the test runs side by side has its own domain and its share of the processors.
    worker = int(os.environ['PYTEST_XDIST_WORKER'].removeprefix('gw'))
    os.environ['ROS_DOMAIN_ID'] = str(1 + (int(os.environ['ROS_DOMAIN_ID']) + worker) % 100)
    processors = len(os.sched_getaffinity(0))
    workers = int(os.environ['PYTEST_XDIST_WORKER_COUNT'])
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, processors // workers)))
use_large_message_profile()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --long."""
    parser.addoption(
        '--long', action='store_true',
        help='run tests that come in two lengths at full length (minutes each)')


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let long runs take their time; any other test that hangs is ended (pyproject.toml)."""
    if config.getoption('--long'):
        config.option.timeout = 0


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out, without --long, what is `slow`, or `long_for_others` than the first family."""
    if config.getoption('--long'):
        return
    left_out = [item for item in items if _is_long(item)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def _is_long(item: pytest.Item) -> bool:
    if item.get_closest_marker('long_for_others') is None:
        return item.get_closest_marker('slow') is not None
    assert isinstance(item, pytest.Function)
    return item.callspec.params['family'] != FIRST_FAMILY


@pytest.fixture(scope='session')
def long(pytestconfig: pytest.Config) -> bool:
    """Say whether tests that come in two lengths run at full length."""
    return bool(pytestconfig.getoption('--long'))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make text of what tests note with record_property: a worker hands on nothing else."""
    report = yield
    report.user_properties = [(name, str(value)) for name, value in report.user_properties]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have measured and noted with record_property."""
    for report in terminalreporter.getreports('passed') + terminalreporter.getreports('failed'):
        if report.when == 'call' and report.user_properties:
            terminalreporter.write_line(report.nodeid)
            for name, value in report.user_properties:
                terminalreporter.write_line(f'  {name:60} {value}')


@pytest.fixture(scope='session')
def reference_numbers() -> Path:
    """Return the folder with what the released codes and the official metric answered."""
    return REFERENCE_NUMBERS


@pytest.fixture(scope='session')
def shared_if_there() -> Path | None:
    """Return the folder of real video and pictures that the package does not hold, or None."""
    path = ROOT.parent / 'shared'
    return path if (path / 'data').is_dir() else None


@pytest.fixture(scope='session')
def shared(shared_if_there: Path | None) -> Path:
    """Return the folder of real video and pictures, or skip."""
    if shared_if_there is None:
        pytest.skip(f'the real video and pictures are not at {ROOT.parent / "shared"}')
    return shared_if_there


def segments() -> set[Path]:
    """Return the segments that Fast DDS keeps for processes; each has a lock file beside it."""
    return {lock.with_name(lock.name.removesuffix('_el'))
            for lock in SHARED_MEMORY.glob('fastdds_*_el') if 'port' not in lock.name}


def is_abandoned(segment: Path) -> bool:
    """Say whether no living process holds the segment's lock."""
    try:
        with segment.with_name(segment.name + '_el').open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    return True


@pytest.fixture(scope='session', autouse=True)
def _no_shared_memory_is_left() -> Iterator[None]:
    """Remove the segments (64 MiB each) of processes that a test has killed."""
    before = segments()
    yield
    for segment in filter(is_abandoned, segments() - before):
        segment.unlink(missing_ok=True)
        segment.with_name(segment.name + '_el').unlink(missing_ok=True)
