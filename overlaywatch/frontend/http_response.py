# SPDX-License-Identifier: Apache-2.0
"""An answer, and its head as bytes (RFC 9112). Pure: the date is an argument."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"

# What is answered is true for one tick only, is what it says it is, and belongs into no other page.
_ALWAYS: Final = b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered; `headers` are beyond type, length and those that every answer has."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def plain(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """One line of text."""
    return Response(status, TEXT, f"{text}\n".encode(), tuple((headers or {}).items()))


def head(response: Response, *, keep_alive: bool, date: str) -> bytes:
    """The status line and the header fields, with the blank line after them."""
    fields = [
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}",
        f"Date: {date}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        *(f"{name}: {value}" for name, value in response.headers),
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
    ]
    return "\r\n".join(fields).encode("ascii") + b"\r\n" + _ALWAYS + b"\r\n"
