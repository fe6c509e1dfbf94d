# SPDX-License-Identifier: Apache-2.0
"""Opening a file below a directory without ever being led elsewhere: openat2(2), with a fallback.

This file must not know what is done with the file. No symbolic link is followed, no `..` taken and
no mount crossed, not even a bind mount of the same file system; a file that is itself a mount point
counts as crossed. A hostile user may rename and replace anything on the way at any moment: the
kernel checks each component while it walks. Kernels before 5.6 have no openat2: there each component
is opened by itself with O_NOFOLLOW, and the mount it turned out to lie on is read from fdinfo.
"""

import ctypes
import errno
import os
import re
import struct
from typing import Final

from overlaywatch.kernel.digits import NUMBER
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.root import KernelRoot

OPENAT2: Final = 437
"""The same number on every architecture that Python runs on but alpha (include/uapi/asm-generic/unistd.h)."""

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08

_STAY: Final = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
_SAFE: Final = os.O_NOFOLLOW | os.O_CLOEXEC
_HOW: Final = struct.Struct("=QQQ")  # struct open_how: flags, mode, resolve

_FDINFO: Final = KernelRoot().proc / "self" / "fdinfo"

_MOUNT_ID: Final = re.compile(rf"^mnt_id:\t({NUMBER})$", re.MULTILINE)

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def open_directory(directory: int, path: str, *, cross_mounts: bool = False) -> int:
    """A descriptor of the directory `path` below `directory`; raises OSError (EXDEV: on another mount).

    Reading it leaves no trace in its access time where that is allowed (O_NOATIME): an access time
    is a write, and a write costs room.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY
    try:
        return _open(directory, path, flags | os.O_NOATIME, cross_mounts)
    except PermissionError:
        return _open(directory, path, flags, cross_mounts)


def open_handle(directory: int, path: str) -> int:
    """A descriptor that only stands for `path` (O_PATH): nothing is opened, so a FIFO or device does no harm.

    A symbolic link at the end of the path is stood for itself; os.fstat() tells what it is.
    """
    return _open(directory, path, os.O_PATH, cross_mounts=False)


def mount_id(fd: int) -> int:
    """The id of the mount that a descriptor lies on (proc_pid_fdinfo(5), since 3.15). Raises OSError."""
    place = _FDINFO / str(fd)
    try:
        return parse_mount_id(place.read_text("ascii", "replace"))
    except KernelTextError as error:
        raise OSError(errno.ENODATA, str(error), str(place)) from None


def parse_mount_id(text: str) -> int:
    """The mount id in the text of /proc/PID/fdinfo/FD (seq_show in fs/proc/fd.c)."""
    match = _MOUNT_ID.search(text)
    if match is None:
        raise KernelTextError("fdinfo", "a line 'mnt_id: NUMBER'", text)
    return int(match[1])


def is_mount_root(directory: int) -> bool:
    """Whether an open directory is where a mount begins, `/` included."""
    parent = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        here, above = os.fstat(directory), os.fstat(parent)
        return mount_id(directory) != mount_id(parent) or (here.st_dev, here.st_ino) == (above.st_dev, above.st_ino)
    finally:
        os.close(parent)


def _open(directory: int, path: str, flags: int, cross_mounts: bool) -> int:
    flags |= _SAFE
    resolve = _STAY if cross_mounts else _STAY | RESOLVE_NO_XDEV
    try:
        return open_by_openat2(directory, path, flags, resolve)
    except OSError as error:
        # A sandbox may answer EPERM to a system call that it does not know.
        if error.errno not in {errno.ENOSYS, errno.EPERM}:
            raise
    return open_by_steps(directory, path, flags, resolve)


def open_by_openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    """openat2(2), the whole path at once. Raises OSError; ENOSYS before Linux 5.6."""
    how = _HOW.pack(flags, 0, resolve)
    fd = _libc.syscall(ctypes.c_long(OPENAT2), ctypes.c_int(directory), os.fsencode(path), how, ctypes.c_size_t(24))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return int(fd)


def open_by_steps(directory: int, path: str, flags: int, resolve: int) -> int:
    """The same with openat(2), component by component."""
    parts = [part for part in path.split("/") if part not in {"", "."}] or ["."]
    if ".." in parts or path.startswith("/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    current = os.dup(directory)
    try:
        for part in parts[:-1]:
            current = _replace(current, os.open(part, os.O_PATH | os.O_DIRECTORY | _SAFE, dir_fd=current))
        opened = os.open(parts[-1], flags, dir_fd=current)
        current = _replace(current, opened)
        if resolve & RESOLVE_NO_XDEV and mount_id(current) != mount_id(directory):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    except OSError:
        os.close(current)
        raise
    return current


def _replace(old: int, new: int) -> int:
    os.close(old)
    return new
