# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What SipMask learns from: targets, losses, and how its parameters are updated."""
