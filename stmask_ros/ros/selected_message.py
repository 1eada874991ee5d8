# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""From chosen objects to messages."""

from __future__ import annotations

from collections.abc import Sequence

from std_msgs.msg import Header

from stmask_ros.msg import SelectedInstance, SelectedInstanceArray
from stmask_ros.ros.messages import InstanceFormat, instance_messages
from stmask_ros.tracking.results import FrameResult
from stmask_ros.tracking.selection import SelectedObject


def selected_message(
    objects: Sequence[SelectedObject], result: FrameResult, header: Header,
    written: InstanceFormat,
) -> SelectedInstanceArray:
    """Return the chosen objects after a result, under its image's own header."""
    return SelectedInstanceArray(
        header=header, image_width=result.image_width, image_height=result.image_height,
        epoch=result.epoch, sequence=result.sequence, model=written.model,
        objects=[selected_instance(item, written) for item in objects],
    )


def selected_instance(item: SelectedObject, written: InstanceFormat) -> SelectedInstance:
    """Return one chosen object."""
    (instance,) = instance_messages(item.last, written)
    return SelectedInstance(
        selected_id=item.selected_id, status=int(item.status), reacquired=item.reacquired,
        likeness=item.likeness, instance=instance,
    )
