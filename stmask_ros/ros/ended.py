"""What a lifecycle node is after it was destroyed, for those who still ask it."""

from __future__ import annotations

from typing import Any

from lifecycle_msgs.msg import State
from rclpy.impl.implementation_singleton import rclpy_implementation


class EndedStateMachine:
    """
    Takes the place of rclpy's state machine, which keeps the DDS participant alive.

    A service that a destroyed node is still answering finds it finalized.
    """

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
