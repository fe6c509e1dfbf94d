# SPDX-License-Identifier: Apache-2.0
"""An action in a child that is forked from memory: whatever it meets, detection never waits for it.

Must not know which actions there are. The child is a copy of the engine with everything already
imported and locked pages shared, so forking needs nothing from the disk. It makes its plan, says it, and
waits for the word to begin; when that has been given it does what it planned, and says what became of it.
Without the word it has done nothing and will do nothing, also if the engine dies: its socket ends then.
The engine never waits for the child's death either: a process that hangs in the kernel cannot be killed.
"""

import contextlib
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Final

from overlaywatch.engine.errand import Errand, decode, encode, failed, fault
from overlaywatch.engine.events import SIGNALS
from overlaywatch.kernel.process import Process, identify
from overlaywatch.model import Outcome
from overlaywatch.ports import Plan

log: Final = logging.getLogger(__name__)

PLAN_PATIENCE: Final = 10.0
"""Seconds that a plan may take; a purge looks for two. One that hangs holds up the reboot that waits behind it."""

HANG_PATIENCE: Final = 30.0
"""Seconds beyond the limit of its plan after which an action hangs for sure."""

_MOST_BYTES: Final = 64 * 1024
_TIME_TO_DIE: Final = 0.5
_GIVE_UP: Final = signal.SIGQUIT
_WORD: Final = b"!"


@dataclass(slots=True)
class Child:
    """A forked action: its process, and the socket through which it is heard and given the word.

    `deadline` (monotonic) is when it hangs for sure.
    """

    pid: int
    fd: int
    errand: Errand
    started: float
    deadline: float
    is_begun: bool = False
    _received: bytes = b""
    _outcome: Outcome | None = None
    _status: int | None = None

    @property
    def process(self) -> Process:
        """What tells it from every other process of this boot."""
        return identify(self.pid) or Process(self.pid, 0)

    def news(self, now: float) -> Plan | Outcome | None:
        """Its plan, when it waits for the word; its outcome, when it has ended or hangs; else None. Never waits.

        Its end is what counts, not that of the socket: a process that it left behind may hold that open.
        """
        self._look_for_its_end()
        for said in self._heard():
            if isinstance(said, Outcome):
                self._outcome = said
            elif self._status is None and not self.is_begun:
                return said
        if self._status is not None:
            os.close(self.fd)
            return self._outcome or failed(self.errand, _died(self._status), now, now - self.started)
        if now >= self.deadline:
            self.abandon()
            return failed(self.errand, _HANGS, now, now - self.started)
        return None

    def begin(self, limit_seconds: float | None, now: float) -> None:
        """Give the word."""
        self.is_begun = True
        self.deadline = inf if limit_seconds is None else now + limit_seconds + HANG_PATIENCE
        with contextlib.suppress(OSError):  # it has died meanwhile: news() will tell
            os.write(self.fd, _WORD)

    def abandon(self) -> None:
        """It is not listened to any more. One that was not given the word has done nothing, and can be killed."""
        if not self.is_gone():
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.fd)

    def is_gone(self) -> bool:
        """Whether there is nothing left of it."""
        self._look_for_its_end()
        return self._status is not None

    def wait(self, deadline: float) -> None:
        """Until it is gone, or `deadline` (monotonic): for the end of the engine itself."""
        while not self.is_gone() and time.monotonic() < deadline:
            time.sleep(0.001)

    def end(self, deadline: float) -> Outcome | None:
        """Its outcome, waited for until `deadline` (monotonic); None: it was cut off. For the end of the engine."""
        while (left := deadline - time.monotonic()) > 0:
            select.select([self.fd], [], [], min(left, 0.1))
            news = self.news(time.monotonic())
            if isinstance(news, Outcome):
                return news
        os.kill(self.pid, _GIVE_UP)
        self.wait(time.monotonic() + _TIME_TO_DIE)
        self.abandon()
        self.wait(time.monotonic() + _TIME_TO_DIE)
        return None

    def _look_for_its_end(self) -> None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if pid else None

    def _heard(self) -> Iterator[Plan | Outcome]:
        # Reset: it has died with the word unread.
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            self._received += os.read(self.fd, _MOST_BYTES)
        *lines, self._received = self._received.split(b"\n")
        yield from filter(None, (decode(line, self.errand) for line in lines))


_HANGS: Final = (
    "it hangs in the kernel, on a device or a file system that does not answer; it is left behind,"
    " and what waited goes on; look for the device in the kernel's log (dmesg)"
)


def start(errand: Errand, leave: Callable[[], None]) -> Child:
    """Fork a child that makes the plan. Raises OSError if the machine has no room for a process.

    `leave()` is called in the child first: it gives back what only the engine may hold.
    """
    ours, its = socket.socketpair()
    # A signal between fork and _become_a_worker() would be told to the engine, through the pipe that both have.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            ours.close()
            _run(errand, leave, its.fileno())
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        its.close()
    ours.setblocking(False)
    now = errand.surroundings.monotonic()
    return Child(pid, ours.detach(), errand, now, now + PLAN_PATIENCE)


def _run(errand: Errand, leave: Callable[[], None], fd: int) -> None:
    """The child's whole life. It never returns into the engine's code."""
    try:
        _become_a_worker()
        leave()
        for said in _life(errand, fd):
            _say(fd, encode(said))
    finally:
        os._exit(0)


def _life(errand: Errand, fd: int) -> Iterator[Plan | Outcome]:
    try:
        plan = errand.plan()
        yield plan
        if os.read(fd, 1) == _WORD:
            yield errand.apply(plan)
    except Exception as error:
        log.exception("%s: a fault of overlaywatch itself", errand.action.name)
        yield fault(errand, error)


def _say(fd: int, line: bytes) -> None:
    while line:
        line = line[os.write(fd, line) :]


def _become_a_worker() -> None:
    """Signals that go to all processes of a terminal are for the engine: it waits for us, or ends us.

    A handler that does nothing, rather than SIG_IGN, which a program would inherit over exec.
    """
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, _for_the_engine)
    signal.signal(_GIVE_UP, _give_up)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _for_the_engine(number: int, frame: object) -> None:
    """Nothing."""


def _give_up(_number: int, _frame: object) -> None:
    """Unwind, so that a program that was started ends with all its own."""
    raise SystemExit


def this_process() -> Process:
    """The engine, where it has to do without a child."""
    return identify(os.getpid()) or Process(os.getpid(), 0)


def reap(pid: int, patience: float) -> int | None:
    """The wait status of a child that is about to die; None if it did not within so many seconds."""
    deadline = time.monotonic() + patience
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.001)


def _died(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    how = f"was killed by signal {-code}" if code < 0 else "ended without a word"
    return f"the process of the action {how}; look for why in the kernel's log (dmesg) and in the lines before this one"
