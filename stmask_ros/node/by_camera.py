# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Parameters with a value for each camera: texts that may begin with a camera's name and ': '."""

from __future__ import annotations

from collections.abc import Sequence


def of_camera(
    parameter: str, texts: Sequence[str], cameras: Sequence[str], camera: str
) -> str | None:
    """
    Return a parameter's value for a camera; None if there is none.

    Texts without a camera's name are for those that are not named. Raises ValueError for two
    values of one camera.
    """
    values: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition(':')
        owner, value = (name.strip(), value) if name.strip() in cameras else ('', text)
        if owner in values:
            raise ValueError(
                f"{parameter}: '{values[owner]}' and '{value.strip()}' are both for "
                f'{owner or "all cameras"}'
            )
        values[owner] = value.strip()
    return values.get(camera, values.get(''))
