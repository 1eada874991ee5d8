# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Whatever comes, a pair is lifted or refused with a reason."""

from __future__ import annotations

from benchmark.lifting_fuzz import fuzz


def test_every_wrong_pair_is_lifted_or_refused_with_its_reason(long, record_property):
    cases = 5000 if long else 600
    outcomes = fuzz(cases)
    record_property('outcomes', dict(outcomes))
    assert outcomes.total() == cases
    assert outcomes['lifted'] > cases / 20
    assert len(outcomes) > 8
