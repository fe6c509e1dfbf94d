# SPDX-License-Identifier: Apache-2.0
"""What removing a file really gives back, by the kind of storage that it lies on.

This file must not know which files are meant. Three truths, any of which may hold at once:

* A plain file system gives back the blocks of the file.
* A union (overlayfs, AUFS) gives back only what lies in its writable branch. Removing a file of the
  image below costs room: a whiteout. If the upper directory can be reached, the file must be in it, with
  the very same figures. Else the file must have been changed since boot: nothing but the writable
  branch can hold a change. (st_dev does not tell: a copied-up file keeps that of the image.)
* Over a dm-snapshot nothing is given back, but the chunks that were written since boot can be used
  again. Blocks of the image are no such chunks: to use those costs new ones.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from overlaywatch.actions.purge_walk import Worth
from overlaywatch.kernel import beneath
from overlaywatch.model import Mount, Verdict

UNIONS: Final = frozenset({"overlay", "overlayfs", "aufs"})
_OF_THE_IMAGE: Final = "of the image below, gives nothing back"
_BLOCK: Final = 512  # of st_blocks, whatever the file system's own block size; inode(7)


@dataclass(frozen=True, slots=True)
class Allocated:
    """All of the file's blocks."""

    why_none: str = ""

    def bytes_back(self, below: str, found: os.stat_result) -> int | None:
        """What is allocated: a sparse file holds less than its size."""
        del below
        return found.st_blocks * _BLOCK


@dataclass(frozen=True, slots=True)
class SinceBoot:
    """Only files whose inode changed since boot (Unix seconds); the kernel sets st_ctime, nobody else can."""

    boot: float
    why_none: str = _OF_THE_IMAGE

    def bytes_back(self, below: str, found: os.stat_result) -> int | None:
        """What is allocated, or None for what was there before."""
        del below
        return found.st_blocks * _BLOCK if found.st_ctime > self.boot else None


@dataclass(frozen=True, slots=True)
class InUpper:
    """Only files that lie in the upper directory of an overlay: `upper` is a descriptor of it."""

    upper: int
    why_none: str = _OF_THE_IMAGE

    def bytes_back(self, below: str, found: os.stat_result) -> int | None:
        """What is allocated in the upper directory, or None."""
        try:
            handle = beneath.open_handle(self.upper, below)
        except OSError:
            return None
        try:
            there = os.fstat(handle)
        finally:
            os.close(handle)
        return there.st_blocks * _BLOCK if _figures(there) == _figures(found) else None


@dataclass(frozen=True, slots=True)
class Both:
    """Only what two others agree on; the smaller of their figures."""

    one: Worth
    other: Worth

    @property
    def why_none(self) -> str:
        """The same for both."""
        return self.one.why_none

    def bytes_back(self, below: str, found: os.stat_result) -> int | None:
        """Bytes, or None if one of them says so."""
        first, second = self.one.bytes_back(below, found), self.other.bytes_back(below, found)
        return None if first is None or second is None else min(first, second)


@contextlib.contextmanager
def worth_on(verdict: Verdict, root: int, boot: float) -> Iterator[Worth]:
    """What removal gives back below the open mount point `root`; `boot` is in Unix seconds."""
    with contextlib.ExitStack() as stack:
        worth: Worth = Allocated() if verdict.reclaimable else SinceBoot(boot)
        if verdict.mount.fstype in UNIONS:
            upper = _open_upper(verdict.mount, root)
            if upper is None:
                yield SinceBoot(boot)
                return
            stack.callback(os.close, upper)
            worth = Both(InUpper(upper), worth)
        yield worth


def _open_upper(mount: Mount, root: int) -> int | None:
    """The upper directory, if the path of mount time still leads to the file system that the overlay shows."""
    if not mount.upperdir.startswith("/"):
        return None
    try:
        upper = os.open(mount.upperdir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    here, there = os.statvfs(root), os.statvfs(upper)
    if (here.f_blocks, here.f_frsize, here.f_files) == (there.f_blocks, there.f_frsize, there.f_files):
        return upper
    os.close(upper)
    return None


def _figures(found: os.stat_result) -> tuple[int, ...]:
    """What overlayfs passes on unchanged from the upper file (fs/overlayfs/inode.c, ovl_getattr)."""
    return (found.st_mode, found.st_uid, found.st_gid, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
