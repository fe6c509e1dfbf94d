# SPDX-License-Identifier: Apache-2.0
"""What the tests of the frontend share: frames of real ticks, and clients that can behave badly."""

import json
import os
import select
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from overlaywatch import pipe
from overlaywatch.document import status_document
from overlaywatch.frontend.facts import Facts, OwnCounts
from overlaywatch.model import Tick
from overlaywatch.schema import DaemonDocument

PATIENCE: Final = 20.0
"""Seconds after which something that should have happened has not: never waited for if all is well."""


def daemon_document() -> DaemonDocument:
    """An engine that has run for a while and has something of everything to count."""
    return {
        "version": "0.1.0",
        "python": "3.11.2",
        "pid": 4711,
        "started_at": 1_767_268_000.5,
        "ready": True,
        "paused": False,
        "pace_seconds": 10.0,
        "last_tick": 1_767_268_804.0,
        "tick_histogram": {"buckets": [("0.001", 70), ("0.01", 79), ("+Inf", 80)], "sum": 0.0625, "count": 80},
        "sources": [
            {"source": "dm-snapshot", "success": True, "duration_seconds": 0.00025, "unknown_statuses": 1},
            {"source": "ram", "success": False, "duration_seconds": 0.0001, "unknown_statuses": 0},
        ],
        "decisions": [("root", "warn", "page", 3)],
        "actions": [("free-caches", "purge", "applied", 2), ("free-caches", "purge", "refused", 1)],
        "freed": [("free-caches", 1_048_576)],
        "alerts": [("page", "applied", 3), ("page", "failed", 1)],
        "config_hash": "5f2a",
        "config_last_reload_successful": True,
    }


def facts_of(tick: Tick) -> Facts:
    """What a page is made from, after a journey through the pipe: lists where there were tuples."""
    status = json.loads(json.dumps(status_document(tick)).encode())
    daemon = json.loads(json.dumps(daemon_document()))
    return Facts(status, daemon, OwnCounts(1_767_268_001.0, 2, {200: 7, 404: 1}, {"too_many": 3}, {"page": 1}))


def tick_payload(tick: Tick) -> bytes:
    """A tick as it comes out of the pipe."""
    return pipe.encode_tick(json.dumps(status_document(tick)).encode(), dict(daemon_document()))[4:]


def tick_frame(tick: Tick) -> bytes:
    """A tick as it goes into the pipe."""
    return pipe.encode_tick(json.dumps(status_document(tick)).encode(), dict(daemon_document()))


def notification(kind: str, urls: list[str], **other: object) -> dict[str, object]:
    """A frame that the engine sends, of an alert that fires."""
    frame: dict[str, object] = {
        "type": "notify",
        "id": "page:root:warn:/",
        "receiver": "page",
        "kind": kind,
        "config": {"urls": urls, "timeout": 5.0} if kind == "alertmanager" else {"url": urls[0], "timeout": 5.0},
        "firing": True,
        "labels": {"alertname": "OverlayRootWarn", "severity": "critical", "mount_point": "/", "empty": ""},
        "annotations": {"summary": "/: 9.9 MiB can still be written"},
        "starts_at": time.time() - 5,
        "ends_at": None,
        "body": {"version": 1, "status": "firing", "id": "page:root:warn:/"},
    }
    return {**frame, **other}


def resolution(frame: Mapping[str, object]) -> dict[str, object]:
    """The frame that takes it back."""
    body = frame["body"]
    assert isinstance(body, dict)
    return {**frame, "firing": False, "ends_at": time.time(), "body": {**body, "status": "resolved"}}


def until(happened: Callable[[], bool], step: Callable[[], object] = lambda: time.sleep(0.01)) -> None:
    """Take steps until it has happened; fail if it does not."""
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        step()


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, taken apart."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def parse_answer(data: bytes, *, is_head: bool = False) -> tuple[Answer | None, bytes]:
    """The first answer in what was received, and what follows it; None while it is not whole."""
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        return None, data
    first, *lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    length = 0 if is_head else int(headers["content-length"])
    if len(rest) < length:
        return None, data
    return Answer(int(first.split()[1]), headers, rest[:length]), rest[length:]


def request(path: str, method: str = "GET", **headers: str) -> bytes:
    """A request as bytes; `accept_encoding="gzip"` becomes a header."""
    lines = [f"{method} {path} HTTP/1.1", "Host: test"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def connect(address: str) -> socket.socket:
    """A client's connection to `host:port`."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE)


def fetch(address: str, path: str, method: str = "GET", **headers: str) -> Answer:
    """One request over one connection."""
    with connect(address) as client:
        client.sendall(request(path, method, Connection="close", **headers))
        data = b""
        while chunk := client.recv(65536):
            data += chunk
    answer, rest = parse_answer(data, is_head=method == "HEAD")
    assert answer is not None
    assert rest == b""
    return answer


def read_reports(fd: int, decoder: pipe.Decoder, seconds: float = PATIENCE) -> list[pipe.Report]:
    """What a frontend says next; empty if it says nothing for so long, or has ended."""
    readable, _, _ = select.select([fd], [], [], seconds)
    return [pipe.parse_report(payload) for payload in decoder.feed(os.read(fd, 65536))] if readable else []
