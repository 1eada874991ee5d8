# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""STMask (CVPR 2021), from its configuration to its association."""
