# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""
The segmenter, with a note of everything it does to the machine; for test_node_security.py.

    audited_segmenter.py NOTES --ros-args ...

NOTES gets a line for every file opened for writing, every other change of the file system, every
program started and every Python socket that is connected or bound, once PyTorch is imported: its
import looks for libraries with ldconfig and makes a cache folder.
"""

from __future__ import annotations

import os
import sys

import stmask_ros.node.segmenter  # (before the notes begin)
import stmask_ros.ros.process  # noqa: F401
from stmask_ros.node.segmenter_node import main

EVENTS = (
    'os.chmod', 'os.chown', 'os.exec', 'os.fork', 'os.forkpty', 'os.link', 'os.mkdir',
    'os.posix_spawn', 'os.putenv', 'os.remove', 'os.rename', 'os.rmdir', 'os.spawn',
    'os.startfile', 'os.symlink', 'os.system', 'os.truncate', 'pickle.find_class', 'pty.spawn',
    'shutil.move', 'socket.bind', 'socket.connect', 'socket.getaddrinfo', 'socket.gethostbyname',
    'socket.sendto', 'subprocess.Popen', 'urllib.Request', 'webbrowser.open',
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _note_into(notes: int) -> None:
    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == 'open':
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITING:
                os.write(notes, f'open for writing {path!r}\n'.encode())
        elif event in EVENTS:
            os.write(notes, f'{event} {arguments!r}\n'.encode())

    sys.addaudithook(note)


if __name__ == '__main__':
    _note_into(os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    main()
