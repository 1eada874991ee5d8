# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Where the time of each image goes, as a file for Perfetto (ui.perfetto.dev) or chrome://tracing."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.logging import get_logging_directory

_LARGEST = 64 * 1024 * 1024
_MICROSECONDS = 1e-3
_END = b'\n]\n'


class Tracer:
    """
    Writes spans to a file while it is switched on; any thread may call it.

    Errors of the file system are logged, and switch it off: they never reach the caller.
    """

    def __init__(self, logger: RcutilsLogger, name: str) -> None:
        """Start switched off; name: of the node, for the log, the file and the viewer."""
        self._logger = logger
        self._name = name
        self._lock = threading.Lock()
        self._file: TraceFile | None = None

    @property
    def path(self) -> str:
        """The file that is written now; '' while switched off."""
        file = self._file
        return str(file.path) if file else ''

    def switch(self, on: bool) -> None:
        """Begin a new file in the log directory of ROS, or end the one that is written."""
        with self._lock:
            if on and self._file is None:
                self._begin()
            elif not on and self._file is not None:
                self._file.close()
                self._file = None

    def span(
        self, stage: str, begin_ns: int, end_ns: int, details: Mapping[str, Any]
    ) -> None:
        """
        Note that this thread was in a stage from begin_ns to end_ns [ns, steady clock].

        details: what it worked on; strings and numbers.
        """
        if self._file is None:
            return
        with self._lock:
            if self._file is not None:
                self._write(self._file, stage, begin_ns, end_ns, details)

    def _begin(self) -> None:
        started = round(time.time() * 1000)
        folder = Path(get_logging_directory())
        name = self._name.strip('/').replace('/', '.')
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = TraceFile(folder / f'trace_{name}_{os.getpid()}_{started}.json', name)
            self._logger.info(f'tracing to {self._file.path}')
        except OSError as error:
            self._logger.error(f'no trace is written: {error}')

    def _write(
        self, file: TraceFile, stage: str, begin_ns: int, end_ns: int, details: Mapping[str, Any]
    ) -> None:
        try:
            file.span(stage, begin_ns, end_ns, details)
        except OSError as error:
            self._file = None
            file.close()
            self._logger.error(f'the trace ends here: {error}')


class TraceFile:
    """
    A JSON array of trace events that is whole after every event, however the process may end.

    A file that has reached its size is kept under the name `.previous.json`, replacing the one
    before it, and a new one begins.
    """

    def __init__(self, path: Path, process_name: str, largest: int = _LARGEST) -> None:
        """
        Create the file; OSError if that fails or it is there already.

        process_name: for the viewer. largest: size that ends a file [byte].
        """
        self.path = path
        self._process_name = process_name
        self._largest = largest
        self._descriptor = -1
        self._begin()

    def span(
        self, stage: str, begin_ns: int, end_ns: int, details: Mapping[str, Any]
    ) -> None:
        """Append a span of this thread; OSError if the file system refuses."""
        if self._size > self._largest:
            self.close()
            os.replace(self.path, self.path.with_suffix('.previous.json'))
            self._begin()
        self._name_thread()
        self._append({
            'name': stage, 'ph': 'X', 'args': details,
            'ts': begin_ns * _MICROSECONDS, 'dur': (end_ns - begin_ns) * _MICROSECONDS,
        })

    def close(self) -> None:
        """End the file."""
        # Once: another file of the process may have the number by then.
        descriptor, self._descriptor = self._descriptor, -1
        with suppress(OSError):
            os.close(descriptor)

    def _begin(self) -> None:
        # Never through a link that someone else has put there, and never over another file.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o644)
        self._size = os.write(self._descriptor, b'[' + _END)
        self._separator = b'\n'
        self._named: set[int] = set()
        self._append({'name': 'process_name', 'ph': 'M', 'args': {'name': self._process_name}})

    def _name_thread(self) -> None:
        thread = threading.get_native_id()
        if thread not in self._named:
            self._named.add(thread)
            name = threading.current_thread().name
            self._append({'name': 'thread_name', 'ph': 'M', 'args': {'name': name}})

    def _append(self, event: dict[str, Any]) -> None:
        event |= {'pid': os.getpid(), 'tid': threading.get_native_id()}
        text = self._separator + json.dumps(event).encode()
        # One write takes the place of the array's end: no instant finds it half done.
        written = os.pwrite(self._descriptor, text + _END, self._size - len(_END))
        if written < len(text + _END):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._size += len(text)
        self._separator = b',\n'
