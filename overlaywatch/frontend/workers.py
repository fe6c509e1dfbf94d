# SPDX-License-Identifier: Apache-2.0
"""A few threads for what may hang: name lookups and servers.

This file must not know what is delivered. Work goes in from one thread, results come back to the same
one, which is woken through a socket that its selector can watch.
"""

import contextlib
import queue
import socket
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

_Outcome = TypeVar("_Outcome")

STACK_BYTES: Final = 256 * 1024
"""A thread of this work needs less than a third of it; the default of 8 MiB is for others."""


class Workers(Generic[_Outcome]):
    """At most `most` daemon threads, started when there is work; all methods are for one thread only."""

    def __init__(self, most: int = 4) -> None:
        self._most = most
        self._threads: list[threading.Thread] = []
        self._work: queue.SimpleQueue[Callable[[], _Outcome] | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._unfinished = 0

    def fileno(self) -> int:
        """Readable when outcomes() has something."""
        return self._woken.fileno()

    def submit(self, work: Callable[[], _Outcome]) -> None:
        """Do it in a thread, as soon as one is free. Raises RuntimeError if there is none and can be none."""
        if self._unfinished >= len(self._threads) < self._most:
            self._start()
        self._unfinished += 1
        self._work.put(work)

    def _start(self) -> None:
        # The size holds for threads that are started after it is set: put it back for all others.
        before = threading.stack_size(STACK_BYTES)
        try:
            thread = threading.Thread(target=self._run, name="delivery", daemon=True)
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
        else:
            self._threads.append(thread)
        finally:
            threading.stack_size(before)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            self._outcomes.put(work())
            # A full socket buffer means that the reader is to be woken already; a closed one, that it is gone.
            with contextlib.suppress(OSError):
                self._waker.send(b"\0")

    def outcomes(self) -> list[_Outcome]:
        """What has come back since the last time."""
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._outcomes.get_nowait())
        self._unfinished -= len(found)
        return found

    def close(self, patience: float = 0.0) -> None:
        """No more work; wait a while for what is under way. Threads that hang are left to the end of the process."""
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join(patience)
        self._woken.close()
        self._waker.close()
