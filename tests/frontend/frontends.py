# SPDX-License-Identifier: Apache-2.0
"""A frontend as the engine holds it: forked for a test, fed, listened to, and reaped."""

import os
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from overlaywatch import pipe
from overlaywatch.frontend.process import FrontendHandle, FrontendOptions, prepare, spawn
from overlaywatch.pipe import Listening, Report
from tests.frontend.support import PATIENCE, until

Kind = TypeVar("Kind", bound=Report)


class Forked:
    """The engine's side of one frontend."""

    def __init__(self, handle: FrontendHandle) -> None:
        self.pid = handle.pid
        self.reports: list[Report] = []
        self._read_fd = handle.read_fd
        self._write_fd: int | None = handle.write_fd
        self._decoder = pipe.Decoder()
        self._status: int | None = None

    def send(self, frame: bytes) -> None:
        """Write a whole frame."""
        assert self._write_fd is not None
        os.set_blocking(self._write_fd, True)
        while frame:
            frame = frame[os.write(self._write_fd, frame) :]

    def listen(self, seconds: float = PATIENCE) -> bool:
        """Take in what it says next; False if it says nothing for so long, or has ended."""
        readable, _, _ = select.select([self._read_fd], [], [], seconds)
        data = os.read(self._read_fd, 65536) if readable else b""
        self.reports += [pipe.parse_report(payload) for payload in self._decoder.feed(data)]
        return bool(data)

    def take(self, kind: type[Kind], fits: Callable[[Kind], bool] = lambda _report: True) -> Kind:
        """The first report of a kind that fits; waits for it, and takes it out."""
        found: list[Kind] = []

        def look() -> bool:
            found.extend(report for report in self.reports if isinstance(report, kind) and fits(report))
            return bool(found)

        until(look, self.listen)
        self.reports.remove(found[0])
        return found[0]

    def address(self) -> str:
        """Where it listens first; waits for its first report."""
        return self.take(Listening).addresses[0]

    def facts(self) -> dict[str, str]:
        """/proc/PID/status as names and values (proc(5))."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def open_files(self) -> list[str]:
        """What its descriptors lead to."""
        return [os.readlink(each) for each in Path(f"/proc/{self.pid}/fd").iterdir()]

    def hang_up(self) -> None:
        """Close the pipe to it, as the death of the engine would."""
        if self._write_fd is not None:
            os.close(self._write_fd)
            self._write_fd = None

    def wait(self) -> int:
        """Wait for its end; its exit status, negative for a signal."""
        if self._status is None:
            while self.listen():
                pass
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status

    def close(self) -> None:
        """End it as the death of the engine would."""
        self.hang_up()
        self.wait()
        os.close(self._read_fd)


@contextmanager
def frontend(options: FrontendOptions | None = None, sockets: Sequence[socket.socket] = ()) -> Iterator[Forked]:
    """A frontend on a port of 127.0.0.1 that the kernel chooses, or with these options."""
    forked = Forked(spawn(options or prepare(["127.0.0.1:0"]), sockets))
    try:
        yield forked
    finally:
        forked.close()
