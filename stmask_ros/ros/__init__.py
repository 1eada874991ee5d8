# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What the nodes share: topics, messages, transport, launch files."""
