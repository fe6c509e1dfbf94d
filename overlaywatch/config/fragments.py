# SPDX-License-Identifier: Apache-2.0
"""The files of the configuration: which there are, in which order, and their bytes.

The only part of the configuration that touches the file system. It must not know TOML or any key.

Order, the weakest first: /usr/lib (whoever made the image), /run (whoever booted it: an initramfs, a
provisioning tool), /etc (whoever administers it): the main file, then the drop-ins. Within a folder the
order is that of the file names. A drop-in replaces those of the same name in weaker folders, so an
empty one, or a symlink to /dev/null, masks them (as in systemd.unit(5), "masked").
"""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overlaywatch.config.spelling import printable

DROP_IN_FOLDERS: Final = (
    "usr/lib/overlaywatch/overlaywatch.d",
    "run/overlaywatch/overlaywatch.d",
    "etc/overlaywatch/overlaywatch.d",
)
MAIN_FILE: Final = "etc/overlaywatch/overlaywatch.toml"

LARGEST_FILE: Final = 1024 * 1024
"""Bytes. A larger file is not a configuration, and its text would be held in memory on a small machine."""


@dataclass(frozen=True, slots=True)
class RawFile:
    """One file as it is: `file` is its path for messages, `writable_by_all` whether anybody may change it."""

    file: str
    data: bytes
    writable_by_all: bool = False


def find_files(root: Path = Path("/")) -> tuple[Path, ...]:
    """The files to read, the weakest first. Raises OSError (with filename) if a folder cannot be listed."""
    strongest = {path.name: path for folder in DROP_IN_FOLDERS for path in _drop_ins(root / folder)}
    drop_ins = [path for path in strongest.values() if not is_masked(path, root)]
    main = root / MAIN_FILE
    if os.path.lexists(main) and not is_masked(main, root):
        drop_ins.append(main)
    return tuple(sorted(drop_ins, key=lambda path: _rank(path, root)))


def _drop_ins(folder: Path) -> list[Path]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [folder / name for name in names if name.endswith(".toml") and not name.startswith(".")]


def _rank(path: Path, root: Path) -> tuple[int, int, str]:
    """By folder, the main file before the drop-ins of /etc, then by name as bytes (no locale decides)."""
    if path == root / MAIN_FILE:
        return len(DROP_IN_FOLDERS) - 1, 0, ""
    return DROP_IN_FOLDERS.index(str(path.parent.relative_to(root))), 1, path.name


def is_masked(path: Path, root: Path = Path("/")) -> bool:
    """Whether a file says that there is nothing: a symlink to /dev/null, or /dev/null itself."""
    return os.path.realpath(path) in ("/dev/null", str(root / "dev/null"))


def read_raw(path: Path) -> RawFile:
    """The bytes of a file; none of /dev/null.

    Raises OSError for what cannot be read, for anything but a regular file (a FIFO would block the
    start of the daemon for ever), and for a file that is too large.
    """
    if is_masked(path):
        return RawFile(printable(str(path)), b"")
    fd = _open(path)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        data = _read_bounded(fd, path)
        return RawFile(printable(str(path)), data, bool(status.st_mode & stat.S_IWOTH))
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    """Open without blocking and, where we may, without touching the access time.

    The file may lie on the overlay that is guarded, and a write of its inode costs a chunk there.
    O_NOATIME is for the owner and root only: EPERM (open(2)).
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        return os.open(path, flags | os.O_NOATIME)
    except PermissionError:
        return os.open(path, flags)


def _read_bounded(fd: int, path: Path) -> bytes:
    data = b""
    while chunk := os.read(fd, 65536):
        data += chunk
        if len(data) > LARGEST_FILE:
            raise OSError(errno.EFBIG, "is larger than 1 MiB", str(path))
    return data
