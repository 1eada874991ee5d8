# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Programs other than PyTorch that run a frame's network: exported once, cached, loaded."""
