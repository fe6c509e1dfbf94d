# SPDX-License-Identifier: Apache-2.0
"""The head of an HTTP/1 request, from bytes (RFC 9112). Pure: whatever the bytes are, a Request or BadRequest.

This file must not know sockets, time, or which paths there are. Bodies are of no use here, because
nothing over HTTP changes anything: a request that has one is answered and its connection closed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MAX_HEAD_BYTES: Final = 8 * 1024
"""As much as nginx and Apache take by default for one line; a scrape sends about 500 bytes."""

_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")
_LONGEST_END: Final = 4
# RFC 9110 5.6.2: a method and a field name are tokens.
_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE: Final = re.compile(rf"({_WORD}) ([\x21-\x7e]+) HTTP/(\d)\.(\d)")
_FIELD: Final = re.compile(rf"({_WORD}):([\x20-\x7e\t\x80-\xff]*)")
_ABSOLUTE: Final = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


class BadRequest(Exception):  # noqa: N818  # it is the name of the status
    """A head that cannot be answered as asked: `status` and a reason for who sent it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Request:
    """A request: `path` without query, as it was sent; header names in small letters."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    keep_alive: bool = True
    has_body: bool = False


def end_of_head(buffer: bytearray, searched: int = 0) -> int | None:
    """Where the head ends that the buffer begins with; None if not yet. The first `searched` bytes are known.

    Raises BadRequest if it is longer than a head may be.
    """
    match = _END_OF_HEAD.search(buffer, max(searched - _LONGEST_END, 0))
    end = match.end() if match else None
    if (end or len(buffer)) > MAX_HEAD_BYTES:
        raise BadRequest(431, f"the head of a request may have {MAX_HEAD_BYTES} bytes")
    return end


def parse_head(head: bytes) -> Request:
    """The request of a whole head. Raises BadRequest."""
    first, *lines = re.split(r"\r?\n", head.decode("latin-1").strip("\r\n"))
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise BadRequest(400, "not a request line")
    if match[3] != "1":
        raise BadRequest(505, "only HTTP/1 is spoken here")
    headers = _headers(lines)
    is_new = match[4] != "0"
    if is_new and "host" not in headers:
        raise BadRequest(400, "a request of HTTP/1.1 needs a Host")
    path, _, query = _origin_form(match[2]).partition("?")
    return Request(match[1], path, query, headers, _keeps_alive(headers, is_new=is_new), _has_body(headers))


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise BadRequest(400, "not a header field")
        name = match[1].lower()
        if name in headers and name in ("host", "content-length"):
            raise BadRequest(400, f"{name} was sent twice")
        value = match[2].strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _origin_form(target: str) -> str:
    """RFC 9112 3.2.2: a server must accept the absolute form too."""
    match = _ABSOLUTE.match(target)
    if match is None and not target.startswith("/"):
        raise BadRequest(400, "not a path")
    rest = target[match.end() :] if match else target
    return rest if rest.startswith("/") else f"/{rest}"


def _keeps_alive(headers: Mapping[str, str], *, is_new: bool) -> bool:
    options = {option.strip() for option in headers.get("connection", "").lower().split(",")}
    return "close" not in options if is_new else "keep-alive" in options


def _has_body(headers: Mapping[str, str]) -> bool:
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise BadRequest(400, "content-length is not a number")
    return "transfer-encoding" in headers or length.strip("0") != ""


def prefers_gzip(headers: Mapping[str, str]) -> bool:
    """Whether the client takes gzip (RFC 9110 12.5.3); `gzip;q=0` refuses it."""
    for part in headers.get("accept-encoding", "").lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight)
    return False
