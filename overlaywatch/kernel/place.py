# SPDX-License-Identifier: Apache-2.0
"""Where a path leads to, asked in a way that a dead file system cannot hold up.

This file must not know what is mounted. A look-up on a server that is gone, or on a thin pool that is full, may wait
for minutes where no signal reaches it: it is made by a child, which is left behind if it does not answer in time.
"""

import errno
import os
import select
import signal
from typing import Final

PATIENCE_SECONDS: Final = 1.0

_DYING_SECONDS: Final = 0.2
_LONGEST: Final = 65536
_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


def resolve(path: str, patience_seconds: float = PATIENCE_SECONDS) -> str:
    """The path without symbolic links; as it was given if that cannot be told (no privilege, EIO, no answer).

    Raises FileNotFoundError if nothing of that name is there.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(path, writing)
    os.close(writing)
    try:
        answered = bool(select.select([reading], [], [], patience_seconds)[0])
        answer = os.read(reading, _LONGEST) if answered else b""
    finally:
        os.close(reading)
        _leave(child)
    if answer == b"-":
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return os.fsdecode(answer) or path


def _answer(path: str, writing: int) -> None:
    """In the child: the resolved path, `-` if there is none, nothing if it cannot be known. Does not return."""
    try:
        os.write(writing, os.fsencode(os.path.realpath(path, strict=True)))
    except OSError as error:
        os.write(writing, b"-" if error.errno in _NOT_THERE else b"")
    finally:
        os._exit(0)


def _leave(child: int) -> None:
    """End and reap the child; one that not even SIGKILL reaches is reaped by process 1 later."""
    ended = os.pidfd_open(child)
    try:
        os.kill(child, signal.SIGKILL)
        select.select([ended], [], [], _DYING_SECONDS)
    finally:
        os.close(ended)
    os.waitpid(child, os.WNOHANG)
