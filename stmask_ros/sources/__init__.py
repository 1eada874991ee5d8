# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Where pictures come from: devices, videos, folders, bags, the built-in clip. No ROS."""
