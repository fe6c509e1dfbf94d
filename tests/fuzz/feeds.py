# SPDX-License-Identifier: Apache-2.0
"""How bytes become a call of a parser: as they are, as text, as JSON, as an answer of a socket, …

This file must not know what a parser makes of them.
"""

import http.client
import io
import json
import os
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

from overlaywatch.config.checked import check
from overlaywatch.config.merge import merge
from overlaywatch.engine.errand import Errand
from overlaywatch.engine.state_file import HEADER, MAGIC
from overlaywatch.forecast import Forecaster
from overlaywatch.frontend.http_request import MAX_HEAD_BYTES
from overlaywatch.kernel import dm_wire
from overlaywatch.kernel.statfs import STATVFS
from overlaywatch.pipe import Decoder
from overlaywatch.registry import check_action
from tests.engine.bench import Bench, Recorder, decision

Parse = Callable[..., Any]
Feed = Callable[[Parse, bytes], object]

NOW: Final = 100_000.0
"""What the monotonic clock says where a parser wants to know."""

NAMES: Final = frozenset({"live-base", "live-rw", "live-overlay-pool", "ow-P", "two", "q", "n\nq", "q: 0 8 zero"})
"""Devices that there are, for output in which only known names are looked for."""

LOOP_KEYS: Final = ("size", "ro", "dev", "loop/backing_file", "loop/offset", "loop/sizelimit", "loop/autoclear")
_SEPARATOR: Final = b"\0"


class NotForThisParser(Exception):  # noqa: N818  # it is no error
    """The input is turned down before the parser: it is not JSON, say."""


def decoded(data: bytes) -> str:
    """As everything of the kernel is decoded."""
    return data.decode("utf-8", "surrogateescape")


def raw(parse: Parse, data: bytes) -> object:
    """The bytes themselves."""
    return parse(data)


def text(parse: Parse, data: bytes) -> object:
    """As text."""
    return parse(decoded(data))


def text_now(parse: Parse, data: bytes) -> object:
    """As text, and the time."""
    return parse(decoded(data), NOW)


def placed(parse: Parse, data: bytes) -> object:
    """The bytes, after the name of where they are from."""
    return parse("place", data)


def listed(parse: Parse, data: bytes) -> object:
    """All that an iterator gives of a text."""
    return tuple(parse(decoded(data)))


def bytes_listed(parse: Parse, data: bytes) -> object:
    """All that an iterator gives of bytes."""
    return tuple(parse(data))


def words(parse: Parse, data: bytes) -> object:
    """The words of a text."""
    return parse(decoded(data).split())


def dmsetup_lines(parse: Parse, data: bytes) -> object:
    """Output in which NAMES are looked for."""
    return parse("dmsetup", decoded(data), NAMES)


def dm_targets(parse: Parse, data: bytes) -> object:
    """An answer and its header."""
    return parse(data, dm_wire.parse_answer(data))


def loop_attributes(parse: Parse, data: bytes) -> object:
    """The attributes of a loop in the order of LOOP_KEYS, in one text."""
    parts = data.split(_SEPARATOR)
    parts += [b"0\n"] * (len(LOOP_KEYS) - len(parts))
    return parse("loop2", dict(zip(LOOP_KEYS, parts, strict=False)))


def joined_attributes(attributes: Mapping[str, bytes]) -> bytes:
    """The other way round."""
    return _SEPARATOR.join(attributes[key] for key in LOOP_KEYS)


def statvfs(parse: Parse, data: bytes) -> object:
    """Eleven integers of the machine as an answer of statvfs(3)."""
    return parse(os.statvfs_result(struct.unpack("=11Q", data[:88].ljust(88, b"\0"))))


def head(parse: Parse, data: bytes) -> object:
    """A head, no longer than end_of_head() lets pass."""
    if len(data) > MAX_HEAD_BYTES:
        raise NotForThisParser
    return parse(data)


def buffer(parse: Parse, data: bytes) -> object:
    """A buffer that is filled by a socket."""
    return parse(bytearray(data))


