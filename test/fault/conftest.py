"""What the fault tests use of the other tests: the node's process, and small models."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent

sys.path.extend(str(TESTS / folder) for folder in ('ros', 'unit'))
