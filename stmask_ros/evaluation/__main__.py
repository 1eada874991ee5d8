# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Score a results.json from the command line."""

from __future__ import annotations

import sys

from stmask_ros.commands.eval_json import main

sys.exit(main())
