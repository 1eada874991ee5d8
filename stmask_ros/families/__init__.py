# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The networks, one folder each."""
