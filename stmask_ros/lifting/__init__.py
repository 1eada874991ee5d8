# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From masks and depth to metres: 3D tracks without ROS, for offline data and for the node."""
