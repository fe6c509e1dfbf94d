# SPDX-License-Identifier: Apache-2.0
"""The server against clients that mean harm: real sockets, a clock that the test turns."""

import selectors
import socket
from collections.abc import Iterator

import pytest

from overlaywatch.frontend.http_connection import Limits
from overlaywatch.frontend.http_request import Request
from overlaywatch.frontend.http_response import TEXT, Response
from overlaywatch.frontend.http_server import HttpServer, peer_key
from overlaywatch.frontend.listen import Address, bind, name_of
from tests.frontend.support import Answer, parse_answer, request

BIG = b"x" * (8 * 1024 * 1024)
LIMITS = Limits(connections=4, first_request=30, head=10, idle=120, answer=30, drain=2, held_bytes=20 * 1024 * 1024)


class Bench:
    """A server, its clock, and clients of it, all in one thread."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.errors: list[Exception] = []
        self.answered = 0
        self.selector = selectors.DefaultSelector()
        self.server = HttpServer(
            self.selector,
            self.respond,
            clock=lambda: self.now,
            unix_clock=lambda: 1_767_268_804.0,
            on_error=self.errors.append,
            limits=LIMITS,
        )
        bound = bind(Address("127.0.0.1", 0))
        self.address = name_of(bound)
        self.server.listen(bound)
        self.clients: list[socket.socket] = []

    def respond(self, asked: Request) -> Response:
        """/big is big, and another object each time; /bad fails."""
        self.answered += 1
        if asked.path == "/bad":
            raise RuntimeError("made to fail")
        return Response(200, TEXT, bytes(bytearray(BIG)) if asked.path == "/big" else asked.path.encode())

    def turn(self, seconds: float = 0.0) -> None:
        """Let time pass, then let the server do all it can."""
        self.now += seconds
        self.server.expire()
        while events := self.selector.select(0):
            for key, mask in events:
                key.data(mask)

    def client(self, data: bytes = b"") -> socket.socket:
        """A client that has sent so much."""
        host, _, port = self.address.rpartition(":")
        made = socket.create_connection((host, int(port)), timeout=5)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        self.clients.append(made)
        made.sendall(data)
        self.turn()
        return made

    def close(self) -> None:
        """Everything away."""
        for client in self.clients:
            client.close()
        self.server.close()
        self.selector.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A server with four places."""
    made = Bench()
    yield made
    made.close()


def received(client: socket.socket) -> bytes:
    """What has come for this client; the server's end must be settled."""
    client.setblocking(False)
    data = b""
    try:
        while chunk := client.recv(65536):
            data += chunk
    except BlockingIOError:
        pass
    client.settimeout(5)
    return data


def is_closed(client: socket.socket) -> bool:
    """Whether the server has closed this connection."""
    client.setblocking(False)
    try:
        return client.recv(65536) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def answers(data: bytes) -> list[Answer]:
    """All answers in what was received, each whole."""
    found = []
    while data:
        answer, data = parse_answer(data)
        assert answer is not None
        found.append(answer)
    return found


def test_one_answer(bench: Bench) -> None:
    """A request is answered with its length, its type, and the headers that every answer has."""
    (answer,) = answers(received(bench.client(request("/a"))))
    assert (answer.status, answer.body) == (200, b"/a")
    assert answer.headers["date"] == "Thu, 01 Jan 2026 12:00:04 GMT"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["connection"] == "keep-alive"


def test_a_connection_is_used_again(bench: Bench) -> None:
    """One request after another is answered over the same connection."""
    client = bench.client(request("/a"))
    client.sendall(request("/b"))
    bench.turn()
    assert [answer.body for answer in answers(received(client))] == [b"/a", b"/b"]


def test_requests_sent_together_are_answered_in_order(bench: Bench) -> None:
    """Pipelined requests are all answered, in their order, though they came in one piece."""
    client = bench.client(b"".join(request(f"/{number}") for number in range(50)))
    assert [answer.body for answer in answers(received(client))] == [f"/{number}".encode() for number in range(50)]


def test_a_request_in_single_bytes(bench: Bench) -> None:
    """A request that comes byte by byte is a request."""
    client = bench.client()
    for byte in request("/slow"):
        client.sendall(bytes([byte]))
        bench.turn()
    assert answers(received(client))[0].body == b"/slow"


def test_head_is_without_body(bench: Bench) -> None:
    """HEAD says how long the body would be, and sends none."""
    client = bench.client(request("/abc", "HEAD"))
    answer, rest = parse_answer(received(client), is_head=True)
    assert answer is not None
    assert (answer.headers["content-length"], rest) == ("4", b"")


def test_garbage_is_answered_and_closed(bench: Bench) -> None:
    """What is no HTTP gets 400 and the end of the connection."""
    client = bench.client(b"\x16\x03\x01 hello\r\n\r\n")
    assert answers(received(client))[0].status == 400
    bench.turn(LIMITS.drain)
    assert bench.server.connections == 0


def test_a_giant_head_is_431(bench: Bench) -> None:
    """A head without end is refused, and the answer arrives though the client is still sending."""
    client = bench.client(b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)
    assert answers(received(client))[0].status == 431
    client.close()
    bench.turn()
    assert bench.server.connections == 0


