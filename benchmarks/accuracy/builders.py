# SPDX-License-Identifier: Apache-2.0
"""The chains: each a context manager that builds it from nothing, and tells what only the kernel can know of its end.

It must not know overlaywatch: what it says of an end is the second opinion.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.integration import devices
from tests.integration.devices import MIB, SECTOR, run
from tests.integration.stacks import Sight, mounted

IMAGE: Final = 512 * MIB
"""Of the live images: more than RAM where RAM is to end; xfs wants 300 MiB."""
BASE: Final = 80 * MIB
"""Of the file in each image that is overwritten in place."""
NAME: Final = "ow-accuracy"
NEARLY_NOTHING: Final = 128 * 1024

_MAKE: Final = {
    "ext4": ("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q"),
}


@dataclass(frozen=True, slots=True)
class Built:
    """A chain that can be written to.

    `base` are files that were there before, to be overwritten. `ended()` says how the id of the layer begins that has
    ended, by witnesses of the kernel alone; `word()` is the state of the snapshot or pool, as it prints it.
    """

    place: Path
    base: tuple[Path, ...]
    ended: Callable[[], str]
    word: Callable[[], str] = str


class Witness:
    """What the kernel says of a store: its log since now, and the room on the file system that holds it."""

    def __init__(self, holder: Path) -> None:
        self._holder = os.open(holder, os.O_RDONLY | os.O_DIRECTORY)
        self._log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._log, 0, os.SEEK_END)
        self._said = ""

    def close(self) -> None:
        """Let go of the file system."""
        os.close(self._holder)
        os.close(self._log)

    def holder_is_full(self) -> bool:
        """Whether the file system that holds the store has no room; one without limit (zeros) never is."""
        stat = os.fstatvfs(self._holder)
        return bool(stat.f_blocks) and stat.f_bavail * stat.f_frsize < NEARLY_NOTHING

    def said(self, text: str) -> bool:
        """Whether the kernel has logged this."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._said += os.read(self._log, 8192).decode(errors="replace")
        return text in self._said


@contextlib.contextmanager
def witness(holder: Path) -> Iterator[Witness]:
    """A witness that lets go in the end."""
    found = Witness(holder)
    try:
        yield found
    finally:
        found.close()


def make_image(folder: Path, fstype: str) -> Path:
    """A live image with one file in it; made once, as it is only read."""
    file = folder / f"{fstype}.image"
    if file.exists():
        return file
    with file.open("wb") as created:
        created.truncate(IMAGE)
    run(*_MAKE[fstype], str(file))
    with devices.loop(file) as loop, mounted(str(loop.node), folder / "image", fstype) as place:
        fill(place / "base", BASE)
    return file


