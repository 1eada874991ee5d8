# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The one interface: frames and stream states in, tracked instances and new states out."""
