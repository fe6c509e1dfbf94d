# SPDX-License-Identifier: Apache-2.0
"""Work that may never end, done in a forked child that is left behind when its time is up.

This file must not know what the work is. A system call on a broken or suspended device waits in the
kernel and cannot be killed; looking for a program on a dead root is such a call. Forking needs
nothing from the disk.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Final

from overlaywatch.units import format_duration

_MOST_TEXT: Final = 4000
_DONE, _SAID = 0, 1


def bounded(work: Callable[[], str | None], limit: float) -> str | None:
    """What `work()` returns, or, after `limit` seconds or if its process dies, a text that says so."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
        if pid == 0:
            os._exit(_child(work, writer))
        os.close(writer)
        writer = -1
        text = _read_all(reader, time.monotonic() + limit)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    if text is None:
        os.kill(pid, signal.SIGKILL)
        _reap_if_it_dies(pid)
        return f"no answer within {format_duration(limit)}"
    return _answer(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text)


def _child(work: Callable[[], str | None], writer: int) -> int:
    try:
        text = work()
    except BaseException as error:  # a child never returns into its parent's code
        text = str(error) or type(error).__name__
    if text is not None:
        os.write(writer, text.encode("utf-8", "backslashreplace")[:_MOST_TEXT])
    return _DONE if text is None else _SAID


def _read_all(reader: int, deadline: float) -> str | None:
    """What is written until the child closes the pipe; None if the time is up before."""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    text = b""
    while (left := deadline - time.monotonic()) > 0:
        if poll.poll(left * 1000):
            chunk = os.read(reader, _MOST_TEXT)
            if not chunk:
                return text.decode("utf-8", "replace")
            text += chunk
    return None


def _reap_if_it_dies(pid: int) -> None:
    """A killed process is gone in no time, or hangs in the kernel for ever."""
    with contextlib.suppress(ChildProcessError):
        for _ in range(10):
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return
            time.sleep(0.01)


def _answer(code: int, text: str) -> str | None:
    if code == _DONE:
        return None
    return text if code == _SAID else f"its process was killed by signal {-code}"
