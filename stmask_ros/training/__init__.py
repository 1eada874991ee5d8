# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Training on pairs of frames: data, synthetic clips, and the loop."""
