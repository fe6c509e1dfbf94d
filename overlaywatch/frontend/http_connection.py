# SPDX-License-Identifier: Apache-2.0
"""One client: what it has sent, what it has yet to read, and until when it may take its time.

This file must not know what is answered, or other connections. A connection waits for a request, or
is answering one, or drains: its last answer is out, and what still comes is thrown away, so that the
kernel does not send a reset that would overtake the answer (RFC 9112 9.6).
"""

import socket
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from overlaywatch.frontend.http_request import MAX_HEAD_BYTES, end_of_head

_READ_BYTES: Final = 8 * 1024
_DRAIN_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that a client has, and how many clients there may be."""

    connections: int = 64
    first_request: float = 30.0
    head: float = 10.0
    idle: float = 120.0
    answer: float = 30.0
    drain: float = 2.0
    held_bytes: int = 32 * 1024 * 1024


DEFAULT_LIMITS: Final = Limits()


class Phase(Enum):
    """What a connection does."""

    WAITING = auto()
    ANSWERING = auto()
    DRAINING = auto()
    CLOSED = auto()


class Connection:
    """One accepted, non-blocking socket. Methods that do I/O return False when the client is gone."""

    __slots__ = (
        "_buffer",
        "_drained",
        "_keep_alive",
        "_limits",
        "_out",
        "_searched",
        "_sock",
        "body",
        "deadline",
        "peer",
        "phase",
        "since",
    )

    def __init__(self, sock: socket.socket, peer: bytes, limits: Limits, now: float) -> None:
        self._sock = sock
        self._limits = limits
        self._buffer = bytearray()
        self._searched = 0
        self._out: list[memoryview] = []
        self._keep_alive = True
        self._drained = 0
        self.body: bytes = b""
        self.peer = peer
        self.phase = Phase.WAITING
        self.since = now
        self.deadline = now + limits.first_request

    def fileno(self) -> int:
        """For selectors; -1 once closed."""
        return self._sock.fileno()

    def read(self, now: float) -> bool:
        """Take what has come. A started head must be whole within a time that no later byte extends."""
        try:
            data = self._sock.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        if not data:
            return False
        if self.phase is Phase.DRAINING:
            self._drained += len(data)
            return self._drained <= _DRAIN_BYTES
        if not self._buffer:
            self._start_head(now)
        self._buffer += data
        return True

    def _start_head(self, now: float) -> None:
        self.since = now
        self.deadline = min(now + self._limits.head, self.deadline)

    @property
    def has_room(self) -> bool:
        """Whether more may be read: one head at most waits while another is answered."""
        return len(self._buffer) <= MAX_HEAD_BYTES

    def take_head(self) -> bytes | None:
        """The next whole head, if one is waiting and none is being answered. Raises BadRequest."""
        if self.phase is not Phase.WAITING:
            return None
        end = end_of_head(self._buffer, self._searched)
        if end is None:
            self._searched = len(self._buffer)
            return None
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._searched = 0
        return head

    def answer(self, head: bytes, body: bytes, *, keep_alive: bool, now: float) -> None:
        """What is to be sent next. The body is held, not copied: many connections share one."""
        self._keep_alive = keep_alive
        self._out = [memoryview(head), memoryview(body)] if body else [memoryview(head)]
        self.body = body
        self.phase = Phase.ANSWERING
        self.since = now
        self.deadline = now + self._limits.answer

    def write(self, now: float) -> bool:
        """Send as much as the client takes."""
        try:
            sent = self._sock.sendmsg(self._out)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        while sent:
            taken = min(sent, len(self._out[0]))
            self._out[0] = self._out[0][taken:]
            sent -= taken
            if not self._out[0]:
                del self._out[0]
        return bool(self._out) or self._answered(now)

    def _answered(self, now: float) -> bool:
        self.body = b""
        self.since = now
        if self._keep_alive:
            self.phase = Phase.WAITING
            self.deadline = now + (self._limits.head if self._buffer else self._limits.idle)
            return True
        self.phase = Phase.DRAINING
        self.deadline = now + self._limits.drain
        self._buffer.clear()
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of the socket and of everything held for it."""
        self.phase = Phase.CLOSED
        self._out = []
        self.body = b""
        self._buffer.clear()
        self._sock.close()
