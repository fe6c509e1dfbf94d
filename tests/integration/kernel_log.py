# SPDX-License-Identifier: Apache-2.0
"""The kernel's log as a witness: what happened in the kernel, and when, by the wall clock.

It must not know what the messages mean. Records of /dev/kmsg: `priority,sequence,microseconds,flags;text`
(Documentation/ABI/testing/dev-kmsg). Their clock may be as coarse as a timer tick (10 ms in User Mode Linux): a
message is never later than its record says plus that tick, and never earlier.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Final

_MARKS: Final = 8
"""Writers of /dev/kmsg are held to ten lines in five seconds."""


class KernelLog:
    """Reads what is logged from now on."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._offset = 0.0

    def synchronise(self) -> None:
        """Learn what the wall clock shows when the kernel's says 0. What was logged until now is skipped."""
        os.lseek(self._fd, 0, os.SEEK_END)
        marker = os.open("/dev/kmsg", os.O_WRONLY)
        before = []
        for _ in range(_MARKS):
            before.append(time.time())
            os.write(marker, b"overlaywatch: a test looks at the clock\n")
            time.sleep(0.002)
        os.close(marker)
        marks = [at for at, _ in self._records()][-_MARKS:]
        # The record's time was rounded down: the least difference is the one that was rounded least.
        self._offset = min(wall - kernel for wall, kernel in zip(before, marks, strict=True))

    def first(self, text: str) -> float | None:
        """When the first message with this text was logged, in Unix seconds, as early as it can have been."""
        return next((at + self._offset for at, line in self._records() if text in line), None)

    def _records(self) -> Iterator[tuple[float, str]]:
        """Seconds on the kernel's clock, and the text."""
        with contextlib.suppress(BlockingIOError):
            while True:
                facts, _, text = os.read(self._fd, 8192).decode(errors="replace").partition(";")
                yield int(facts.split(",")[2]) / 1e6, text


@contextlib.contextmanager
def kernel_log() -> Iterator[KernelLog]:
    """The log from now on."""
    fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield KernelLog(fd)
    finally:
        os.close(fd)
