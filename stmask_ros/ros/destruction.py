# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The end of a lifecycle node, whole: rclpy leaves some of it on the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from lifecycle_msgs.msg import State
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode


def take_off_the_network(node: LifecycleNode, leave: Callable[[], None]) -> None:
    """Destroy a node that an executor may be spinning; leave: destroys it as rclpy does."""
    # The executor might look at the node while it is being destroyed.
    if node.executor is not None:
        node.executor.remove_node(node)
    leave()
    # rclpy leaves the state machine to the garbage collector, and it alone keeps the DDS
    # participant, with its shared memory, alive.
    node._state_machine = cast(Any, _EndedStateMachine())


class _EndedStateMachine:
    """Takes the place of rclpy's. Services that are still answering find the node finalized."""

    initialized = True
    current_state = (State.PRIMARY_STATE_FINALIZED, 'finalized')
    available_states: tuple[Any, ...] = ()
    available_transitions: tuple[Any, ...] = ()
    transition_graph: tuple[Any, ...] = ()

    def trigger_transition_by_id(self, _transition: int, _publish: bool) -> None:
        """Refuse to begin a transition."""
        raise rclpy_implementation.RCLError('the node was destroyed')

    def trigger_transition_by_label(self, _label: str, _publish: bool) -> None:
        """Let a transition end that began before the node did."""

    def get_transition_by_label(self, _label: str) -> int:
        """Know no transition."""
        raise rclpy_implementation.RCLError('the node was destroyed')
