# SPDX-License-Identifier: Apache-2.0
"""A machine through which everything goes as before, and which writes down all that was asked and answered.

This file must not know who asks, nor how it is written to a file (capture.py).
"""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from overlaywatch.kernel.calls import Call, Value, encode_answer, encode_error
from overlaywatch.kernel.devmapper import DmDevice
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.kept_file import KeptFile
from overlaywatch.kernel.machine import Machine
from overlaywatch.kernel.view import KernelView

Answer = TypeVar("Answer")

_REFUSED = (errno.EACCES, errno.EPERM)


@dataclass(slots=True)
class Recording:
    """What was asked and answered; of several answers the first, so that all are of one moment.

    Paths of files are relative (`proc/meminfo`); `refused` are those denied to us.

    `calls` has, for each call by its name, the answers by key; `paths` the keys that are paths of the machine.
    `dm` is None without device-mapper, or the name of the error with which it was refused.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)
    calls: dict[str, dict[str, dict[str, Value]]] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    dm: tuple[DmDevice, ...] | str | None = None


class RecordingMachine:
    """See Machine: the answers are those of `machine`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.root, self.world = machine.root, machine.world
        self.recording = Recording()

    def keep(self, path: Path, at_once: bool = False) -> KeptFile:
        """See Machine."""
        return _NotedFile(path, at_once, self._noted)

    def read(self, path: Path) -> bytes:
        """See Machine."""
        return self._noted(path, lambda: self._machine.read(path))

    def names(self, folder: Path) -> Sequence[str]:
        """See Machine. What is in a folder is known by what is read there: only that it is there is noted."""
        names = self._machine.names(folder)
        self.recording.folders.add(self._place(folder))
        return names

    def link(self, path: Path) -> str:
        """See Machine."""
        target = self._machine.link(path)
        self.recording.links.setdefault(self._place(path), target)
        return target

    def ask(self, call: Call[Answer], key: str) -> Answer:
        """See Machine."""
        noted = self.recording.calls.setdefault(call.name, {})
        if call.takes_path:
            self.recording.paths.add(key)
        try:
            answer = self._machine.ask(call, key)
        except OSError as error:
            if not call.probes:
                noted.setdefault(key, encode_error(error))
            raise
        noted.setdefault(key, encode_answer(answer))
        return answer

    def _noted(self, path: Path, read: Callable[[], bytes]) -> bytes:
        place = self._place(path)
        try:
            content = read()
        except OSError as error:
            if error.errno in _REFUSED:
                self.recording.refused.add(place)
            raise
        self.recording.files.setdefault(place, content)
        return content

    def _place(self, path: Path) -> str:
        root = self.root
        name, tree = next((n, t) for n, t in (("proc", root.proc), ("sys", root.sys)) if path.is_relative_to(t))
        return f"{name}/{path.relative_to(tree)}"


class _NotedFile(KeptFile):
    """A kept file whose content is noted at each read."""

    __slots__ = ("_note", "_place")

    def __init__(self, path: Path, at_once: bool, note: Callable[[Path, Callable[[], bytes]], bytes]) -> None:
        super().__init__(path, at_once)
        self._place, self._note = path, note

    def read(self) -> bytes:
        """The whole content, noted."""
        return self._note(self._place, super().read)


def note_everything(view: KernelView, recorder: RecordingMachine) -> None:
    """Ask of every device what a source may ask of one: whoever reads a report has other questions.

    `view` is a look through `recorder`.
    """
    recorder.recording.dm = _device_mapper(view)
    for name in ("meminfo", "swaps", "cmdline", "devices", "uptime"):
        _try(recorder.read, recorder.root.proc / name)
    loops = _try(lambda: view.loops) or {}
    for loop in loops.values():
        _try(view.file_allocation, loop)
        _try(view.super_block_of, loop)
        _try(view.ustat, *(loop.backing_device or (0, 0)))
    hidden = {number for number in _try(lambda: view.super_blocks) or () if number[0] and view.ustat(*number)}
    mounted = {mount.device for mount in _try(lambda: view.mounts) or () if mount.major}
    mapped = _try(lambda: view.dm) or {}
    for number in sorted({*loops, *hidden, *mounted, *mapped}):
        for ask in (view.device_name, view.size_bytes, view.pending_bytes, view.errors_count):
            _try(ask, *number)


def _device_mapper(view: KernelView) -> tuple[DmDevice, ...] | str | None:
    try:
        return tuple(view.dm.values()) if view.has_device_mapper else None
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "EIO")
    except KernelTextError:
        return "EIO"


def _try(ask: Callable[..., Answer], *about: object) -> Answer | None:
    """What went wrong has been noted."""
    try:
        return ask(*about)
    except (OSError, KernelTextError):
        return None
