# SPDX-License-Identifier: Apache-2.0
"""Whose mount table is the machine's, and how its paths are reached from here.

This file must not know what is mounted. A service that its manager hardened (PrivateTmp=, ProtectSystem=) runs in a
copy of the mount table with other file systems and flags; the machine's is that of process 1, and its paths are found
below /proc/1/root (proc_pid_root(5), which takes the privilege to trace process 1). Anybody else in a mount namespace
of their own is there on purpose and means their own.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from overlaywatch.kernel.root import KernelRoot


@dataclass(frozen=True, slots=True)
class MountWorld:
    """A mount table and the prefix under which its paths are seen from here."""

    table: Path
    prefix: str = ""

    def path(self, path: str) -> str:
        """Where this process finds what the table calls `path`."""
        return self.prefix + path


def choose_world(root: KernelRoot, same_namespace: bool | None, started_by_init: bool) -> MountWorld:
    """The rule alone: `same_namespace` is None where it may not be asked."""
    if same_namespace:
        return MountWorld(root.proc / "1" / "mountinfo")
    if same_namespace is False and started_by_init:
        return MountWorld(root.proc / "1" / "mountinfo", prefix=str(root.proc / "1" / "root"))
    return MountWorld(root.proc / "self" / "mountinfo")


def read_world(root: KernelRoot) -> MountWorld:
    """The world of this process; of a captured machine, whichever table was captured."""
    if not root.is_live:
        first = root.proc / "1" / "mountinfo"
        return MountWorld(first if first.exists() else root.proc / "self" / "mountinfo")
    return choose_world(root, _same_namespace(root), started_by_init=os.getppid() == 1)


def _same_namespace(root: KernelRoot) -> bool | None:
    """Whether process 1 sees the same mounts from the same root; None without the privilege to ask."""
    try:
        theirs = os.stat(root.proc / "1" / "ns" / "mnt"), os.stat(root.proc / "1" / "root")
        ours = os.stat(root.proc / "self" / "ns" / "mnt"), os.stat("/")
    except OSError:
        return None
    return all(os.path.samestat(one, other) for one, other in zip(theirs, ours, strict=True))
