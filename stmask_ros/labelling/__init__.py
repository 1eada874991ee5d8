# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Pictures with masks that people correct: chosen, exchanged with other tools, edited."""
