# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""The services that a running segmenter offers, for one camera or for all."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from stmask_ros.node.channel import Channel


class Services:
    """Offers reset and set_enabled."""

    def __init__(self, node: Node, prefix: str, channels: Sequence[Channel]) -> None:
        """Offer them; prefix: comes before their names. channels: what a request applies to."""
        self._channels = channels
        node.create_service(Trigger, f'~/{prefix}reset', self._on_reset)
        node.create_service(SetBool, f'~/{prefix}set_enabled', self._on_set_enabled)

    def _on_reset(
        self, _request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        done = [channel.reset() for channel in self._channels]
        response.success = all(done)
        response.message = (
            'the next image starts a new epoch, and track ids start again' if response.success
            else 'not active: there is nothing to reset'
        )
        return response

    def _on_set_enabled(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        for channel in self._channels:
            channel.enabled = request.data
        response.success = True
        response.message = 'enabled' if request.data else 'disabled: images are dropped'
        return response
