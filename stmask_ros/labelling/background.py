# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""What is done while a person goes on labelling: masks are carried on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from stmask_ros.labelling.carries import Carry
from stmask_ros.labelling.editor import Editor

_LOGGER = logging.getLogger(__name__)


@contextmanager
def carrying_on(editor: Editor) -> Iterator[None]:
    """Carry masks on in a thread, one after the other, as long as this is entered."""
    thread = threading.Thread(target=_carry_on, args=(editor,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        editor.close()
        thread.join()


def _carry_on(editor: Editor) -> None:
    while (carry := editor.next_carry()) is not None:
        _try_to_carry(editor, carry)


def _try_to_carry(editor: Editor, carry: Carry) -> None:
    try:
        editor.carry_on(carry)
    except Exception as error:  # whatever a model or a disk leads to, the page tells
        _LOGGER.exception('a mask was not carried on')
        editor.give_up(carry, str(error))
