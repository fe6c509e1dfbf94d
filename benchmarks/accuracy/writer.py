# SPDX-License-Identifier: Apache-2.0
"""Writes to a chain, step by step, in a process of its own: it may be killed, or hang for ever.

It must not know what it writes to, nor overlaywatch.
"""

import contextlib
import os
import random
import select
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Way = Literal["new", "overwrite", "mix", "scattered"]
"""New files of 1 MiB; a file of the image overwritten from its beginning; both in turn; 4 KiB here and there of it."""

KIB: Final = 1024
PATIENCE: Final = 20.0
"""Seconds that one step may take before the writer counts as stuck."""
SEED: Final = 1


class Hand:
    """What the process does: one step of so many bytes, safe on the device when it is done. Raises OSError."""

    def __init__(self, place: Path, base: Sequence[Path], way: Way) -> None:
        self._place, self._base, self._way = place, base, way
        self._data = os.urandom(1024 * KIB)
        self._turn = 0
        self._position = 0
        self._left: list[int] = []
        self._room = 1024 * KIB
        self._fd = -1

    def step(self, size: int) -> None:
        """Write `size` bytes in the way that was asked for."""
        self._turn += 1
        if self._way == "new" or (self._way == "mix" and self._turn % 2):
            self._new(size)
        elif self._way == "scattered":
            self._scattered(size)
        else:
            self._overwrite(size)

    def _new(self, size: int) -> None:
        if self._fd < 0 or self._room < size:
            self._reopen(self._place / f"new{self._turn:05}")
        _write(self._fd, self._data[:size])
        os.fsync(self._fd)
        self._room -= size

    def _reopen(self, file: Path) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._room = os.open(file, os.O_WRONLY | os.O_CREAT), len(self._data)

    def _overwrite(self, size: int) -> None:
        """The files of the image, all of one size, as one long row of bytes."""
        index, offset = divmod(self._position, self._base[0].stat().st_size)
        with opened(self._base[index]) as fd:
            os.lseek(fd, offset, os.SEEK_SET)
            _write(fd, self._data[:size])
            os.fsync(fd)
        self._position += size

    def _scattered(self, size: int) -> None:
        """Blocks of 4 KiB in an order without order, each once, all made safe together."""
        if not self._left:
            self._left = list(range(self._base[0].stat().st_size // (4 * KIB)))
            random.Random(SEED).shuffle(self._left)  # noqa: S311  (no secret: the same order each time)
        with opened(self._base[0]) as fd:
            for _ in range(size // (4 * KIB)):
                os.pwrite(fd, self._data[: 4 * KIB], self._left.pop() * 4 * KIB)
            os.fsync(fd)


@contextlib.contextmanager
def opened(file: Path) -> Iterator[int]:
    """A descriptor to write in place."""
    fd = os.open(file, os.O_WRONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def _write(fd: int, data: bytes) -> None:
    """All of it: a short write is followed by one that says why."""
    while data:
        data = data[os.write(fd, data) :]


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why a step was not done: an error number; or killed; or stuck (neither)."""

    error: int = 0
    killed: bool = False


class Writer:
    """The process, seen from the one that watches."""

    def __init__(self, hand: Hand) -> None:
        self._orders, self._answers, self.pid = _start(hand)

    def step(self, size: int) -> Stopped | None:
        """Have one step done; None if it was."""
        os.write(self._orders, size.to_bytes(8, "little"))
        if not select.select([self._answers], [], [], PATIENCE)[0]:
            return Stopped()
        answer = os.read(self._answers, 4)
        if not answer:
            self._must_have_been_killed()
            return Stopped(killed=True)
        error = int.from_bytes(answer, "little")
        return Stopped(error) if error else None

    def _must_have_been_killed(self) -> None:
        """A writer that failed by itself is a defect of this program, and no end of memory."""
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        if ended is None or ended.si_status != signal.SIGKILL:
            raise RuntimeError(f"the writer failed: {ended}")

    def end(self) -> None:
        """End it. One that is stuck in the kernel ends when its device does."""
        os.close(self._orders)
        os.close(self._answers)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _start(hand: Hand) -> tuple[int, int, int]:
    orders_out, orders_in = os.pipe()
    answers_out, answers_in = os.pipe()
    pid = os.fork()
    if pid:
        os.close(orders_out)
        os.close(answers_in)
        return orders_in, answers_out, pid
    os.close(orders_in)
    os.close(answers_out)
    try:
        _be_the_writer(hand, orders_out, answers_in)
    finally:
        os._exit(1)


def _be_the_writer(hand: Hand, orders: int, answers: int) -> None:
    """Whoever runs out of memory, it is to be this process that is killed (proc_pid_oom_score_adj(5))."""
    Path("/proc/self/oom_score_adj").write_text("1000")
    while order := os.read(orders, 8):
        error = 0
        try:
            hand.step(int.from_bytes(order, "little"))
        except OSError as failed:
            error = failed.errno or -1
        os.write(answers, error.to_bytes(4, "little"))


@contextlib.contextmanager
def writer(place: Path, base: Sequence[Path], way: Way) -> Iterator[Writer]:
    """A writer that is gone in the end."""
    found = Writer(Hand(place, base, way))
    try:
        yield found
    finally:
        found.end()
