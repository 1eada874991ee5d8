# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""MS-STS VIS: a transformer over the frames of a clip. See ../shared/spec/msts_reference.md."""