def test_a_body_is_not_read(bench: Bench) -> None:
    """A POST is answered at once and its connection closed; its body goes nowhere."""
    client = bench.client(request("/a", "POST", Content_Length="50000") + b"b" * 50_000)
    (answer,) = answers(received(client))
    assert answer.headers["connection"] == "close"
    assert bench.answered == 1


def test_an_endless_body_is_cut(bench: Bench) -> None:
    """Who goes on sending after the last answer is cut off by bytes, before time does it."""
    client = bench.client(request("/a", "POST", Transfer_Encoding="chunked"))
    with pytest.raises(OSError, match=r"reset|Broken pipe"):
        pour(bench, client)
    assert bench.server.connections == 0


def pour(bench: Bench, client: socket.socket) -> None:
    """Six megabytes of body."""
    for _ in range(100):
        client.sendall(b"z" * 65536)
        bench.turn()


def test_a_page_that_fails_is_500(bench: Bench) -> None:
    """A page that cannot be made costs one answer; the next is as before."""
    client = bench.client(request("/bad") + request("/good"))
    assert [answer.status for answer in answers(received(client))] == [500, 200]
    assert [str(error) for error in bench.errors] == ["made to fail"]
    assert bench.server.requests == {500: 1, 200: 1}


def test_slow_loris_is_cut(bench: Bench) -> None:
    """A head has ten seconds in all: bytes that keep dripping do not extend them."""
    client = bench.client(b"GET / HT")
    for _ in range(9):
        bench.turn(1.0)
        client.sendall(b"a")
        bench.turn()
    assert bench.server.connections == 1
    bench.turn(1.0)
    assert is_closed(client)
    assert bench.server.dropped == {"no_request": 1}


def test_silent_clients_are_cut(bench: Bench) -> None:
    """Who connects and says nothing is cut after half a minute; who has asked before, after two."""
    silent, served = bench.client(), bench.client(request("/"))
    received(served)
    bench.turn(30.0)
    assert (is_closed(silent), is_closed(served)) == (True, False)
    bench.turn(90.0)
    assert is_closed(served)


def test_a_half_closed_client_is_answered(bench: Bench) -> None:
    """A client that has shut down its sending side gets its answer, then the end."""
    client = bench.client()
    client.sendall(request("/last"))
    client.shutdown(socket.SHUT_WR)
    bench.turn()
    assert answers(received(client))[0].body == b"/last"
    assert bench.server.connections == 0


def test_slow_readers_are_cut(bench: Bench) -> None:
    """Who does not read an answer within its time loses it and the connection."""
    client = bench.client(request("/big"))
    bench.turn(29.0)
    assert bench.server.connections == 1
    bench.turn(1.0)
    assert bench.server.connections == 0
    assert bench.server.dropped == {"slow_reader": 1}
    assert len(client.recv(65536)) > 0


def test_a_reader_of_pieces_gets_everything(bench: Bench) -> None:
    """A big answer goes out in as many pieces as the reader takes."""
    client = bench.client(request("/big"))
    data, answer = b"", None
    while answer is None:
        data += client.recv(65536)
        bench.turn()
        answer, _ = parse_answer(data) if len(data) > len(BIG) else (None, b"")
    assert answer.body == BIG


def test_held_answers_are_bounded(bench: Bench) -> None:
    """Slow readers together hold no more than the bound: the oldest loses its answer for a new one."""
    clients = []
    for _ in range(3):
        clients.append(bench.client(request("/big")))
        bench.turn(1.0)
    assert bench.server.connections == 2
    assert bench.server.dropped == {"slow_reader": 1}


def test_when_full_the_oldest_idle_goes(bench: Bench) -> None:
    """A fifth client gets in; the one that has been idle longest goes, not one that is being answered."""
    busy = bench.client(request("/big"))
    bench.turn(1.0)
    idle = []
    for _ in range(3):
        idle.append(bench.client())
        bench.turn(1.0)
    fifth = bench.client(request("/in"))
    assert answers(received(fifth))[0].body == b"/in"
    assert is_closed(idle[0])
    assert not is_closed(idle[1])
    assert len(busy.recv(1000)) == 1000
    assert bench.server.connections == LIMITS.connections


def test_a_storm_of_connections_is_bounded(bench: Bench) -> None:
    """A thousand connections leave no more than four, and a scraper is answered all the same."""
    for number in range(1000):
        bench.client(b"GET / HT" if number % 2 else b"")
        if number % 100 == 0:
            assert answers(received(bench.client(request("/scrape"))))[0].body == b"/scrape"
    assert bench.server.connections == LIMITS.connections
    assert bench.server.dropped["too_many"] > 900


def test_places_are_counted_by_network() -> None:
    """An IPv6 client has a /64 to choose addresses from; it counts as one. IPv4 clients count each for itself."""
    assert peer_key("2001:db8::1") == peer_key("2001:db8::ffff:2")
    assert peer_key("2001:db8::1") != peer_key("2001:db8:0:1::1")
    assert peer_key("192.0.2.1") != peer_key("192.0.2.2")
    assert peer_key("::ffff:192.0.2.1") != peer_key("::ffff:192.0.2.2")
    assert peer_key("fe80::1%lo") == peer_key("fe80::2")


def test_close_closes_everything(bench: Bench) -> None:
    """After close() nobody can connect, and who was connected is not any more."""
    client = bench.client(request("/a"))
    received(client)
    bench.server.close()
    assert is_closed(client)
    with pytest.raises(ConnectionRefusedError):
        bench.client()
