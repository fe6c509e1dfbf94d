# SPDX-License-Identifier: Apache-2.0
"""Finding the files that a purge may delete. Nothing is changed here.

This file must not know how many of them will be chosen, or how they are deleted. The tree belongs to
hostile users: they rename, link and replace while we look. So the walk holds descriptors of folders
and never a path; it follows no symbolic link and crosses no mount (kernel/beneath.py); it takes
regular files only, and looks at each through a handle that cannot become another file. What it
says of a file is true of that moment; whoever deletes looks again.
"""

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from overlaywatch.actions import denied
from overlaywatch.actions.globs import PatternSet, States
from overlaywatch.kernel import beneath
from overlaywatch.kernel.openfiles import InUse

DEEPEST: Final = 64
"""Folders below folders: each level holds two descriptors while it is walked."""

_MOST_NOTES: Final = 3
_REASONS: Final = {
    errno.EXDEV: "on another mount",
    errno.ELOOP: "behind a symbolic link",
    errno.ENOTDIR: "replaced meanwhile",
    errno.ENOENT: "gone meanwhile",
    errno.EACCES: "not permitted",
    errno.EPERM: "not permitted",
}


@dataclass(frozen=True, slots=True)
class File:
    """A regular file with one name, as it was when it was looked at.

    `path` is for people, `below` is the way from the mount point. `room_bytes` is what its removal
    gives back, `touched` the newest of its times in Unix seconds.
    """

    path: str
    below: str
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    room_bytes: int
    touched: float

    def is_still(self, found: os.stat_result) -> bool:
        """Whether what is there now is this very file, untouched, and has no second name."""
        return (
            stat.S_ISREG(found.st_mode)
            and found.st_nlink == 1
            and (found.st_dev, found.st_ino) == (self.device, self.inode)
            and (found.st_size, found.st_mtime_ns, found.st_ctime_ns) == (self.size, self.mtime_ns, self.ctime_ns)
        )


class Worth(Protocol):
    """What the removal of a file gives back."""

    @property
    def why_none(self) -> str:
        """Why a file for which nothing is given back is left alone: a word or two for the summary."""
        ...

    def bytes_back(self, below: str, found: os.stat_result) -> int | None:
        """Bytes, or None: removing this file would free nothing, or even cost room."""
        ...


@dataclass(frozen=True, slots=True)
class Rules:
    """Which files are meant. `touched_before` in Unix seconds; `off_limits` are folders by (st_dev, st_ino)."""

    patterns: PatternSet
    touched_before: float
    off_limits: frozenset[tuple[int, int]]
    in_use: InUse
    worth: Worth


@dataclass(slots=True)
class Findings:
    """What a walk has found: the files, and for what reasons how many others were passed over."""

    files: list[File] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    complete: bool = True


class Walk:
    """One walk below one mount point, until it has seen all or `enough()` says so."""

    def __init__(self, mount_point: str, rules: Rules, enough: Callable[[], bool]) -> None:
        self._above = mount_point.rstrip("/") + "/"
        self._rules = rules
        self._patterns = rules.patterns
        self._enough = enough
        self._findings = Findings()

    def run(self, root: int) -> Findings:
        """Walk below the open mount point. Raises OSError only if that itself cannot be read."""
        states = self._patterns.start()
        for name in self._above.strip("/").split("/") if self._above != "/" else []:
            states = self._patterns.step(states, name)
        if states:
            self._folder(root, "", states, 0)
        return self._findings

    def _folder(self, folder: int, below: str, states: States, depth: int) -> None:
        for name in self._names(folder, states):
            if self._enough():
                self._findings.complete = False
                return
            after = self._patterns.step(states, name)
            if after:
                try:
                    self._entry(folder, name, f"{below}{name}", after, depth)
                except OSError as error:
                    self._pass(_REASONS.get(error.errno or 0, "unreadable"))

    def _names(self, folder: int, states: States) -> Iterator[str]:
        """Names worth a look: those that the patterns spell out, without listing the folder, or all."""
        spelled = self._patterns.names(states)
        if spelled is not None:
            yield from sorted(spelled)
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry.name

    def _entry(self, folder: int, name: str, below: str, states: States, depth: int) -> None:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            if self._patterns.leads_on(states):
                self._descend(folder, name, below, states, depth)
        elif stat.S_ISLNK(mode) and self._patterns.leads_on(states):
            self._note_link(below)
        elif self._patterns.matches(states):
            self._consider(folder, name, below)

    def _descend(self, folder: int, name: str, below: str, states: States, depth: int) -> None:
        if depth >= DEEPEST:
            self._pass("too deep")
            return
        child = beneath.open_directory(folder, name)
        try:
            found = os.fstat(child)
            if name in denied.FOLDERS or (found.st_dev, found.st_ino) in self._rules.off_limits:
                self._pass("protected folder")
            else:
                self._folder(child, below + "/", states, depth + 1)
        finally:
            os.close(child)

    def _consider(self, folder: int, name: str, below: str) -> None:
        handle = beneath.open_handle(folder, name)
        try:
            found = os.fstat(handle)
        finally:
            os.close(handle)
        path = self._above + below
        touched = max(found.st_mtime, found.st_ctime, found.st_atime)
        objection = self._objection(found, path, touched)
        room = None if objection else self._rules.worth.bytes_back(below, found)
        if room is None:
            self._pass(objection or self._rules.worth.why_none)
            return
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        self._findings.files.append(File(path, below, *identity, room_bytes=room, touched=touched))

    def _objection(self, found: os.stat_result, path: str, touched: float) -> str:
        """Why a file that a pattern means is left alone all the same."""
        if not stat.S_ISREG(found.st_mode):
            return "not a regular file"
        if found.st_nlink != 1:
            return "has another name (hard link)"
        if touched >= self._rules.touched_before:
            return "too young"
        if (found.st_dev, found.st_ino, path) in self._rules.in_use:
            return "in use"
        return ""

    def _pass(self, reason: str) -> None:
        self._findings.passed[reason] += 1

    def _note_link(self, below: str) -> None:
        """Silence would hide that a pattern such as /var/run/* can never find anything."""
        self._pass("symbolic link")
        if len(self._findings.notes) < _MOST_NOTES:
            self._findings.notes.append(f"{self._above}{below} is a symbolic link and is not followed")
