"""What the ROS tests share: the machine's shared memory is left as it was found."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED_MEMORY = Path('/dev/shm')


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