def accept_encoding(parse: Parse, data: bytes) -> object:
    """The value of a header."""
    if len(data) > MAX_HEAD_BYTES:
        raise NotForThisParser
    return parse({"accept-encoding": data.decode("latin-1")})


def as_json(data: bytes) -> object:
    """What a JSON text says."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise NotForThisParser from None


def of_json(parse: Parse, data: bytes) -> object:
    """The value of a JSON text."""
    return parse(as_json(data))


def of_json_now(parse: Parse, data: bytes) -> object:
    """The value of a JSON text, and the time."""
    return parse(as_json(data), NOW)


def captured_answer(parse: Parse, data: bytes) -> object:
    """The answer to a system call, as a captured machine has it."""
    value = as_json(data)
    if not isinstance(value, dict):
        raise NotForThisParser
    return parse(STATVFS, value)


def manifest(parse: Parse, data: bytes) -> object:
    """The manifest of a captured machine, which is told apart by its path."""
    try:
        return parse(Path("manifest.toml"), data.decode("utf-8"))
    except UnicodeDecodeError:
        raise NotForThisParser from None


def of_object(parse: Parse, data: bytes) -> object:
    """The value of a JSON text if it is an object."""
    value = as_json(data)
    if not isinstance(value, dict):
        raise NotForThisParser
    return parse(value)


def restored_now(kind: type[Any]) -> Feed:
    """The same, for what is told the time."""

    def feed(restore: Parse, data: bytes) -> object:
        kept = kind()
        restore(kept, as_json(data), NOW)
        return kept.as_json()

    return feed


def of_errand(parse: Parse, data: bytes) -> object:
    """The bytes themselves, from whom an errand was given."""
    recorder = Recorder("purge")
    return parse(data, Errand(recorder, decision("purge"), Bench([recorder]).around))


def restored(kind: type[Any]) -> Feed:
    """What an object of this class, made without arguments, would save after restore(value)."""

    def feed(restore: Parse, data: bytes) -> object:
        kept = kind()
        restore(kept, as_json(data))
        return kept.as_json()

    return feed


def forecaster(parse: Parse, data: bytes) -> object:
    """A forecaster's saved self again: itself it has no shape that can be walked."""
    return cast("Forecaster", parse(as_json(data), NOW)).to_json()


def history(parse: Parse, data: bytes) -> object:
    """The same of one mount point."""
    return parse(as_json(data), NOW).to_json()


def ledger(parse: Parse, data: bytes) -> object:
    """A ledger, as it would be saved."""
    return parse(as_json(data)).as_json()


def chunks(feed: Parse, data: bytes) -> object:
    """A stream in pieces of 1, 2, 3, … bytes into a decoder of small frames."""
    decoder, payloads, at, size = Decoder(limit=1024), [], 0, 1
    while at < len(data):
        payloads += feed(decoder, data[at : at + size])
        at, size = at + size, size + 1
    return payloads


def slot_body(parse: Parse, data: bytes) -> object:
    """A slot of the state file whose checksum is right, whatever is in it."""
    return parse(HEADER.pack(MAGIC, 7, len(data), zlib.crc32(data)) + data)


def toml(parse: Parse, data: bytes) -> object:
    """A file of the configuration."""
    return parse("overlaywatch.toml", data)


def watchdog(parse: Parse, data: bytes) -> object:
    """WATCHDOG_USEC, and no WATCHDOG_PID."""
    return parse(decoded(data), None)


def zram(parse: Parse, data: bytes) -> object:
    """A line of mm_stat, of a device without a size."""
    return parse(decoded(data), 0)


class _Socket:
    """As much of a socket as http.client reads an answer from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def http_answer(parse: Parse, data: bytes) -> object:
    """The answer to a POST."""
    response = http.client.HTTPResponse(cast("Any", _Socket(data)), method="POST")
    try:
        response.begin()
        return parse(response)
    except Exception:  # as Flight.run() does: http.client raises whatever comes, even OverflowError
        raise NotForThisParser from None
    finally:
        response.close()


def configuration(parse: Parse, data: bytes) -> object:
    """A whole configuration of one file: merged, every key read, every action looked at."""
    return check(merge([parse("overlaywatch.toml", data)]), check_action)[0].policies
