# SPDX-License-Identifier: Apache-2.0
"""One look at the kernel: everything the sources ask for, each read at most once, so that they all speak of the same.

This file must not know what a layer is. KernelReader lives as long as the daemon and keeps descriptors open and parsed
records at hand; KernelView is one look of it. Nothing is read before somebody asks.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeVar, cast

from overlaywatch.kernel import blockdev, btrfs, cgroup, ram_disk, shutdown, super_blocks
from overlaywatch.kernel.aufs import Branch, read_branches
from overlaywatch.kernel.backing import STAT, BackingFiles
from overlaywatch.kernel.cmdline import parse_cmdline
from overlaywatch.kernel.devmapper import DmDevice, DmReader
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.kept_file import REFRESH_SECONDS, KeptFiles
from overlaywatch.kernel.loop import LoopDevice, read_loops
from overlaywatch.kernel.machine import Machine
from overlaywatch.kernel.meminfo import MemInfo, parse_meminfo, parse_swaps, swap_free_real
from overlaywatch.kernel.mountinfo import MountInfo, MountTable
from overlaywatch.kernel.root import KernelRoot
from overlaywatch.kernel.statfs import STATVFS, USTAT, StatVfs, Ustat
from overlaywatch.kernel.super_blocks import Place

Number = tuple[int, int]
"""(major, minor)"""

_T = TypeVar("_T")
_NO_DEVICES: Final[Mapping[Number, DmDevice]] = MappingProxyType({})


class KernelReader:
    """Takes looks. `dm` is None where the kernel has no device-mapper; `reopen_dm` is then asked again every minute.

    Not for threads: one loop takes one look after the other.
    """

    def __init__(
        self,
        machine: Machine,
        dm: DmReader | None,
        reopen_dm: Callable[[], DmReader | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.machine, self.root, self.world = machine, machine.root, machine.world
        self.dm = dm
        self._reopen_dm = reopen_dm
        self._clock = clock
        self._mounts = MountTable(machine.keep(self.world.table), announced=self.root.is_live, clock=clock)
        self._meminfo = machine.keep(self.root.proc / "meminfo", at_once=True)
        self._swaps = machine.keep(self.root.proc / "swaps")
        self.files = KeptFiles(keep=machine.keep)
        self._cmdline: tuple[str, ...] | None = None
        self._loops: Mapping[Number, LoopDevice] | None = None
        self._loops_mounts: tuple[MountInfo, ...] = ()
        self._dm_devices: tuple[DmDevice, ...] = ()
        self._dm_by_number = _NO_DEVICES
        self._names: dict[Number, str | None] = {}
        self._btrfs: btrfs.Filesystems | None = None
        self._btrfs_mounts: tuple[MountInfo, ...] = ()
        self._cgroups: tuple[tuple[str, cgroup.Hierarchy], ...] | None = None
        self._backing = BackingFiles(machine)
        self._statvfs: dict[str, StatVfs] = {}
        self._believed_until = 0.0

    def look(self) -> "KernelView":
        """A new look. What was kept for too long is forgotten first."""
        now = self._clock()
        if now >= self._believed_until:
            self._forget()
            self._believed_until = now + REFRESH_SECONDS
            if self.dm is None and self._reopen_dm is not None:
                self.dm = self._reopen_dm()
        return KernelView(self)

    def invalidate(self) -> None:
        """Forget what is kept about block devices: one came, went or changed (uevent), or events were lost."""
        self._believed_until = 0.0
        if self.dm is not None:
            self.dm.invalidate_tables()

    def close(self) -> None:
        """Give all descriptors back."""
        for kept in (self._mounts, self._meminfo, self._swaps, self.files):
            kept.close()
        if self.dm is not None:
            self.dm.close()

    def read_mounts(self) -> tuple[MountInfo, ...]:
        """The mount table."""
        return self._mounts.read()

    def read_loops(self, mounts: tuple[MountInfo, ...]) -> Mapping[Number, LoopDevice]:
        """Loop devices, from memory until a uevent, a change of the mount table, or a minute gone by."""
        if self._loops is None or mounts is not self._loops_mounts:
            self._loops = MappingProxyType(read_loops(self.machine))
            self._loops_mounts = mounts
            self._backing.forget()
        return self._loops

    def read_btrfs(self, mounts: tuple[MountInfo, ...]) -> btrfs.Filesystems:
        """Each mounted btrfs and its devices, from memory for as long as loops are."""
        if self._btrfs is None or mounts is not self._btrfs_mounts:
            self._btrfs, self._btrfs_mounts = MappingProxyType(btrfs.read_filesystems(self.machine)), mounts
        return self._btrfs

    def read_dm(self) -> Mapping[Number, DmDevice]:
        """Device-mapper devices by number; the same object if nothing changed."""
        devices = self.dm.devices() if self.dm is not None else ()
        if devices is not self._dm_devices:
            self._dm_by_number = MappingProxyType({device.device: device for device in devices})
            self._dm_devices = devices
        return self._dm_by_number

    def read_meminfo(self) -> MemInfo:
        """/proc/meminfo."""
        return parse_meminfo(self._meminfo.read().decode("utf-8", "replace"))

    def read_swap_free(self) -> int:
        """Free swap that is not RAM itself."""
        return swap_free_real(parse_swaps(self._swaps.read().decode("utf-8", "surrogateescape")))

    def read_memory_limits(self) -> tuple[cgroup.MemoryLimit, ...]:
        """The limits of the cgroups that count, which are looked for once a minute."""
        if self._cgroups is None:
            self._cgroups = cgroup.find_cgroups(self.machine)
        found = (cgroup.read_limit(self.machine, *one, self.files.read) for one in self._cgroups)
        return tuple(limit for limit in found if limit is not None)

    def read_statvfs(self, path: str) -> StatVfs:
        """statvfs(3); the same object as long as the figures are the same."""
        answer = self.machine.ask(STATVFS, path)
        kept = self._statvfs.get(path)
        if kept is not None and kept == answer:
            return kept
        self._statvfs[path] = answer
        return answer

    def read_cmdline(self) -> tuple[str, ...]:
        """The words of the kernel command line, which never change."""
        if self._cmdline is None:
            text = self.machine.read(self.root.proc / "cmdline").decode("utf-8", "surrogateescape")
            self._cmdline = parse_cmdline(text)
        return self._cmdline

    def read_device_name(self, number: Number) -> str | None:
        """The kernel's name of a block device."""
        if number not in self._names:
            self._names[number] = blockdev.read_device_name(self.machine, *number)
        return self._names[number]

    def read_allocation(self, loop: LoopDevice, mounts: tuple[MountInfo, ...]) -> tuple[int, int] | None:
        """(size, allocated bytes) of a loop's backing file, wherever it can still be reached."""
        return self._backing.allocation(loop, mounts)

    def read_super_block(self, loop: LoopDevice, mounts: tuple[MountInfo, ...]) -> Number | None:
        """The number of the mount that a loop's backing file lies on."""
        return self._backing.super_block(loop, mounts)

    def _forget(self) -> None:
        self._loops = self._btrfs = self._cgroups = None
        self._names.clear()
        self._statvfs.clear()
        self._backing.forget()


