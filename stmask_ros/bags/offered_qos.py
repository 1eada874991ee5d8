# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Quality of service written into bags, with which a player publishes their topics."""

from __future__ import annotations

from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)

_FOREVER = QosTime(9223372036, 854775807)


def reliable_qos(depth: int = 10) -> Qos:
    """Return that of a topic which loses nothing, with a queue of so many messages."""
    return _reliable(depth, QosDurability.VOLATILE)


def latched_qos() -> Qos:
    """Return that of a topic which late subscribers get the last message of."""
    return _reliable(1, QosDurability.TRANSIENT_LOCAL)


def _reliable(depth: int, durability: QosDurability) -> Qos:
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=depth,
        reliability=QosReliability.RELIABLE,
        durability=durability,
        deadline=_FOREVER,
        lifespan=_FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER,
        avoid_ros_namespace_conventions=False,
    )
