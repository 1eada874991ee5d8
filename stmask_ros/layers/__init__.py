# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Layers and box arithmetic that the families share. Torch only."""
