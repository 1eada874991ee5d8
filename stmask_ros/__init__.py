# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Persistent instance masks for robots: STMask as a ROS 2 node."""

import os
from pkgutil import extend_path

# The generated messages (stmask_ros.msg) are installed elsewhere than these sources when tests
# run from a checkout; both folders make up this package.
__path__ = extend_path(__path__, __name__)

# PyTorch's idle threads are to sleep, not to spin. Where other processes use the processor too,
# as on every robot, spinning threads make a step many times slower.
# OpenMP reads this when PyTorch is loaded, so it must be set before.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from stmask_ros import moved_modules

moved_modules.install()
