# SPDX-License-Identifier: Apache-2.0
"""How full a file system is: statvfs(3) by path, ustat(2) by device number.

This file must not know what the file system rests on. ustat reaches what no path reaches: a tmpfs that stayed in the
initramfs, or was lazily unmounted, still answers to its device number (fs/statfs.c: user_get_super).
"""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StatVfs:
    """A file system's own figures; blocks are of `block_size` bytes. All zero means: no limit of its own (ramfs)."""

    block_size: int
    blocks: int
    blocks_free: int
    blocks_available: int
    files: int
    files_free: int
    read_only: bool
    flags: int


@dataclass(frozen=True, slots=True)
class Ustat:
    """What ustat(2) tells: free blocks (of the file system's block size; pages for tmpfs) and free inodes."""

    blocks_free: int
    files_free: int


def read_statvfs(path: str | os.PathLike[str]) -> StatVfs:
    """statvfs(3) of the file system that `path` is on. Raises OSError."""
    found = os.statvfs(path)
    return StatVfs(
        block_size=found.f_frsize or found.f_bsize,
        blocks=found.f_blocks,
        blocks_free=found.f_bfree,
        blocks_available=found.f_bavail,
        files=found.f_files,
        files_free=found.f_ffree,
        read_only=bool(found.f_flag & os.ST_RDONLY),
        flags=found.f_flag,
    )
