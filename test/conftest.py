"""What all tests share: where the reference data is, and a ROS domain of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from stmask_ros.node.transport import use_large_message_profile

ROOT = Path(__file__).resolve().parent.parent

# For benchmark/, which is not installed. At the end, so that an installed package comes first.
sys.path.append(str(ROOT))

# Child processes inherit these. A domain of its own keeps a test run apart from a robot, and from
# another test run, on the same machine (0 to 101 are safe on every platform).
os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
use_large_message_profile()


@pytest.fixture(scope='session')
def shared() -> Path:
    """Return the folder with the reference vectors and the real video, or skip."""
    path = ROOT.parent / 'shared'
    if not (path / 'conformance').is_dir():
        pytest.skip(f'the reference data is not at {path}')
    return path
