# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Training of MS-STS VIS: clips, matching, losses, the optimiser's groups, the discriminator."""
