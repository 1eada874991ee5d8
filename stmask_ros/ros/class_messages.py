# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What Nav2's semantic segmentation layer reads: a class and a confidence for each pixel."""

from __future__ import annotations

from collections.abc import Sequence

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from stmask_ros.views.class_images import BACKGROUND, LARGEST

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:
    LabelInfo = None

__all__ = ['LabelInfo', 'class_map_message']


def class_map_message(class_names: Sequence[str], threshold: float, stamp: Time) -> LabelInfo:
    """Return the names of the numbers in class images, as of `stamp`; threshold: of scores."""
    names = ['background', *class_names][:LARGEST + 1]
    return LabelInfo(
        header=Header(stamp=stamp), threshold=threshold,
        class_map=[
            VisionClass(class_id=number, class_name=name)
            for number, name in enumerate(names, BACKGROUND)
        ],
    )
