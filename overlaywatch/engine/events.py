# SPDX-License-Identifier: Apache-2.0
"""What wakes the engine before its time: one epoll for all descriptors, and signals among them.

Must not know what an event means; it only tells which descriptor has something to say.
"""

import contextlib
import os
import select
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


@dataclass(frozen=True, slots=True)
class Wish:
    """A descriptor to wait for. `owner` tells it from an older one that had the same number."""

    fd: int
    owner: str
    mask: int = select.EPOLLIN


@dataclass(slots=True)
class Events:
    """Waits for descriptors and signals. To be closed before a fork hands its descriptors on."""

    _epoll: select.epoll = field(default_factory=lambda: select.epoll(flags=select.EPOLL_CLOEXEC))
    _wishes: frozenset[Wish] = frozenset()
    _signals: tuple[int, int] | None = None

    def take_signals(self) -> None:
        """From now on SIGTERM, SIGINT, SIGHUP and SIGUSR1 are events; children can be waited for whoever started us."""
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._signals = (read_fd, write_fd)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, _noted)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._epoll.register(read_fd, select.EPOLLIN)

    def only(self, wishes: Iterable[Wish]) -> None:
        """Wait for exactly these, and for signals: what is no longer wanted is forgotten."""
        wanted = frozenset(wishes)
        for gone in self._wishes - wanted:
            with contextlib.suppress(OSError):  # closed meanwhile: the kernel has forgotten it itself
                self._epoll.unregister(gone.fd)
        for new in wanted - self._wishes:
            self._epoll.register(new.fd, new.mask)
        self._wishes = wanted

    def wait(self, seconds: float) -> tuple[frozenset[int], frozenset[int]]:
        """The descriptors that have something, and the signals that came. Sleeps `seconds` at most."""
        ready = frozenset(fd for fd, _ in self._epoll.poll(max(0.0, seconds)))
        return ready, self._received(ready)

    def _received(self, ready: frozenset[int]) -> frozenset[int]:
        if self._signals is None or self._signals[0] not in ready:
            return frozenset()
        return frozenset(os.read(self._signals[0], 4096))

    def close(self) -> None:
        """Give the descriptors back."""
        signal.set_wakeup_fd(-1)
        self._epoll.close()
        for fd in self._signals or ():
            os.close(fd)


def _noted(number: int, frame: object) -> None:
    """Nothing: the wake-up descriptor has told it. Without a handler the signal would end the process."""
