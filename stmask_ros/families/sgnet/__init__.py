# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""SG-Net (CVPR 2021): SipMask whose masks have more sub-regions, the larger an object is."""
