# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Whether a JPEG is whole, that is, has its end marker (ITU-T T.81, annex B). Needs no ROS."""

from __future__ import annotations

import re

# Neither a stuffed byte, nor a restart, nor filling, nor reserved without a length (B.1.1.3).
_MARKER = re.compile(rb'\xff[^\x00\x01\xd0-\xd7\xff]')
_START, _END = 0xD8, 0xD9

# More than any picture has, and few enough that a file made of markers costs no time.
_MOST_SEGMENTS = 2000


def is_whole(file: bytes) -> bool:
    """
    Return whether the first picture of a JPEG file has an end.

    What lies behind it is of no interest (padding, a video, another picture), and a marker inside
    a segment (that of a thumbnail) is none. Where another picture starts before the end, or the
    data runs out, the picture is cut off. If flipped bits lead astray, the last bytes decide.
    """
    place = 2
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(file, place)
        if found is None:
            break
        kind = file[found.end() - 1]
        if kind in (_START, _END):
            return kind == _END
        place = found.end() + int.from_bytes(file[found.end():found.end() + 2], 'big')
    return file.rstrip(b'\0').endswith(bytes((0xFF, _END)))
