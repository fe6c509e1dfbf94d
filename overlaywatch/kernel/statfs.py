# SPDX-License-Identifier: Apache-2.0
"""How full a file system is: statvfs(3) by path, ustat(2) by device number.

This file must not know what the file system rests on. ustat reaches what no path reaches: a tmpfs that stayed in the
initramfs, or was lazily unmounted, still answers to its device number (fs/statfs.c: user_get_super).
"""

import ctypes
import errno
import functools
import os
import platform
import struct
from dataclasses import dataclass
from typing import Final

from overlaywatch.kernel.calls import Call

# struct ustat of include/linux/types.h: int f_tfree, ino_t f_tinode, char f_fname[6], char f_fpack[6]. The count of
# blocks is cut to 32 bits by the kernel.
_USTAT: Final = struct.Struct("@IL12x0L")
# arch/*/syscall tables; (machine, bits of this process). The newer architectures never had it.
_USTAT_NUMBERS: Final = {
    ("x86_64", 64): 136,
    ("x86_64", 32): 62,
    ("i686", 32): 62,
    ("armv7l", 32): 62,
    ("ppc64le", 64): 62,
    ("s390x", 64): 62,
}

Room = tuple[int, int]
"""Free blocks, in the file system's own size; free inodes."""


@dataclass(frozen=True, slots=True)
class StatVfs:
    """A file system's own figures; blocks are of `block_size` bytes. All zero means: no limit of its own (ramfs)."""

    block_size: int
    blocks: int
    blocks_free: int
    blocks_available: int
    files: int
    files_free: int
    read_only: bool = False
    flags: int = 0

    @property
    def room(self) -> Room:
        """Free blocks and free inodes: what ustat(2) tells of the same file system."""
        return self.blocks_free, self.files_free


@dataclass(frozen=True, slots=True)
class Ustat:
    """What ustat(2) tells: free blocks (of the file system's block size; pages for tmpfs) and free inodes."""

    blocks_free: int
    files_free: int

    @property
    def room(self) -> Room:
        """Free blocks and free inodes."""
        return self.blocks_free, self.files_free


def read_statvfs(path: str | os.PathLike[str]) -> StatVfs:
    """statvfs(3) of the file system that `path` is on. Raises OSError."""
    return parse_statvfs(os.statvfs(path))


def parse_statvfs(found: os.statvfs_result) -> StatVfs:
    """The figures of a system call's answer."""
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


def read_ustat(major: int, minor: int) -> Ustat | None:
    """ustat(2) of the mounted file system with this device number, wherever it is mounted, or hidden.

    None if there is none, or on a machine without the system call (aarch64, riscv64).
    """
    number = _USTAT_NUMBERS.get((platform.machine(), struct.calcsize("P") * 8))
    if number is None:
        return None
    answer = ctypes.create_string_buffer(_USTAT.size)
    # The kernel takes a dev_t of 32 bits; makedev spells those the same way up to major 4095, which is all there are.
    if _libc().syscall(ctypes.c_long(number), ctypes.c_uint(os.makedev(major, minor)), answer) != 0:
        return None
    blocks_free, files_free = _USTAT.unpack(answer.raw)
    return Ustat(blocks_free, files_free)


def _ask_ustat(key: str) -> Ustat:
    major, _, minor = key.partition(":")
    found = read_ustat(int(major), int(minor))
    if found is None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), key)
    return found


STATVFS: Final = Call("statvfs", StatVfs, read_statvfs, takes_path=True)
USTAT: Final = Call("ustat", Ustat, _ask_ustat, probes=True)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
