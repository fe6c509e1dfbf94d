# SPDX-License-Identifier: Apache-2.0
"""The way to stderr that never waits: a log that nobody reads must not stop the engine.

Must not know what is said. A reader may stop reading (`| less`, a terminal after Ctrl-S, a journal that
hangs): what does not go at once is lost, and counted. The descriptor is shared with whoever started us, so
its flags are left alone: a terminal that is suddenly non-blocking breaks the shell.
"""

import contextlib
import logging
import os
import select
import socket
import stat
from collections.abc import Callable
from typing import Final

TOLD_AGAIN_SECONDS: Final = 3600.0
_MOST_TOLD: Final = 64

Write = Callable[[bytes], int]
"""Writes what goes at once and says how much that was. Raises OSError."""


class StderrHandler(logging.Handler):
    """One write for each record, to a descriptor that may be anything."""

    def __init__(self, fd: int = 2) -> None:
        super().__init__()
        self._write, self._close = _way_to(fd)
        self._lost = 0
        self._is_cut = False
        self.addFilter(_Tracebacks())

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, or lose it."""
        text = self.format(record)
        if self._lost:
            text = f"{self._told_lost(record)}\n{text}"
        data = b"\n" * self._is_cut + text.encode("utf-8", "backslashreplace") + b"\n"
        try:
            written = self._write(data)
        except OSError:
            written = 0
        if written:
            self._lost, self._is_cut = 0, written < len(data)
        if written < len(data):
            self._lost += 1

    def _told_lost(self, record: logging.LogRecord) -> str:
        text = f"{self._lost} messages were lost: nobody read them"
        return self.format(logging.LogRecord(record.name, logging.WARNING, "", 0, text, None, None))

    def close(self) -> None:
        """Give back what was opened here."""
        self._close()
        super().close()


def _way_to(fd: int) -> tuple[Write, Callable[[], None]]:
    """How to write there, and how to end that."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        shared = socket.socket(fileno=os.dup(fd))
        return lambda data: shared.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL), shared.close
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        # Opened once more, a pipe or terminal has flags that are ours alone. Another user's cannot be (after su).
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            own = os.open(f"/proc/self/fd/{fd}", flags)
            return lambda data: os.write(own, data), lambda: os.close(own)
    return lambda data: _write_if_ready(fd, data), lambda: None


def _write_if_ready(fd: int, data: bytes) -> int:
    """A pipe that polls writable takes PIPE_BUF bytes without waiting (pipe(7)); a file always does."""
    ready = select.poll()
    ready.register(fd, select.POLLOUT)
    if not ready.poll(0):
        return 0
    regular = stat.S_ISREG(os.fstat(fd).st_mode)
    return os.write(fd, data if regular else data[: select.PIPE_BUF])


class _Tracebacks(logging.Filter):
    """The same traceback once an hour: a fault that is met at every tick must not fill the disk that we guard."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is new, or was told long ago."""
        if not record.exc_info:
            return True
        text = logging.Formatter().formatException(record.exc_info)
        if record.created - self._told.get(text, float("-inf")) < TOLD_AGAIN_SECONDS:
            return False
        while len(self._told) >= _MOST_TOLD:
            del self._told[next(iter(self._told))]
        self._told[text] = record.created
        return True


def hold_standard_descriptors() -> None:
    """Whoever started us may have closed 0, 1 or 2: no file of ours may get such a number, and then our messages."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
