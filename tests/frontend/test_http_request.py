# SPDX-License-Identifier: Apache-2.0
"""Heads of requests: the good are understood, the bad are refused, and nothing else ever happens."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.frontend.http_request import (
    MAX_HEAD_BYTES,
    BadRequest,
    end_of_head,
    parse_head,
    prefers_gzip,
)

PROMETHEUS = (
    b"GET /metrics HTTP/1.1\r\nHost: 10.0.0.7:10087\r\nUser-Agent: Prometheus/3.5.0\r\n"
    b"Accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3\r\n"
    b"Accept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n"
)


def test_a_scrape_is_understood() -> None:
    """What Prometheus sends is a request for /metrics on a connection that stays."""
    request = parse_head(PROMETHEUS)
    assert (request.method, request.path, request.keep_alive, request.has_body) == ("GET", "/metrics", True, False)
    assert request.headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("head", "path", "query"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", "/", ""),
        (b"GET /metrics?name[]=a&x HTTP/1.1\r\nHost: h\r\n\r\n", "/metrics", "name[]=a&x"),
        (b"GET http://h:1/metrics HTTP/1.1\r\nHost: h\r\n\r\n", "/metrics", ""),
        (b"GET http://h?x HTTP/1.1\r\nHost: h\r\n\r\n", "/", "x"),
        (b"\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n", "/a", ""),
        (b"GET /by-hand HTTP/1.0\n\n", "/by-hand", ""),
    ],
)
def test_targets(head: bytes, path: str, query: str) -> None:
    """Origin form, absolute form, an empty line before, and line feeds typed by hand are all taken."""
    request = parse_head(head)
    assert (request.path, request.query) == (path, query)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: \xb2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
    ],
)
def test_bad_heads_are_refused_by_name(head: bytes, status: int) -> None:
    """Each fault gets its status, and a TLS handshake on the plain port is one of them."""
    with pytest.raises(BadRequest) as refused:
        parse_head(head)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("version", "connection", "stays"),
    [
        ("1.1", "", True),
        ("1.1", "close", False),
        ("1.1", "Upgrade, Close", False),
        ("1.0", "", False),
        ("1.0", "keep-alive", True),
    ],
)
def test_whether_the_connection_stays(version: str, connection: str, stays: bool) -> None:
    """HTTP/1.1 stays unless told otherwise, HTTP/1.0 goes unless told otherwise."""
    head = f"GET / HTTP/{version}\r\nHost: h\r\nConnection: {connection}\r\n\r\n"
    assert parse_head(head.encode()).keep_alive is stays


@pytest.mark.parametrize(
    ("line", "has_body"),
    [("Content-Length: 0", False), ("Content-Length: 5", True), ("Transfer-Encoding: chunked", True), ("X: y", False)],
)
def test_whether_a_body_follows(line: str, has_body: bool) -> None:
    """A length above nothing, or an encoding, announces a body."""
    assert parse_head(f"POST / HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n".encode()).has_body is has_body


def outcome(head: bytes) -> str | int:
    """How the path of a request begins, or the status of its refusal."""
    try:
        return parse_head(head).path[0]
    except BadRequest as problem:
        return problem.status


@given(st.binary(max_size=400))
def test_garbage_is_a_bad_request_and_nothing_else(data: bytes) -> None:
    """Whatever arrives, it is a Request or a BadRequest."""
    assert outcome(data) in ("/", 400, 505)


@given(st.lists(st.sampled_from([b"GET", b" ", b"/", b"HTTP/1.1", b"\r\n", b"\n", b"Host:", b"a", b":", b"\t", b","])))
def test_nearly_good_heads_too(words: list[bytes]) -> None:
    """Pieces of real requests in any order do no harm either."""
    assert outcome(b"".join(words)) in ("/", 400)


@given(st.integers(1, 60))
def test_a_head_is_found_however_it_is_cut(size: int) -> None:
    """The end is found in the same place though the bytes come in small pieces."""
    buffer, searched, found = bytearray(), 0, None
    for start in range(0, len(PROMETHEUS), size):
        buffer += PROMETHEUS[start : start + size]
        found = end_of_head(buffer, searched)
        searched = len(buffer)
        if found is not None:
            break
    assert found == len(PROMETHEUS)


def test_a_giant_head_is_refused_before_it_ends() -> None:
    """A head that grows beyond the bound is 431, whether or not its end ever comes."""
    for data in (b"a" * (MAX_HEAD_BYTES + 1), b"GET /" + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n"):
        with pytest.raises(BadRequest) as refused:
            end_of_head(bytearray(data))
        assert refused.value.status == 431


def test_no_head_takes_long() -> None:
    """A head made to be hard (8 KiB of blanks) is parsed in a time that nobody notices."""
    hard = b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b" \t" * 4000 + b"\x00\r\n\r\n"
    started = time.process_time()
    with pytest.raises(BadRequest):
        parse_head(hard)
    assert time.process_time() - started < 0.1


@pytest.mark.parametrize(
    ("accepted", "gzip"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("br", False),
    ],
)
def test_gzip_is_for_who_asks(accepted: str, gzip: bool) -> None:
    """A coding with weight 0 is refused, not asked for."""
    assert prefers_gzip({"accept-encoding": accepted}) is gzip
