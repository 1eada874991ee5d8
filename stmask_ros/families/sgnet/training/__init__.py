# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What SG-Net learns beside what SipMask does: where objects were in the frame before."""
