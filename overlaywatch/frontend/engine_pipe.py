# SPDX-License-Identifier: Apache-2.0
"""The frontend's end of the two pipes to the engine.

This file must not know what frames mean. Reading never stops; writing never waits: what the engine
does not take is kept up to a bound, then dropped.
"""

import contextlib
import os
import selectors
from collections.abc import Callable
from typing import Final

from overlaywatch.pipe import Decoder, Report, encode_report

_READ_BYTES: Final = 1024 * 1024
_MOST_KEPT: Final = 1024 * 1024


class EnginePipe:
    """`on_payload` is called with each payload. `is_closed` once nothing more will come from the engine."""

    def __init__(
        self, read_fd: int, write_fd: int, selector: selectors.BaseSelector, on_payload: Callable[[bytes], None]
    ) -> None:
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._selector = selector
        self._on_payload = on_payload
        self._decoder = Decoder()
        self._kept = bytearray()
        self.is_closed = False
        selector.register(read_fd, selectors.EVENT_READ, self._readable)

    def _readable(self, _mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._read_fd, _READ_BYTES)
            if not data:
                self.is_closed = True
                self._selector.unregister(self._read_fd)
            for payload in self._decoder.feed(data):
                self._on_payload(payload)

    def send(self, report: Report) -> None:
        """Tell the engine, now or when it reads."""
        if len(self._kept) < _MOST_KEPT:
            self._kept += encode_report(report)
        self.flush()

    def flush(self) -> None:
        """Write what the pipe takes."""
        try:
            while self._kept:
                del self._kept[: os.write(self._write_fd, self._kept)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._kept.clear()  # the other pipe is closed too, or will be
        self._watch(bool(self._kept))

    def _watch(self, wanted: bool) -> None:
        is_watched = self._write_fd in self._selector.get_map()
        if wanted and not is_watched:
            self._selector.register(self._write_fd, selectors.EVENT_WRITE, lambda _mask: self.flush())
        elif is_watched and not wanted:
            self._selector.unregister(self._write_fd)
