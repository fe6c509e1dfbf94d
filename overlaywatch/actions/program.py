# SPDX-License-Identifier: Apache-2.0
"""A program as a child: in a clean environment, with bounded time and output, ended with all its own children.

This file must not know which program, or why. It starts from a known state: nothing of the daemon's
environment, signal mask or OOM score is passed on, memory locks end at exec (mlock(2)), a crash
leaves no core file on a file system that is nearly full. All that it starts is in one session, so a
signal to the group reaches every process that has not left it on purpose; and it dies with the
process that watches over its time. Its input is a file in memory and its output one pipe, of which
the last part is kept: neither can ever block the other.
"""

import contextlib
import ctypes
import errno
import os
import resource
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from overlaywatch.kernel.root import KernelRoot
from overlaywatch.units import KIB, format_duration

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MOST_OUTPUT: Final = 64 * KIB

_TIME_TO_OBEY: Final = 5.0
_TIME_TO_DIE: Final = 2.0
_POLL: Final = 0.02
_LONGEST_LINE: Final = 300
_MFD_NOEXEC_SEAL: Final = 0x0008  # linux/memfd.h
_PR_SET_PDEATHSIG: Final = 1  # include/uapi/linux/prctl.h
_libc: Final = ctypes.CDLL(None)
_OOM_SCORE: Final = KernelRoot().proc / "self" / "oom_score_adj"


def find(name: str) -> str | None:
    """The path of a program: itself if it is one, else the first in PATH; None if there is none."""
    return shutil.which(name, path=PATH)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: `how` in words, and the last line that it wrote."""

    how: str
    succeeded: bool
    last_line: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """A command line, how long it may take (seconds), what it is told, and how long it has after SIGTERM."""

    command: tuple[str, ...]
    timeout: float
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    time_to_obey: float = _TIME_TO_OBEY

    def run(self, clock: Callable[[], float]) -> Ended:
        """Run it to its end. Raises OSError if it cannot be started."""
        output = _Output()
        try:
            process = self._start(output.writer)
            output.close_writer()
            running = _Running(process, output, clock)
            try:
                return running.finish(self.timeout, self.time_to_obey)
            except BaseException:
                running.end()
                raise
        finally:
            output.close()

    def _start(self, output: int) -> "subprocess.Popen[bytes]":
        try:
            return self._popen(output)
        except (ValueError, subprocess.SubprocessError) as error:  # a NUL in the environment; the step before exec
            raise OSError(errno.EINVAL, str(error)) from error

    def _popen(self, output: int) -> "subprocess.Popen[bytes]":
        with _file_in_memory(self.stdin) as stdin:
            return subprocess.Popen(
                [find(self.command[0]) or self.command[0], *self.command[1:]],
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/", **self.environment},
                start_new_session=True,
                umask=0o022,
                preexec_fn=_become_ordinary,  # noqa: PLW1509  (a forked child of the engine has one thread)
            )


def _become_ordinary() -> None:
    """In the child, before exec: give back what only the daemon may have."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Nobody would be left to end it when its time is up.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # -1000 is inherited, and would make the program another one that the OOM killer spares.
    with contextlib.suppress(OSError), open(_OOM_SCORE, "w", encoding="ascii") as file:
        file.write("0")


def _memfd() -> int:
    """Not executable where the kernel knows the word (6.3): with vm.memfd_noexec=2 it wants to hear it."""
    try:
        return os.memfd_create("stdin", os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
    except OSError:
        return os.memfd_create("stdin", os.MFD_CLOEXEC)


@contextlib.contextmanager
def _file_in_memory(content: bytes) -> Iterator[int]:
    fd = _memfd()
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


class _Output:
    """The reading end of the child's output; keeps the last part."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.reader, False)
        self._kept = b""
        self._ended = False

    def close_writer(self) -> None:
        """Only the child writes."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def wait_and_read(self, seconds: float) -> None:
        """Take what has been written; wait for so long if that is nothing."""
        if self._ended:
            time.sleep(seconds)
            return
        poll = select.poll()
        poll.register(self.reader, select.POLLIN)
        poll.poll(seconds * 1000)
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(self.reader, MOST_OUTPUT)
            self._ended = not chunk
            self._kept = (self._kept + chunk)[-MOST_OUTPUT:]

    def last_line(self) -> str:
        """The last line that is not blank."""
        lines = self._kept.decode("utf-8", "backslashreplace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:_LONGEST_LINE]

    def close(self) -> None:
        """Close what is open."""
        self.close_writer()
        os.close(self.reader)


@dataclass(frozen=True, slots=True)
class _Running:
    """A started program. It is not reaped before its group has been signalled, so that no number is reused."""

    process: "subprocess.Popen[bytes]"
    output: _Output
    clock: Callable[[], float]

    def finish(self, timeout: float, time_to_obey: float) -> Ended:
        """Wait, end it if the time is up, reap it."""
        if self._ends_within(timeout):
            self.output.wait_and_read(0)
            return self._ended(self._reap())
        how = f"not done after {format_duration(timeout)}, ended with"
        self._signal(signal.SIGTERM)
        obeyed = self._ends_within(time_to_obey)
        # Those of its children that did not obey go as well.
        self._signal(signal.SIGKILL)
        if not obeyed and not self._ends_within(_TIME_TO_DIE):
            return Ended(f"{how} SIGKILL, but hangs in the kernel", False, self.output.last_line())
        self.output.wait_and_read(0)
        self._reap()
        return Ended(f"{how} {'SIGTERM' if obeyed else 'SIGKILL'}", False, self.output.last_line())

    def end(self) -> None:
        """At once, with all its own: we have to go ourselves."""
        self._signal(signal.SIGKILL)
        if self._ends_within(_POLL):
            self._reap()

    def _ends_within(self, seconds: float) -> bool:
        deadline = self.clock() + seconds
        while not self._has_ended():
            if self.clock() >= deadline:
                return False
            self.output.wait_and_read(_POLL)
        return True

    def _has_ended(self) -> bool:
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, flags) is not None

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def _reap(self) -> int:
        return self.process.wait()

    def _ended(self, code: int) -> Ended:
        if code < 0:
            return Ended(f"killed by signal {-code} ({signal.strsignal(-code)})", False, self.output.last_line())
        return Ended(f"exit status {code}", code == 0, self.output.last_line())
