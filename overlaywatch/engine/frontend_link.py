# SPDX-License-Identifier: Apache-2.0
"""The engine's end of the two pipes to the frontend, and the frontend's life.

Must not know what the frontend does. Writing never waits: a tick that the pipe has no room for is
replaced by the next one, notifications wait in a bounded queue. When the frontend dies a new one is
forked from memory: at once if it lived well, else after a pause that grows. Its death is not waited
for either: a process that hangs in the kernel cannot even be killed.
"""

import contextlib
import logging
import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from overlaywatch import pipe
from overlaywatch.engine.children import reap
from overlaywatch.engine.events import Wish

log: Final = logging.getLogger(__name__)

LONGEST_PAUSE: Final = 10.0
MOST_FRAMES: Final = 1024
LIVED_WELL: Final = 60.0
"""A frontend that lived so long did not die of what it was born with: the pauses begin anew."""
STUCK: Final = 30.0
"""Seconds in which a frontend takes nothing from a pipe that is full: it hangs, and is ended."""
MOST_REPORT_BYTES: Final = 4 * 1024 * 1024
_TIME_TO_DIE: Final = 0.02


class Handle(Protocol):
    """A forked frontend: its process and the engine's ends of the pipes."""

    @property
    def pid(self) -> int:
        """The process."""
        ...

    @property
    def read_fd(self) -> int:
        """Reports come from here."""
        ...

    @property
    def write_fd(self) -> int:
        """Ticks and notifications go in here."""
        ...


