# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What training STMask needs: targets, losses, and the step."""
