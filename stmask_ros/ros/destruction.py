"""The end of a lifecycle node that any thread may destroy, in any state, at any time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Protocol, TypeVar

import rclpy.node
from lifecycle_msgs.msg import State
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn


class Destroyable(Protocol):
    """
    A lifecycle node that can be destroyed from another thread.

    destroyed: for ever.
    """

    destroyed: bool

    @property
    def in_use(self) -> AbstractContextManager[Any]:
        """A lock, held while a transition, a report or the destruction is under way."""


Node = TypeVar('Node', bound=Destroyable)
Transition = Callable[[Node, LifecycleState], TransitionCallbackReturn]


def unless_destroyed(transition: Transition[Node]) -> Transition[Node]:
    """Keep a transition and the destruction of the node apart, each in its thread."""
    @wraps(transition)
    def guarded(node: Node, state: LifecycleState) -> TransitionCallbackReturn:
        with node.in_use:
            if node.destroyed:
                return TransitionCallbackReturn.FAILURE
            return transition(node, state)

    return guarded


def leave_executor(node: rclpy.node.Node) -> None:
    """Take a node out of its executor, which might look at it while it is being destroyed."""
    if node.executor is not None:
        node.executor.remove_node(node)


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
