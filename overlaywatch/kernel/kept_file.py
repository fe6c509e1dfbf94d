# SPDX-License-Identifier: Apache-2.0
"""Files of /proc and /sys that are opened once and read at every look.

This file must not know what they say. An open descriptor costs one system call a look instead of three, and goes on
working when nothing can be opened any more (no memory, no descriptors, a root that answers EIO).
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

REFRESH_SECONDS: Final = 60.0
"""How long what announces its changes (mounts, loops, device-mapper tables) is believed without looking again."""

_CHUNK: Final = 65536
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY


class KeptFile:
    """One file, held open. `at_once`: the kernel gives it whole in one read (single_open in fs/seq_file.c, sysfs)."""

    __slots__ = ("_at_once", "_fd", "_path")

    def __init__(self, path: Path, at_once: bool = False) -> None:
        self._path = path
        self._at_once = at_once
        self._fd = -1

    def read(self) -> bytes:
        """The whole content, from the beginning. Raises OSError."""
        if self._fd >= 0:
            try:
                return self._read_all()
            except OSError:
                # A device that went away and came back is another file under the same path.
                self.close()
        return self._read_all()

    def fileno(self) -> int:
        """The descriptor, for poll(). Raises OSError if it cannot be opened."""
        if self._fd < 0:
            try:
                self._fd = os.open(self._path, _OPEN_FLAGS)
            except OSError as error:
                raise type(error)(error.errno, error.strerror, str(self._path)) from None
        return self._fd

    def close(self) -> None:
        """Give the descriptor back; the next read opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read_all(self) -> bytes:
        fd = self.fileno()
        content = os.pread(fd, _CHUNK, 0)
        if not content or (self._at_once and len(content) < _CHUNK):
            return content
        # A sequence file gives whole records up to about a page a time: only an empty answer is the end.
        parts, offset = [content], len(content)
        while part := os.pread(fd, _CHUNK, offset):
            parts.append(part)
            offset += len(part)
        return b"".join(parts)


class KeptFiles:
    """Kept files by path, at most `limit` of them: beyond that they are opened, read and closed."""

    __slots__ = ("_files", "_keep", "_limit")

    def __init__(self, limit: int = 64, keep: Callable[[Path, bool], KeptFile] = KeptFile) -> None:
        self._files: dict[Path, KeptFile] = {}
        self._limit = limit
        self._keep = keep

    def read(self, path: Path) -> bytes:
        """The content of a file that the kernel gives in one read. Raises OSError."""
        kept = self._files.get(path)
        if kept is None:
            kept = self._keep(path, True)
            content = kept.read()
            if len(self._files) < self._limit:
                self._files[path] = kept
            else:
                kept.close()
            return content
        try:
            return kept.read()
        except OSError:
            self._files.pop(path).close()
            raise

    def close(self) -> None:
        """Give all descriptors back."""
        for kept in self._files.values():
            kept.close()
        self._files.clear()
