# SPDX-License-Identifier: Apache-2.0
"""How xfs and f2fs tell that they have met an error: neither statvfs nor the mount table says it.

This file must not know what follows from it. xfs that has shut itself down answers statvfs as before, and gives EIO to
whoever opens something (xfs_file_open in fs/xfs/xfs_file.c; measured on 6.1). f2fs shows flags in sysfs from 5.11 on
(Documentation/ABI/testing/sysfs-fs-f2fs, stat/sb_status).
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overlaywatch.kernel.blockdev import ReadFile
from overlaywatch.kernel.calls import Call
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.root import KernelRoot

_NEED_FSCK: Final = 0x4
_IS_SHUTDOWN: Final = 0x40
_HEXADECIMAL: Final = frozenset(b"0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Whether a file system has shut itself down, or wants to be checked."""

    shut_down: bool = False
    needs_check: bool = False


def _ask_xfs(path: str) -> Trouble:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return Trouble(shut_down=True)
    return Trouble()


XFS: Final = Call("xfs", Trouble, _ask_xfs, takes_path=True)


def parse_f2fs_status(content: bytes) -> Trouble:
    """The flags of stat/sb_status, in hexadecimal."""
    text = content.strip()
    if not text or not _HEXADECIMAL.issuperset(text):
        raise KernelTextError("sb_status", "a hexadecimal number", content.decode("utf-8", "replace"))
    flags = int(text, 16)
    return Trouble(bool(flags & _IS_SHUTDOWN), bool(flags & _NEED_FSCK))


def read_f2fs(root: KernelRoot, name: str, read: ReadFile = Path.read_bytes) -> Trouble:
    """The f2fs on the device called `name`. Raises OSError where the kernel does not tell."""
    return parse_f2fs_status(read(root.sys / "fs" / "f2fs" / name / "stat" / "sb_status"))