class FrontendLink:
    """Keeps one frontend alive and fed. `spawn` forks one; `reborn` is called when a new one must be told all."""

    def __init__(self, spawn: Callable[[], Handle], reborn: Callable[[], None]) -> None:
        self._spawn = spawn
        self._reborn = reborn
        self._handle: Handle | None = None
        self._decoder = pipe.Decoder()
        self._half = b""
        self._tick = b""
        self._latest = b""
        self._frames: deque[bytes] = deque(maxlen=MOST_FRAMES)
        self._pause = 0.0
        self._born = 0.0
        self._not_before = 0.0
        self._blocked_since: float | None = None
        self._is_leaving = False
        self._undead: list[int] = []

    @property
    def pid(self) -> int | None:
        """The living frontend."""
        return self._handle.pid if self._handle else None

    def wishes(self) -> list[Wish]:
        """What the engine should wait for on behalf of the frontend."""
        if self._handle is None:
            return []
        owner = f"frontend {self._handle.pid}"
        wishes = [Wish(self._handle.read_fd, owner)]
        if self._half or self._frames or self._tick:
            wishes.append(Wish(self._handle.write_fd, owner, select.EPOLLOUT))
        return wishes

    def descriptors(self) -> frozenset[int]:
        """The pipes: what comes through them calls for no tick."""
        return frozenset((self._handle.read_fd, self._handle.write_fd)) if self._handle else frozenset()

    def retry_in(self, now: float) -> float | None:
        """Seconds until a new frontend may be forked; None while there is one."""
        return None if self._handle else max(0.0, self._not_before - now)

    def ensure(self, now: float) -> None:
        """Fork a frontend if there is none and its time has come."""
        self._undead = [pid for pid in self._undead if reap(pid, 0.0) is None]
        if self._handle is not None or now < self._not_before:
            return
        self._not_before = now + self._pause
        try:
            self._handle = self._spawn()
        except OSError as error:
            self._pause = min(LONGEST_PAUSE, 2 * self._pause or 1.0)
            self._not_before = now + self._pause
            log.error("the frontend cannot be started: %s; trying again in %.0f s", error, self._pause)
            return
        self._decoder, self._half, self._born = pipe.Decoder(MOST_REPORT_BYTES), b"", now
        self._blocked_since = None
        self._frames.clear()
        # The next tick may be seconds away: until then the new one answers with the last.
        self._tick = self._latest
        os.set_blocking(self._handle.read_fd, False)
        os.set_blocking(self._handle.write_fd, False)
        self._reborn()

    def publish(self, tick: bytes) -> None:
        """The newest tick, encoded; one that was not sent yet is forgotten."""
        self._tick = self._latest = tick

    def post(self, frame: Mapping[str, object]) -> None:
        """A notification; the oldest is dropped when a thousand wait (the outbox still knows it)."""
        self._frames.append(pipe.encode(frame))

    def flush(self, now: float) -> None:
        """Write as much as the pipe takes, without waiting."""
        while self._handle is not None:
            if not self._half:
                self._half = self._frames.popleft() if self._frames else self._tick
                if not self._half:
                    return
                self._tick = b"" if self._half is self._tick else self._tick
            if not self._write(self._handle.write_fd, now):
                return

    def _write(self, fd: int, now: float) -> bool:
        try:
            written = os.write(fd, self._half)
        except BlockingIOError:
            self._note_blocked(now)
            return False
        except OSError:
            self._lost(now)
            return False
        self._half = self._half[written:]
        self._blocked_since = None
        return True

    def _note_blocked(self, now: float) -> None:
        if self._blocked_since is None:
            self._blocked_since = now
        elif now - self._blocked_since > STUCK:
            log.error("the frontend has taken nothing for %.0f s: it is ended and forked anew", STUCK)
            self._lost(now)

    def receive(self, now: float) -> list[pipe.Report]:
        """What the frontend reports. One that says what was not agreed on is ended."""
        if self._handle is None:
            return []
        try:
            data = os.read(self._handle.read_fd, 65536)
            payloads = self._decoder.feed(data) if data else []
            reports = [pipe.parse_report(payload) for payload in payloads]
        except BlockingIOError:
            return []
        except (pipe.FrameError, OSError) as error:
            log.error("the frontend says what was not agreed on (%s): it is ended and forked anew", error)
            data, reports = b"", []
        if not data:
            self._lost(now)
        return reports

    def _lost(self, now: float) -> None:
        handle, self._handle = self._handle, None
        if handle is None:
            return
        os.close(handle.read_fd)
        os.close(handle.write_fd)
        with contextlib.suppress(ProcessLookupError):
            os.kill(handle.pid, signal.SIGKILL)
        status = reap(handle.pid, _TIME_TO_DIE)
        if status is None:
            self._undead.append(handle.pid)
        if self._is_leaving:
            return
        self._pause = 0.0 if now - self._born > LIVED_WELL else min(LONGEST_PAUSE, 2 * self._pause or 0.5)
        self._not_before = now + self._pause
        log.error("the frontend %s: a new one is forked in %.1f s", _how_it_ended(status), self._pause)

    def leave(self) -> None:
        """In a forked child: give the pipes back without a word."""
        for fd in self.descriptors():
            os.close(fd)

    def goodbye(self, patience: float) -> list[pipe.Report]:
        """Ask it to deliver what is pending and to end; after so many seconds it is ended. Its last reports."""
        reports: list[pipe.Report] = []
        self._is_leaving, self._tick = True, b""
        self.post(pipe.GOODBYE)
        deadline = time.monotonic() + patience
        while self._handle is not None and (left := deadline - time.monotonic()) > 0:
            waiting = select.poll()
            waiting.register(self._handle.read_fd, select.POLLIN)
            if self._half or self._frames:
                waiting.register(self._handle.write_fd, select.POLLOUT)
            waiting.poll(left * 1000)
            self.flush(time.monotonic())
            reports += self.receive(time.monotonic())
        self._lost(time.monotonic())
        return reports


def _how_it_ended(status: int | None) -> str:
    if status is None:
        return "ended (how is not known yet)"
    code = os.waitstatus_to_exitcode(status)
    return f"ended (killed by signal {-code})" if code < 0 else f"ended (status {code})"
