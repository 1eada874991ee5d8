# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Teaching a model new classes from labelled pictures, on features that stay."""
