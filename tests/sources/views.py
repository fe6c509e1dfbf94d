# SPDX-License-Identifier: Apache-2.0
"""A view of a machine that is written down: what KernelView offers, from values instead of system calls."""

import errno
from collections.abc import Mapping, Sequence

from overlaywatch.kernel.aufs import Branch
from overlaywatch.kernel.btrfs import choose_uuid
from overlaywatch.kernel.cgroup import MemoryLimit
from overlaywatch.kernel.devmapper import DmDevice
from overlaywatch.kernel.loop import LoopDevice
from overlaywatch.kernel.meminfo import MemInfo
from overlaywatch.kernel.mountinfo import MountInfo, parse_mountinfo
from overlaywatch.kernel.ram_disk import ZramStatus
from overlaywatch.kernel.shutdown import Trouble
from overlaywatch.kernel.statfs import StatVfs, Ustat
from overlaywatch.kernel.super_blocks import Place, alike
from overlaywatch.kernel.view import KernelView
from overlaywatch.units import GIB, MIB

Number = tuple[int, int]

MEMORY = MemInfo(GIB, GIB // 2, GIB // 2, 0, 0, 0, 0, 0, 0, 0)


class StaticView(KernelView):
    """Every answer is given beforehand; a path without one does not exist."""

    def __init__(
        self,
        mountinfo: str = "",
        dm: Mapping[Number, DmDevice] | None = None,
        loops: Sequence[LoopDevice] = (),
        statvfs: Mapping[str, StatVfs] | None = None,
        devices: Mapping[str, Number] | None = None,
        ustat: Mapping[Number, Ustat] | None = None,
        names: Mapping[Number, str] | None = None,
        allocations: Mapping[Number, tuple[int, int]] | None = None,
        errors: int | None = None,
        btrfs: Mapping[str, tuple[Number, ...]] | None = None,
        promised: int | None = None,
        trouble: Trouble | None = None,
        sizes: Mapping[Number, int] | None = None,
        brd: int | None = None,
        zram: ZramStatus | None = None,
        memory: MemInfo = MEMORY,
        limits: Sequence[MemoryLimit] = (),
        words: tuple[str, ...] = ("root=live:LABEL=LIVE",),
        branches: Mapping[str, tuple[Branch, ...]] | None = None,
    ) -> None:
        self._table = parse_mountinfo(mountinfo)
        self._dm, self._loops, self._names = dm or {}, {loop.device: loop for loop in loops}, names or {}
        self._statvfs, self._devices, self._ustat = statvfs or {}, devices or {}, ustat or {}
        self._btrfs, self._promised = btrfs or {}, promised
        self._limits, self._trouble = tuple(limits), trouble
        self._sizes, self._brd, self._zram = sizes or {}, brd, zram
        self._branches = branches or {}
        self._allocations, self._errors, self._memory_info, self._words = allocations or {}, errors, memory, words

    @property
    def mounts(self) -> tuple[MountInfo, ...]:
        """The lines it was made with."""
        return self._table

    @property
    def loops(self) -> Mapping[Number, LoopDevice]:
        """The loops it was made with."""
        return self._loops

    @property
    def dm(self) -> Mapping[Number, DmDevice]:
        """The devices it was made with."""
        return self._dm

    @property
    def meminfo(self) -> MemInfo:
        """The memory it was made with."""
        return self._memory_info

    @property
    def memory_limits(self) -> tuple[MemoryLimit, ...]:
        """The limits it was made with."""
        return self._limits

    @property
    def swap_free_bytes(self) -> int:
        """All free swap."""
        return self._memory_info.swap_free

    @property
    def cmdline(self) -> tuple[str, ...]:
        """The words it was made with."""
        return self._words

    def dm_status(self, major: int, minor: int) -> str | None:
        """The status of a device it was made with."""
        device = self._dm.get((major, minor))
        return device.status[0].params if device and device.status else None

    def statvfs(self, path: str) -> StatVfs:
        """The figures of a path it was made with."""
        if path not in self._statvfs:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self._statvfs[path]

    def ustat(self, major: int, minor: int) -> Ustat | None:
        """The figures of a super block it was made with."""
        return self._ustat.get((major, minor))

    def aufs_branches(self, si: str) -> tuple[Branch, ...] | None:
        """The branches of a union it was made with."""
        return self._branches.get(si)

    @property
    def super_blocks(self) -> tuple[Number, ...]:
        """The numbers that answer ustat."""
        return tuple(self._ustat)

    def alike(self, path: str, others: Sequence[Place]) -> tuple[Place, ...]:
        """By the figures it was made with."""
        return alike(path, others, self.statvfs, self.ustat)

    def stat_device(self, path: str) -> Number:
        """The st_dev of a path it was made with."""
        if path not in self._devices:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self._devices[path]

    def pending_bytes(self, major: int, minor: int) -> None:
        """No debugfs on this machine."""

    def size_bytes(self, major: int, minor: int) -> int | None:
        """The size of a block device it was made with."""
        return self._sizes.get((major, minor))

    def brd_bytes(self, name: str) -> int | None:
        """The figure it was made with, for every brd."""
        del name
        return self._brd

    def zram(self, name: str) -> ZramStatus:
        """The figures it was made with, for every zram."""
        if self._zram is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        return self._zram

    def device_name(self, major: int, minor: int) -> str | None:
        """The name of a block device it was made with."""
        return self._names.get((major, minor))

    def errors_count(self, major: int, minor: int) -> int | None:
        """The errors it was made with, for every file system."""
        del major, minor
        return self._errors

    def trouble(self, mount: MountInfo) -> Trouble:
        """What it was made with; old kernels do not tell."""
        if self._trouble is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", mount.mount_point)
        return self._trouble

    @property
    def btrfs(self) -> Mapping[str, tuple[Number, ...]]:
        """The btrfs it was made with."""
        return self._btrfs

    def btrfs_uuid(self, mount: MountInfo) -> str | None:
        """The only one."""
        del mount
        return choose_uuid(self._btrfs, None, None)

    def btrfs_copies(self, uuid: str, kind: str) -> int:
        """As mkfs.btrfs makes it on one device."""
        del uuid
        return 2 if kind == "metadata" else 1

    def btrfs_promised_bytes(self, uuid: str) -> int | None:
        """The figure it was made with."""
        del uuid
        return self._promised

    def btrfs_errors_count(self, uuid: str) -> int | None:
        """The errors it was made with, for every file system."""
        del uuid
        return self._errors

    def super_block_of(self, loop: LoopDevice) -> Number | None:
        """The number that the loop reports."""
        return loop.backing_device

    def file_allocation(self, loop: LoopDevice) -> tuple[int, int] | None:
        """The size and allocation of a backing file it was made with."""
        return self._allocations.get(loop.device)


def figures(size: int, free: int, files: int = 1000, files_free: int = 900) -> StatVfs:
    """statvfs of a file system with blocks of 4 KiB."""
    return StatVfs(4096, size // 4096, free // 4096, free // 4096, files, files_free, read_only=False, flags=0)


def loop(
    minor: int, backing: str, device: Number | None, *, read_only: bool = False, size: int = 64 * MIB
) -> LoopDevice:
    """A bound loop device."""
    name, deleted = f"loop{minor}", backing.endswith(" (deleted)")
    path = backing.removesuffix(" (deleted)")
    return LoopDevice(7, minor, name, path, deleted, 0, 0, size, read_only, False, device, 12 if device else None)
