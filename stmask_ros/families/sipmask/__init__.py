# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""SipMask-VIS (ECCV 2020): one stage on FCOS, a mask in four sub-regions, an embedding a cell."""
