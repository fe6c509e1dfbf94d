# SPDX-License-Identifier: Apache-2.0
"""A captured machine, unpacked: the kernel's files in their places, and the answers to system calls in `calls.toml`.

This file must not know how a capture is made (recording.py, capture.py). Nothing is ever taken from the machine that
it is read on. What is not there, or makes no sense, is an error that names file and place: unknown, never zero.

    manifest.toml    when and by what it was captured, and of which host
    calls.toml       statvfs, stat, ustat, loop: one line for each answer, or {error = "ENOENT"}
    dm/              device-mapper, in the spelling of dmsetup(8): info, table, status
    proc/ sys/       what the kernel's files say, byte by byte but for names that are nobody's business
"""

import errno
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from overlaywatch.kernel.calls import Call, decode
from overlaywatch.kernel.machine import FilesMachine
from overlaywatch.kernel.mountinfo import unescape
from overlaywatch.kernel.root import KernelRoot
from overlaywatch.model import Host

Answer = TypeVar("Answer")

FORMAT: Final = 1
MANIFEST: Final = "manifest.toml"
CALLS: Final = "calls.toml"
LARGEST_FILE: Final = 64 * 1024 * 1024
"""Bytes; a mount table of 100,000 lines is smaller."""

NOBODY: Final = Host(hostname="host", kernel="", boot_id="", privileged=True)


class CaptureError(Exception):
    """A folder that cannot be read as a captured machine: where, why, and what to do."""

    def __init__(self, place: Path, why: str, remedy: str) -> None:
        super().__init__(f"{place}: {why}; {remedy}")
        self.place, self.why, self.remedy = str(place), why, remedy


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of a capture. `captured_at` is in Unix seconds; None of a machine that was written by hand.

    `missing` tells in words what could not be recorded; `origin` whether it is a real machine, and where it is from.
    """

    host: Host = NOBODY
    captured_at: float | None = None
    overlaywatch: str = ""
    python: str = ""
    origin: str = ""
    missing: tuple[str, ...] = ()


class CapturedMachine(FilesMachine):
    """What a folder says of a machine."""

    def __init__(self, folder: Path, manifest: Manifest | None = None) -> None:
        super().__init__(KernelRoot.below(folder))
        self.manifest = Manifest() if manifest is None else manifest
        self.folder = folder
        self._calls = folder / CALLS
        self._answers: Mapping[str, Mapping[str, object]] | OSError | None = None

    def ask(self, call: Call[Answer], key: str) -> Answer:
        """See Machine. Raises the OSError that is written down, or one that says what is wrong with the capture."""
        entry = self._table(call.name).get(key)
        if entry is None:
            raise OSError(errno.ENODATA, f"the captured machine has no {call.name} of it in {self._calls}", key)
        try:
            return decode(call, entry if isinstance(entry, dict) else {})
        except ValueError as error:
            raise OSError(errno.EBADMSG, f"{self._calls}: {call.name}, {key!r}: {error}", key) from None

    @property
    def uptime_seconds(self) -> float:
        """Since boot; 0 if it is not known: nothing that waits for an uptime is then due."""
        try:
            return max(0.0, float(self.read(self.root.proc / "uptime").split()[0]))
        except (OSError, ValueError, IndexError):
            return 0.0

    def _table(self, name: str) -> Mapping[str, object]:
        if self._answers is None:
            self._answers = read_answers(self._calls)
        if isinstance(self._answers, OSError):
            raise OSError(self._answers.errno, self._answers.strerror)
        return self._answers.get(name, {})


def read_answers(path: Path) -> Mapping[str, Mapping[str, object]] | OSError:
    """Call to key to answer, of `calls.toml`; or why it cannot be read. Keys are spelled as in the mount table."""
    try:
        tables = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        return OSError(error.errno, f"{path}: {error.strerror}; it is part of every capture")
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, UnicodeDecodeError; numbers of 5000 digits
        return OSError(errno.EBADMSG, f"{path}: {error}; correct it, or capture again")
    return {
        name: {unescape(key): entry for key, entry in table.items()}
        for name, table in tables.items()
        if isinstance(table, dict)
    }


def open_capture(folder: Path) -> CapturedMachine:
    """The machine in a folder. Raises CaptureError if it is none."""
    if folder.is_file():
        raise CaptureError(folder, "a file, not a folder", f"unpack it: tar -xf {folder}")
    path = folder / MANIFEST
    if os.path.lexists(path):
        _must_be_self_contained(folder)
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        remedy = "expected the folder of an unpacked capture (overlaywatch capture FILE.tar)"
        raise CaptureError(path, error.strerror or str(error), remedy) from None
    except UnicodeDecodeError as error:
        raise CaptureError(path, str(error), "it is text in UTF-8; capture again") from None
    return CapturedMachine(folder, parse_manifest(path, text))


def _must_be_self_contained(folder: Path) -> None:
    """Whoever made the archive chose its links: none may lead to this machine, and nothing may be waited for.

    /dev/null is let through: it says that a configuration file is not there.
    """
    inside = os.path.realpath(folder)
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in (*folders, *files)):
            found = path.lstat()
            if stat.S_ISLNK(found.st_mode):
                target = Path(os.path.realpath(path))  # not resolve(), which raises RuntimeError for a loop
                if not target.is_relative_to(inside) and target != Path(os.devnull):
                    raise CaptureError(path, "a symbolic link that leads out of the capture", "remove it")
            elif not stat.S_ISDIR(found.st_mode) and not stat.S_ISREG(found.st_mode):
                raise CaptureError(path, "neither a file nor a folder nor a symbolic link", "remove it")
            elif found.st_size > LARGEST_FILE:
                raise CaptureError(path, f"larger than {LARGEST_FILE // 2**20} MiB", "remove it")


def parse_manifest(path: Path, text: str) -> Manifest:
    """The manifest in a text. Raises CaptureError."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError; numbers of 5000 digits
        raise CaptureError(path, str(error), "correct it, or capture again") from None
    if table.get("format") != FORMAT:
        found = table.get("format", "none")
        raise CaptureError(path, f"format: expected {FORMAT}, found {found}", "read it with the version that made it")
    fields = _Fields(path, table)
    host = Host(
        hostname=fields.text("hostname", "host"),
        kernel=fields.text("kernel", ""),
        boot_id=fields.text("boot_id", ""),
        privileged=fields.flag("privileged", True),
        notes=fields.texts("notes"),
    )
    return Manifest(
        host=host,
        captured_at=fields.time("captured_at"),
        overlaywatch=fields.text("overlaywatch", ""),
        python=fields.text("python", ""),
        origin=fields.text("origin", ""),
        missing=fields.texts("missing"),
    )


class _Fields:
    """The keys of a manifest, each of the kind that it must be. Unknown ones may come from a later version."""

    def __init__(self, path: Path, table: Mapping[str, object]) -> None:
        self._path, self._table = path, table

    def text(self, key: str, otherwise: str) -> str:
        value = self._table.get(key, otherwise)
        return value if isinstance(value, str) else self._refuse(key, "text")

    def flag(self, key: str, otherwise: bool) -> bool:
        value = self._table.get(key, otherwise)
        return value if isinstance(value, bool) else bool(self._refuse(key, "true or false"))

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._table.get(key, [])
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return tuple(value)
        return (self._refuse(key, "a list of texts"),)

    def time(self, key: str) -> float | None:
        value = self._table.get(key)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e11):
            return value
        return float(self._refuse(key, "seconds since 1970"))

    def _refuse(self, key: str, expected: str) -> str:
        raise CaptureError(self._path, f"{key}: expected {expected}, found {self._table[key]!r}", "correct it")
