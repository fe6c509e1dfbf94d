# SPDX-License-Identifier: Apache-2.0
"""What engine and frontend say to each other, and how it lies in the pipe.

A frame is its length (four bytes, big-endian) and so many bytes of JSON: one object, UTF-8. This file
must not know who reads or writes, or any file descriptor. The engine believes nothing that comes from
the frontend: parse_report() gives it a checked record, or FrameError.

    engine → frontend   {"type": "tick", "status": {...}, "daemon": {...}}     schema.py
                        {"type": "receivers", "urls": [...]}                   others than those that it was forked with
                        {"type": "notify", ...}                                actions/notification.py
                        {"type": "goodbye"}                                    deliver what is pending, then exit
    frontend → engine   {"type": "listening", ...}  Listening
                        {"type": "delivered", ...}  Delivered
                        {"type": "problem", ...}    Problem
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
GOODBYE: Final[Mapping[str, object]] = {"type": "goodbye"}

_HEADER_BYTES: Final = 4
_MAX_TEXT: Final = 4096
_MAX_ADDRESSES: Final = 64
_TICK_BEGINS: Final = b'{"type": "tick", '


class FrameError(ValueError):
    """What came through the pipe is no frame, or not one that was agreed on."""


def encode(frame: Mapping[str, object]) -> bytes:
    """A frame with its length. Raises FrameError if it is larger than a frame may be."""
    return _with_length(json.dumps(frame).encode("ascii"))


def encode_tick(status_json: bytes, daemon: Mapping[str, object]) -> bytes:
    """The tick frame around a status document that is JSON already (document.JsonCache). It is copied once."""
    rest = json.dumps(daemon).encode("ascii")
    parts = (_TICK_BEGINS, b'"status": ', status_json, b', "daemon": ', rest, b"}")
    return b"".join((_length(sum(map(len, parts))), *parts))


def _with_length(payload: bytes) -> bytes:
    return _length(len(payload)) + payload


def _length(size: int) -> bytes:
    if size > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {size} bytes; at most {MAX_FRAME_BYTES} are agreed on")
    return size.to_bytes(_HEADER_BYTES, "big")


class Decoder:
    """Cuts what arrives into payloads. It never holds more than one frame and one read."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that are complete now. Raises FrameError on a length beyond the limit."""
        self._buffer += data
        payloads, start = [], 0
        while len(self._buffer) - start >= _HEADER_BYTES:
            body = start + _HEADER_BYTES
            length = int.from_bytes(self._buffer[start:body], "big")
            if length > self._limit:
                raise FrameError(f"a frame of {length} bytes announced; at most {self._limit} are agreed on")
            if len(self._buffer) - body < length:
                break
            payloads.append(bytes(self._buffer[body : body + length]))
            start = body + length
        del self._buffer[:start]
        return payloads


def is_tick(payload: bytes) -> bool:
    """Whether it is a tick as encode_tick writes it: told without parsing, for who wants only the last one."""
    return payload.startswith(_TICK_BEGINS)


def parse(payload: bytes) -> dict[str, object]:
    """The object in a payload. Raises FrameError if it is none, or has no type."""
    try:
        frame = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a frame that is not JSON: {error}") from None
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise FrameError("a frame that is not an object with a type")
    return frame


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the frontend answers HTTP now: `host:port` each. `failed` says why where it does not.

    `runs_as` is a sentence about the privileges it has given up.
    """

    addresses: tuple[str, ...]
    failed: tuple[str, ...] = ()
    runs_as: str = ""


@dataclass(frozen=True, slots=True)
class Delivered:
    """That a notification arrived at `target` (a URL without its secrets), or failed there for the first time.

    `outcome` is `applied` or `failed`; `final` that nothing more will be tried.
    """

    id: str
    receiver: str
    firing: bool
    target: str
    outcome: str
    error: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, for the log: the frontend has none."""

    text: str


Report = Listening | Delivered | Problem

_REPORTS: Final[Mapping[str, type[Report]]] = {"listening": Listening, "delivered": Delivered, "problem": Problem}
_NAMES: Final = {kind: name for name, kind in _REPORTS.items()}


def encode_report(report: Report) -> bytes:
    """A report as a frame; long texts are cut."""
    fields = {key: _cut(value) for key, value in asdict(report).items()}
    return encode({"type": _NAMES[type(report)], **fields})


def _cut(value: object) -> object:
    if isinstance(value, str):
        return value[:_MAX_TEXT]
    return [_cut(each) for each in value[:_MAX_ADDRESSES]] if isinstance(value, tuple) else value


def parse_report(payload: bytes) -> Report:
    """A checked report of the frontend. Raises FrameError for anything else."""
    frame = parse(payload)
    kind = frame["type"]
    if kind == "listening":
        return Listening(_texts(frame, "addresses"), _texts(frame, "failed"), _text(frame, "runs_as"))
    if kind == "problem":
        return Problem(_text(frame, "text"))
    if kind != "delivered":
        raise FrameError("a report of an unknown type")
    return Delivered(
        id=_text(frame, "id"),
        receiver=_text(frame, "receiver"),
        firing=_flag(frame, "firing"),
        target=_text(frame, "target"),
        outcome=_outcome(frame),
        error=_text(frame, "error"),
        final=_flag(frame, "final"),
    )


def _text(frame: Mapping[str, object], key: str) -> str:
    value = frame.get(key)
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise FrameError(f"a report whose {key} is not a text of at most {_MAX_TEXT} characters")
    return value


def _texts(frame: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = frame.get(key)
    if not isinstance(value, list) or len(value) > _MAX_ADDRESSES:
        raise FrameError(f"a report whose {key} is not a list of at most {_MAX_ADDRESSES} texts")
    return tuple(_text({key: each}, key) for each in value)


def _flag(frame: Mapping[str, object], key: str) -> bool:
    value = frame.get(key)
    if not isinstance(value, bool):
        raise FrameError(f"a report whose {key} is neither true nor false")
    return value


def _outcome(frame: Mapping[str, object]) -> str:
    outcome = _text(frame, "outcome")
    if outcome not in ("applied", "failed"):
        raise FrameError("a report of a delivery that was neither applied nor failed")
    return outcome
