# SPDX-License-Identifier: Apache-2.0
"""A small HTTP/1.1 server on a selector: bounded in connections, bytes and time, whatever clients do.

This file must not know which paths there are. Everything happens in one thread: no client can hold
more of it than one short answer takes. When all places are taken the client with the most of them
loses one, an idle one first: a flood from one address evicts itself, and a scraper still gets in.
"""

import contextlib
import errno
import selectors
import socket
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

from overlaywatch.frontend.http_connection import DEFAULT_LIMITS, Connection, Limits, Phase
from overlaywatch.frontend.http_request import BadRequest, Request, parse_head
from overlaywatch.frontend.http_response import Response, head, plain

Respond = Callable[[Request], Response]

_BACKLOG: Final = 128
_ACCEPTS_A_TURN: Final = 16
_SEND_BUFFER_BYTES: Final = 256 * 1024
_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_READ: Final = selectors.EVENT_READ
_WRITE: Final = selectors.EVENT_WRITE


class HttpServer:
    """Serves `respond` on every socket given to listen(). Selector keys carry a callable as data.

    `requests` counts answers by status, `dropped` connections that were closed from here and why.
    `respond` may raise: the client gets 500 and `on_error` the exception.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        respond: Respond,
        *,
        clock: Callable[[], float],
        unix_clock: Callable[[], float],
        on_error: Callable[[Exception], None],
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._selector = selector
        self._respond = respond
        self._clock = clock
        self._unix_clock = unix_clock
        self._on_error = on_error
        self._limits = limits
        self._listeners: list[socket.socket] = []
        self._connections: set[Connection] = set()
        self.requests: Counter[int] = Counter()
        self.dropped: Counter[str] = Counter()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def listen(self, bound: socket.socket) -> None:
        """Answer on a bound socket from now on. Raises OSError."""
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)  # inherited by what is accepted
        bound.setblocking(False)
        bound.listen(_BACKLOG)
        self._listeners.append(bound)
        self._selector.register(bound, _READ, lambda _mask: self._accept(bound))

    def close(self) -> None:
        """Close every socket."""
        for listener in self._listeners:
            self._selector.unregister(listener)
            listener.close()
        self._listeners.clear()
        for connection in tuple(self._connections):
            self._drop(connection)

    # --- clients come and go ----------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTS_A_TURN):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._evict("no_descriptor")
                    return
                continue  # the client is gone again; accept(2) says to treat it as if it never came
            if len(self._connections) >= self._limits.connections:
                self._evict("too_many")
            self._welcome(sock, str(address[0]))

    def _welcome(self, sock: socket.socket, host: str) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock, peer_key(host), self._limits, self._clock())
        self._connections.add(connection)
        self._selector.register(connection, _READ, lambda mask: self._handle(connection, mask))
        self._handle(connection, _READ)  # the request is often there already

    def _evict(self, why: str) -> None:
        if not self._connections:
            return
        places = Counter(connection.peer for connection in self._connections)
        victim = min(
            self._connections,
            key=lambda each: (-places[each.peer], each.phase is Phase.ANSWERING, each.since),
        )
        self._drop(victim, why)

    def _drop(self, connection: Connection, why: str = "") -> None:
        if connection.phase is Phase.CLOSED:
            return
        if why:
            self.dropped[why] += 1
        self._selector.unregister(connection)
        self._connections.discard(connection)
        connection.close()

    # --- time -------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When expire() has something to do, if nothing else happens."""
        return min((connection.deadline for connection in self._connections), default=None)

    def expire(self) -> None:
        """Close the clients that took too long."""
        now = self._clock()
        for connection in [each for each in self._connections if each.deadline <= now]:
            self._drop(connection, _TOO_LONG[connection.phase])

    # --- requests and answers ---------------------------------------------------------------------

    def _handle(self, connection: Connection, mask: int) -> None:
        if connection.phase is Phase.CLOSED:
            return  # by an earlier event of the same turn
        now = self._clock()
        alive = True
        if mask & _READ and connection.has_room:
            alive = connection.read(now)
        if alive and connection.phase is Phase.ANSWERING:
            alive = connection.write(now)
        while alive and self._answer_next(connection, now):
            alive = connection.write(now)
        if alive:
            self._watch(connection)
        else:
            self._drop(connection)

    def _answer_next(self, connection: Connection, now: float) -> bool:
        """Begin the next answer, if a whole request waits for one."""
        try:
            received = connection.take_head()
            if received is None:
                return False
            request = parse_head(received)
            response, keep_alive = self._ask(request), request.keep_alive and not request.has_body
            body = b"" if request.method == "HEAD" else response.body
        except BadRequest as problem:
            response, keep_alive = plain(problem.status, problem.reason), False
            body = response.body
        self.requests[response.status] += 1
        self._make_room_for(body)
        date = formatdate(self._unix_clock(), usegmt=True)
        connection.answer(head(response, keep_alive=keep_alive, date=date), body, keep_alive=keep_alive, now=now)
        return True

    def _ask(self, request: Request) -> Response:
        try:
            return self._respond(request)
        except Exception as error:  # the boundary: one broken page must not end the others
            self._on_error(error)
            return plain(500, "this page failed; the log says why")

    def _make_room_for(self, body: bytes) -> None:
        """Slow readers hold old pages in memory; the slowest lose theirs when it becomes too much."""
        while True:
            held = {id(each.body): len(each.body) for each in self._connections}
            held[id(body)] = len(body)
            writers = [each for each in self._connections if each.phase is Phase.ANSWERING and each.body is not body]
            if sum(held.values()) <= self._limits.held_bytes or not writers:
                return
            self._drop(min(writers, key=lambda each: each.since), "slow_reader")

    def _watch(self, connection: Connection) -> None:
        wanted = _WRITE if connection.phase is Phase.ANSWERING else _READ
        key = self._selector.get_key(connection)
        if key.events != wanted:
            self._selector.modify(connection, wanted, key.data)


_TOO_LONG: Final = {
    Phase.WAITING: "no_request",
    Phase.ANSWERING: "slow_reader",
    Phase.DRAINING: "not_closing",
    Phase.CLOSED: "",
}


def peer_key(host: str) -> bytes:
    """Who a client is when places are counted: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in host:
        return socket.inet_aton(host)
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    # ::ffff:192.0.2.1 is an IPv4 client on a socket for both; all of them have the same first half.
    return packed[:8] if any(packed[:8]) else packed[8:]
