# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""A service whose answers may take their time, and hold up nobody meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeAlias

from rclpy.node import Node

from stmask_ros.ros.waiting_thread import Unspun, WaitingThread

Answer: TypeAlias = Callable[[Any], None]


class DeferredService:
    """
    Takes requests from its construction until close().

    rclpy answers a request in its callback, and while a coroutine waits its executor spins. Here a
    thread waits for this service alone, and any thread may give the answer.
    """

    def __init__(
        self, node: Node, kind: Any, name: str, on_request: Callable[[Any, Answer], None]
    ) -> None:
        """
        Offer the service; raises RuntimeError if there can be no further thread.

        on_request: called in the thread of this service with a request, and with what answers it
        with a response, once; it must not block. After close() an answer goes nowhere.
        """
        self._node = node
        self._kind = kind
        self._on_request = on_request
        self._service = node.create_service(kind, name, _never_called, callback_group=Unspun())
        self._sending = Lock()
        self._thread = WaitingThread(
            node, self._service, self._take, f'service {self._service.srv_name}',
            f'a request of {self._service.srv_name}')
        try:
            self._thread.start()
        except RuntimeError:
            node.destroy_service(self._service)
            raise

    def close(self) -> None:
        """Take no requests any more; a second time it does nothing."""
        if self._thread.is_stopping:
            return
        self._thread.stop()
        with self._sending:
            self._node.destroy_service(self._service)

    def _take(self) -> None:
        request, header = self._service.handle.service_take_request(self._kind.Request)
        if header is not None and not self._thread.is_stopping:
            self._on_request(request, lambda response: self._send(response, header))

    def _send(self, response: Any, header: Any) -> None:
        with self._sending:
            if self._thread.is_stopping or not self._node.context.ok():
                return
            try:
                self._service.send_response(response, header)
            except Exception as error:  # who asked may have gone
                self._node.get_logger().warning(
                    f'an answer of {self._service.srv_name} was lost: {error}')


def _never_called(_request: Any, response: Any) -> Any:
    return response