class KernelView:
    """One look. What was read once stays as it was read; what could not be read raises the same error again.

    Errors are OSError (no such file, no privilege) or KernelTextError (text that nobody has described yet).
    """

    __slots__ = ("_memory", "_reader")

    def __init__(self, reader: KernelReader) -> None:
        self._reader = reader
        self._memory: dict[object, object] = {}

    @property
    def root(self) -> KernelRoot:
        """Where the kernel's interfaces are."""
        return self._reader.root

    @property
    def mounts(self) -> tuple[MountInfo, ...]:
        """The mount table in the kernel's order."""
        return self._once("mounts", self._reader.read_mounts)

    @property
    def loops(self) -> Mapping[Number, LoopDevice]:
        """Loop devices that have a file, by number."""
        return self._once("loops", lambda: self._reader.read_loops(self.mounts))

    @property
    def dm(self) -> Mapping[Number, DmDevice]:
        """Device-mapper devices by number; empty where the kernel has none."""
        return self._once("dm", self._reader.read_dm)

    @property
    def has_device_mapper(self) -> bool:
        """Whether this kernel has it; it may still not be readable."""
        return self._reader.dm is not None

    def dm_status(self, major: int, minor: int) -> str | None:
        """The status of one device's first target by one system call; None if it is gone, or it would cost more."""
        dm = self._reader.dm
        return dm.peek(major, minor) if dm is not None and dm.can_peek else None

    @property
    def meminfo(self) -> MemInfo:
        """Memory, in bytes."""
        return self._once("meminfo", self._reader.read_meminfo)

    @property
    def swap_free_bytes(self) -> int:
        """Free swap that is not RAM itself (zram)."""
        return self._once("swap", lambda: self._reader.read_swap_free() if self.meminfo.swap_total else 0)

    @property
    def memory_limits(self) -> tuple[cgroup.MemoryLimit, ...]:
        """cgroups that end before the machine's memory does; see kernel/cgroup.py for which."""
        return self._once("memory limits", self._reader.read_memory_limits)

    @property
    def cmdline(self) -> tuple[str, ...]:
        """The words of the kernel command line; see cmdline.get."""
        return self._once("cmdline", self._reader.read_cmdline)

    def statvfs(self, path: str) -> StatVfs:
        """statvfs(3) of the file system at a path of the mount table."""
        return self._once(("statvfs", path), lambda: self._reader.read_statvfs(path))

    def ustat(self, major: int, minor: int) -> Ustat | None:
        """ustat(2) by device number: reaches hidden super blocks. None if there is none, or it cannot be asked."""
        return self._once(("ustat", major, minor), lambda: self._read_ustat(major, minor))

    def aufs_branches(self, si: str) -> tuple[Branch, ...] | None:
        """The branches of the union on `/`. To be asked once, and of no other union: see kernel/aufs.py."""
        return read_branches(self._reader.machine, si)

    @property
    def super_blocks(self) -> tuple[Number, ...]:
        """The device numbers of file systems, mounted or not, that may hold the upper of a union."""
        return self._once("super_blocks", lambda: super_blocks.read_numbers(self._reader.machine, self.mounts))

    def alike(self, path: str, others: Sequence[Place]) -> tuple[Place, ...]:
        """Those of `others` that have the very room which statvfs of `path` shows now. Not kept."""
        ask = self._reader.machine.ask
        return super_blocks.alike(path, others, lambda one: ask(STATVFS, one), self._read_ustat)

    def stat_device(self, path: str) -> Number:
        """(major, minor) of st_dev at a path of the mount table."""
        return self._once(("device", path), lambda: self._reader.machine.ask(STAT, path).device)

    def pending_bytes(self, major: int, minor: int) -> int | None:
        """Dirty data of a device's file system, exact; None without debugfs or the privilege to read it."""
        read = self._reader.files.read
        return self._once(("pending", major, minor), lambda: blockdev.read_pending_bytes(self.root, major, minor, read))

    def size_bytes(self, major: int, minor: int) -> int | None:
        """The size of a block device; None if there is no such device."""
        read = self._reader.files.read
        return self._once(("size", major, minor), lambda: blockdev.read_size_bytes(self.root, major, minor, read))

    def device_name(self, major: int, minor: int) -> str | None:
        """The kernel's name of a block device (`dm-0`); None if there is no such device."""
        return self._reader.read_device_name((major, minor))

    def errors_count(self, major: int, minor: int) -> int | None:
        """Errors that the ext4 on a device has counted; None if there is no ext4 on it."""
        return self._once(("errors", major, minor), lambda: self._read_errors(major, minor))

    def trouble(self, mount: MountInfo) -> shutdown.Trouble:
        """What xfs and f2fs tell of an error. Raises OSError where they do not tell; others tell in other ways."""
        return self._once(("trouble", mount.device), lambda: self._read_trouble(mount))

    @property
    def btrfs(self) -> btrfs.Filesystems:
        """Each mounted btrfs and its block devices, by its UUID."""
        return self._once("btrfs", lambda: self._reader.read_btrfs(self.mounts))

    def btrfs_uuid(self, mount: MountInfo) -> str | None:
        """Which of them a mount is of; None if that cannot be known."""
        told = btrfs.read_uuid(self._reader.machine, mount.mount_point)
        return btrfs.choose_uuid(self.btrfs, told, self._source_device(mount.source))

    def btrfs_copies(self, uuid: str, kind: str) -> int:
        """How often a btrfs writes its `data` or its `metadata` to one device."""
        return btrfs.read_copies(self._reader.machine, uuid, kind)

    def btrfs_promised_bytes(self, uuid: str) -> int | None:
        """Data that a btrfs has accepted and that its statvfs does not count yet."""
        read = self._reader.files.read
        return self._once(("promised", uuid), lambda: btrfs.read_promised_bytes(self.root, uuid, read))

    def btrfs_errors_count(self, uuid: str) -> int | None:
        """Errors that the devices of a btrfs have had; None if the kernel does not tell."""
        read = self._reader.files.read
        return self._once(("btrfs errors", uuid), lambda: btrfs.read_errors_count(self._reader.machine, uuid, read))

    def zram(self, name: str) -> ram_disk.ZramStatus:
        """What a zram device has taken."""
        read = self._reader.files.read
        return self._once(("zram", name), lambda: ram_disk.read_zram(self.root, name, read))

    def brd_bytes(self, name: str) -> int | None:
        """The memory that a brd has taken; None if that cannot be read."""
        read = self._reader.files.read
        return self._once(("brd", name), lambda: ram_disk.read_brd_bytes(self.root, name, read))

    def file_allocation(self, loop: LoopDevice) -> tuple[int, int] | None:
        """(size, allocated bytes) of a loop's backing file; None if no path leads to that very file."""
        return self._once(("allocation", loop.device), lambda: self._reader.read_allocation(loop, self.mounts))

    def super_block_of(self, loop: LoopDevice) -> Number | None:
        """(major, minor) of the file system that holds a loop's backing file; None without the privilege to ask.

        A file on an overlay has a device number of no mount; it is then the overlay that its path leads through.
        """
        return self._reader.read_super_block(loop, self.mounts)

    def _read_errors(self, major: int, minor: int) -> int | None:
        name = self.device_name(major, minor)
        return None if name is None else blockdev.read_errors_count(self.root, name, self._reader.files.read)

    def _read_trouble(self, mount: MountInfo) -> shutdown.Trouble:
        if mount.fstype == "xfs":
            return self._reader.machine.ask(shutdown.XFS, mount.mount_point)
        name = self.device_name(*mount.device) if mount.fstype == "f2fs" else None
        return shutdown.Trouble() if name is None else shutdown.read_f2fs(self.root, name, self._reader.files.read)

    def _source_device(self, source: str) -> Number | None:
        """The number of the device called `/dev/mapper/NAME` or `/dev/NAME`."""
        folder, _, name = source.rpartition("/")
        if folder == "/dev/mapper":
            return next((number for number, device in self.dm.items() if device.name == name), None)
        return btrfs.read_number(self._reader.machine, self.root.sys / "block" / name) if folder == "/dev" else None

    def _read_ustat(self, major: int, minor: int) -> Ustat | None:
        try:
            return self._reader.machine.ask(USTAT, f"{major}:{minor}")
        except OSError:
            return None

    def _once(self, key: object, read: Callable[[], _T]) -> _T:
        if key not in self._memory:
            try:
                self._memory[key] = read()
            except (OSError, KernelTextError) as error:
                self._memory[key] = _Failed(error)
        kept = self._memory[key]
        if isinstance(kept, _Failed):
            raise kept.error.with_traceback(None)
        return cast("_T", kept)


class _Failed:
    """Remembers what went wrong in the place of what would have been read."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error