def fill(file: Path, size: int) -> None:
    """A file that no file system can compress."""
    with file.open("wb") as created:
        for _ in range(size // MIB):
            created.write(os.urandom(MIB))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A live system as dracut makes it: the store is a sparse file of `cow` bytes on a file system of its own."""

    persistent: str
    chunk: int
    fstype: str
    cow: int
    on: str
    options: tuple[str, ...] = ()
    sight: Sight = "visible"

    @contextlib.contextmanager
    def build(self, folder: Path, images: Path) -> Iterator[Built]:
        """Mounted, and never written to."""
        with contextlib.ExitStack() as stack:
            origin = stack.enter_context(devices.loop(make_image(images, self.fstype), options=["--read-only"]))
            holder = stack.enter_context(mounted(self.on, folder / "store", self.on, *self.options))
            cow = stack.enter_context(devices.loop(holder / "overlay", self.cow))
            seen = stack.enter_context(witness(holder))
            self._hide(cow.file, holder)
            table = f"0 {origin.sectors} snapshot {origin.number} {cow.number} {self.persistent} {self.chunk}"
            device = stack.enter_context(devices.mapped(NAME, table))
            place = stack.enter_context(mounted(str(device.node), folder / "root", self.fstype))
            yield Built(place, (place / "base",), lambda: _end_of_store(seen, self.on), lambda: device.status)

    def _hide(self, file: Path, holder: Path) -> None:
        if self.sight == "deleted":
            file.unlink()
        elif self.sight == "hidden":
            run("umount", "--lazy", str(holder))


def _end_of_store(seen: Witness, on: str) -> str:
    if seen.holder_is_full():
        return f"{on}:"
    return "dm-snapshot:" if seen.said("Unable to allocate exception") else "filesystem:"


@dataclass(frozen=True, slots=True)
class Thin:
    """A thin volume as dracut makes it, its external origin the live image, both loops of its pool on one tmpfs."""

    fstype: str
    data: int
    options: tuple[str, ...]

    @contextlib.contextmanager
    def build(self, folder: Path, images: Path) -> Iterator[Built]:
        """Mounted, and never written to. Writers wait two seconds for room, not sixty."""
        Path("/sys/module/dm_thin_pool/parameters/no_space_timeout").write_text("2")
        with contextlib.ExitStack() as stack:
            origin = stack.enter_context(devices.loop(make_image(images, self.fstype), options=["--read-only"]))
            holder = stack.enter_context(mounted("tmpfs", folder / "store", "tmpfs", *self.options))
            metadata = stack.enter_context(devices.loop(holder / "meta", 4 * MIB))
            data = stack.enter_context(devices.loop(holder / "data", self.data))
            seen = stack.enter_context(witness(holder))
            line = f"0 {self.data // SECTOR} thin-pool {metadata.number} {data.number} 1024 1024"
            pool = stack.enter_context(devices.mapped(f"{NAME}-pool", line))
            run("dmsetup", "message", pool.name, "0", "create_thin 0")
            line = f"0 {origin.sectors} thin {pool.number} 0 {origin.number}"
            device = stack.enter_context(devices.mapped(NAME, line))
            place = stack.enter_context(mounted(str(device.node), folder / "root", self.fstype))
            yield Built(place, (place / "base",), lambda: _end_of_pool(seen, pool), lambda: pool.status)


def _end_of_pool(seen: Witness, pool: devices.Mapped) -> str:
    if seen.holder_is_full():
        return "tmpfs:"
    return "dm-thin-pool:" if seen.said("out-of-data-space") or " ro " in pool.status else "filesystem:"


@dataclass(frozen=True, slots=True)
class Overlay:
    """An overlay on a tmpfs, which may have been left behind as an initramfs does it; files of 1 MiB below."""

    options: tuple[str, ...]
    hidden: bool = False

    @contextlib.contextmanager
    def build(self, folder: Path, images: Path) -> Iterator[Built]:
        """Mounted, and never written to."""
        del images
        with contextlib.ExitStack() as stack:
            lower = stack.enter_context(mounted("tmpfs", folder / "lower", "tmpfs"))
            for number in range(BASE // MIB):
                fill(lower / f"base{number:03}", MIB)
            holder = stack.enter_context(mounted("tmpfs", folder / "store", "tmpfs", *self.options))
            for name in ("upper", "work"):
                (holder / name).mkdir()
            options = f"lowerdir={lower},upperdir={holder}/upper,workdir={holder}/work"
            place = stack.enter_context(mounted("overlay", folder / "root", "overlay", options))
            if self.hidden:
                run("umount", "--lazy", str(holder))
            base = tuple(sorted(place.glob("base*")))
            yield Built(place, base, lambda: "tmpfs:")


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system of `size` bytes on a sparse file: on a loop over a tmpfs."""

    fstype: str
    size: int
    options: tuple[str, ...]

    @contextlib.contextmanager
    def build(self, folder: Path, images: Path) -> Iterator[Built]:
        """Mounted, and never written to."""
        del images
        with contextlib.ExitStack() as stack:
            holder = stack.enter_context(mounted("tmpfs", folder / "store", "tmpfs", *self.options))
            loop = stack.enter_context(devices.loop(holder / "image", self.size))
            run(*_MAKE[self.fstype], str(loop.node))
            seen = stack.enter_context(witness(holder))
            place = stack.enter_context(mounted(str(loop.node), folder / "root", self.fstype))
            yield Built(place, (), lambda: "tmpfs:" if seen.holder_is_full() else "filesystem:")


@dataclass(frozen=True, slots=True)
class Zram:
    """A file system of `size` bytes on zram, which may use `limit` bytes of memory (0: as it likes)."""

    fstype: str
    size: int
    limit: int

    @contextlib.contextmanager
    def build(self, folder: Path, images: Path) -> Iterator[Built]:
        """Mounted, and never written to."""
        del images
        run("modprobe", "zram", "num_devices=1")
        sysfs = Path("/sys/block/zram0")
        with contextlib.ExitStack() as stack:
            stack.callback(run, "modprobe", "--remove", "zram")
            (sysfs / "disksize").write_text(str(self.size))
            (sysfs / "mem_limit").write_text(str(self.limit))
            run(*_MAKE[self.fstype], "/dev/zram0")
            place = stack.enter_context(mounted("/dev/zram0", folder / "root", self.fstype))
            yield Built(place, (), lambda: self._ended(sysfs))

    def _ended(self, sysfs: Path) -> str:
        used = int((sysfs / "mm_stat").read_text().split()[2])
        return "zram:" if self.limit and used > self.limit - NEARLY_NOTHING else "filesystem:"


@dataclass(frozen=True, slots=True)
class RamDisk:
    """A file system of `size` bytes on /dev/ram0, as KIWI had it: each page that is written stays in memory."""

    fstype: str
    size: int

    @contextlib.contextmanager
    def build(self, folder: Path, images: Path) -> Iterator[Built]:
        """Mounted, and never written to."""
        del images
        run("modprobe", "brd", "rd_nr=1", f"rd_size={self.size // 1024}")
        with contextlib.ExitStack() as stack:
            stack.callback(run, "modprobe", "--remove", "brd")
            run(*_MAKE[self.fstype], "/dev/ram0")
            place = stack.enter_context(mounted("/dev/ram0", folder / "root", self.fstype))
            yield Built(place, (), lambda: "filesystem:")


@dataclass(frozen=True, slots=True)
class Memory:
    """A tmpfs or a ramfs, written to directly."""

    fstype: str
    options: tuple[str, ...]

    @contextlib.contextmanager
    def build(self, folder: Path, images: Path) -> Iterator[Built]:
        """Mounted, and empty."""
        del images
        with mounted(self.fstype, folder / "root", self.fstype, *self.options) as place:
            yield Built(place, (), lambda: f"{self.fstype}:")


Chain = Snapshot | Thin | Overlay | Disk | Zram | RamDisk | Memory
