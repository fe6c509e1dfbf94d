# SPDX-License-Identifier: Apache-2.0
"""The metrics as a file, for node_exporter's textfile collector (`--textfile`).

This file must not know what is in it. The folder is opened once, before privilege is given up, and
must not be on the root file system: that is the one that is guarded. The file is replaced by rename(2),
so that no reader ever sees half of it, and removed at the end: what nobody measures is not told.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

EVERY: Final = 15.0
"""Seconds between two writes; Prometheus scrapes node_exporter about as often."""

_SUFFIX: Final = ".prom"
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


class TextfileError(Exception):
    """The file cannot be written there; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the file goes: a descriptor of its folder, which outlives a dead root, and its name."""

    folder: int
    name: str


def prepare(path: str, root: str = "/") -> Place:
    """Open the folder. Raises TextfileError if the path is none for a textfile collector."""
    folder, name = os.path.split(path)
    if not folder.startswith("/") or not name.endswith(_SUFFIX) or name.startswith("."):
        raise TextfileError(f"expected an absolute path that ends in NAME{_SUFFIX}, as node_exporter reads them")
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise TextfileError(
            f"{folder}: {error.strerror}; make a folder that the user overlaywatch may write"
        ) from error
    if os.fstat(descriptor).st_dev == os.stat(root).st_dev:
        os.close(descriptor)
        raise TextfileError(f"{folder} is on the file system that is guarded; name a folder on a tmpfs, below /run")
    return Place(descriptor, name)


class Textfile:
    """Writes when it is time. `render` gives the text, `clock` monotonic seconds."""

    def __init__(self, place: Place, render: Callable[[], bytes], clock: Callable[[], float]) -> None:
        self._place, self._render, self._clock = place, render, clock
        self._next: float | None = None

    def begin(self) -> None:
        """There is something to tell: from now on."""
        if self._next is None:
            self._next = self._clock()

    def next_due(self) -> float | None:
        """When step() will write again, on `clock`; None before begin()."""
        return self._next

    def step(self) -> str:
        """Write if it is time. What went wrong, or an empty string; it is tried again at the next time."""
        if self._next is None or self._clock() < self._next:
            return ""
        self._next = self._clock() + EVERY
        try:
            self._replace(self._render())
        except OSError as error:
            self._remove(self._scratch)
            return (
                f"--textfile: {self._place.name}: {error.strerror}; the user overlaywatch must be able to write there"
            )
        return ""

    def close(self) -> None:
        """Take the file away."""
        self._remove(self._place.name)

    @property
    def _scratch(self) -> str:
        return f".{self._place.name}.tmp"

    def _replace(self, body: bytes) -> None:
        folder = self._place.folder
        descriptor = os.open(self._scratch, _FLAGS, 0o644, dir_fd=folder)
        try:
            os.fchmod(descriptor, 0o644)  # node_exporter is another user, and the unit's umask is narrow
            while body:
                body = body[os.write(descriptor, body) :]
        finally:
            os.close(descriptor)
        os.rename(self._scratch, self._place.name, src_dir_fd=folder, dst_dir_fd=folder)

    def _remove(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(name, dir_fd=self._place.folder)
