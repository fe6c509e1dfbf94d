# SPDX-License-Identifier: Apache-2.0
"""Loop devices: /sys/block/loopN/loop and LOOP_GET_STATUS64, as drivers/block/loop.c and loop(4) describe them.

This file must not know what is on them. The backing file's path is only a word: it is as it was seen when the loop was
set up, ends in ` (deleted)` once the file is unlinked, and is cut to the file system's own root after a lazy unmount.
The key that survives all of that is (backing_device, backing_inode), which only the ioctl gives.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoopDevice:
    """One loop device that has a file behind it. `offset` and `sizelimit` in bytes (sizelimit 0: to the file's end).

    `backing_device` is the st_dev of the backing file and `backing_inode` its st_ino; None without privilege.
    `backing_file` is without the ` (deleted)`, which `deleted` stands for.
    """

    major: int
    minor: int
    name: str
    backing_file: str
    deleted: bool
    offset: int
    sizelimit: int
    size_bytes: int | None
    read_only: bool
    autoclear: bool
    backing_device: tuple[int, int] | None
    backing_inode: int | None

    @property
    def device(self) -> tuple[int, int]:
        """(major, minor)"""
        return self.major, self.minor
