# SPDX-License-Identifier: Apache-2.0
"""The one door to a machine: files of the kernel, and system calls. Whoever looks goes through it.

This file must not know what is asked. Three machines have it: the running one (here), a captured one (captured.py),
and either of them while all that is asked is written down (recording.py). So whatever a new source reads through here
is captured and answered from a capture without another line; for a new system call see calls.py.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from overlaywatch.kernel.calls import Call
from overlaywatch.kernel.kept_file import KeptFile
from overlaywatch.kernel.namespace import MountWorld, read_world
from overlaywatch.kernel.root import KernelRoot

Answer = TypeVar("Answer")


class Machine(Protocol):
    """Everything raises OSError. Paths of files are below `root`; those that a Call takes are the machine's own."""

    @property
    def root(self) -> KernelRoot:
        """Where the kernel's files are."""
        ...

    @property
    def world(self) -> MountWorld:
        """Which mount table is the machine's."""
        ...

    def keep(self, path: Path, at_once: bool = False) -> KeptFile:
        """A file that is read at every look."""
        ...

    def read(self, path: Path) -> bytes:
        """A file that is read now and then."""
        ...

    def names(self, folder: Path) -> Sequence[str]:
        """What is in a folder."""
        ...

    def link(self, path: Path) -> str:
        """Where a symbolic link points to."""
        ...

    def ask(self, call: Call[Answer], key: str) -> Answer:
        """The answer to a system call."""
        ...


class FilesMachine:
    """The part that the running machine and an unpacked capture have in common: files below a root."""

    def __init__(self, root: KernelRoot) -> None:
        self.root = root
        self.world = read_world(root)

    def keep(self, path: Path, at_once: bool = False) -> KeptFile:
        """See Machine."""
        return KeptFile(path, at_once)

    def read(self, path: Path) -> bytes:
        """See Machine."""
        return path.read_bytes()

    def names(self, folder: Path) -> Sequence[str]:
        """See Machine."""
        return os.listdir(folder)

    def link(self, path: Path) -> str:
        """See Machine."""
        return os.readlink(path)


class LiveMachine(FilesMachine):
    """The running machine."""

    def __init__(self) -> None:
        super().__init__(KernelRoot())

    def ask(self, call: Call[Answer], key: str) -> Answer:
        """See Machine."""
        return call.ask(self.world.path(key) if call.takes_path else key)
