# SPDX-License-Identifier: Apache-2.0
"""Real block devices for tests: loops, linear devices, snapshots, thin pools. Each is a context manager that cleans up.

Backing files go into a folder that the caller gives, on a tmpfs (the fixture `scratch`). Needs root and device-mapper.
All sizes are in bytes unless the name says sectors. There may be no udev: dmsetup makes the nodes itself.
"""

import contextlib
import mmap
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SECTOR: Final = 512
KIB: Final = 1024
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop device over a file."""

    node: Path
    file: Path

    @property
    def number(self) -> str:
        """`major:minor`, as tables spell it."""
        return number_of(self.node)

    @property
    def sectors(self) -> int:
        """Its size."""
        return int(run("blockdev", "--getsz", str(self.node)))

    def grow(self, size: int) -> None:
        """Make the file longer and tell the loop."""
        os.truncate(self.file, size)
        run("losetup", "--set-capacity", str(self.node))


@dataclass(frozen=True, slots=True)
class Mapped:
    """A device-mapper device."""

    name: str
    node: Path

    @property
    def number(self) -> str:
        """`major:minor`, as tables spell it."""
        return number_of(self.node)

    def dmsetup(self, command: str, *arguments: str) -> str:
        """`dmsetup COMMAND NAME ARGUMENTS`; what it prints."""
        return run("dmsetup", command, "--noudevsync", self.name, *arguments)

    @property
    def status(self) -> str:
        """The kernel's own word, as dmsetup prints it: `0 8192 snapshot 16/8192 16`."""
        return run("dmsetup", "status", "--noflush", self.name).strip()

    @property
    def table(self) -> str:
        """The live table, as dmsetup prints it."""
        return run("dmsetup", "table", self.name).strip()

    def reload(self, table: str) -> None:
        """Swap the table of a running device, without writing anything out."""
        self.dmsetup("load", "--table", table)
        self.dmsetup("suspend", "--noflush", "--nolockfs")
        self.dmsetup("resume")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot with the loops below it."""

    device: Mapped
    origin: Loop
    cow: Loop


@dataclass(frozen=True, slots=True)
class ThinPool:
    """A thin pool with the loops below it."""

    device: Mapped
    metadata: Loop
    data: Loop


def run(*command: str, text: str | None = None) -> str:
    """What a program prints; raises CalledProcessError if it fails, with its complaint among the notes."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, errors="surrogateescape", check=False)
    if done.returncode != 0:
        error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        error.add_note(done.stderr)
        raise error
    return done.stdout


def number_of(node: Path) -> str:
    """`major:minor` of a device node."""
    device = node.stat().st_rdev
    return f"{os.major(device)}:{os.minor(device)}"


@contextlib.contextmanager
def loop(file: Path, size: int | None = None, options: Sequence[str] = ()) -> Iterator[Loop]:
    """A loop over `file`, which is made as a hole of `size` bytes if a size is given."""
    if size is not None:
        with file.open("wb") as created:
            created.truncate(size)
    node = run("losetup", "--find", "--show", *options, str(file)).strip()
    try:
        yield Loop(Path(node), file)
    finally:
        run("losetup", "--detach", node)


@contextlib.contextmanager
def mapped(name: str, table: str | None, options: Sequence[str] = ()) -> Iterator[Mapped]:
    """A device with this table (more lines: more targets); with None, a device without a table."""
    create = ["dmsetup", "create", "--noudevsync", *options]
    if table is None:
        run(*create, "--notable", name)
    else:
        run(*create, name, text=table)
    try:
        run("dmsetup", "mknodes", name)
        yield Mapped(name, Path("/dev/mapper") / name)
    finally:
        remove(name)


def remove(name: str) -> None:
    """Remove a device, also one that is suspended. udev on a desktop may still be looking at it, hence --retry."""
    if run("dmsetup", "info", "-c", "--noheadings", "-o", "suspended", name).strip() == "Suspended":
        run("dmsetup", "resume", "--noudevsync", name)
    run("dmsetup", "remove", "--noudevsync", "--retry", name)


@contextlib.contextmanager
def linear(name: str, below: Loop | Mapped, sectors: int, start: int = 0) -> Iterator[Mapped]:
    """A linear device over a piece of another one."""
    with mapped(name, f"0 {sectors} linear {below.number} {start}") as device:
        yield device


@contextlib.contextmanager
def many(tables: Mapping[str, str]) -> Iterator[None]:
    """Many devices in one run of dmsetup, each with a table of one line. No nodes are made."""
    specifications = [f"{name},,,rw,{table}" for name, table in tables.items()]
    run("dmsetup", "create", "--noudevsync", "--concise", ";".join(specifications))
    try:
        yield
    finally:
        run("dmsetup", "remove", "--noudevsync", "--retry", *tables)


@contextlib.contextmanager
def snapshot(
    folder: Path,
    name: str,
    persistent: str = "PO",
    origin_size: int = 32 * MIB,
    cow_size: int = 4 * MIB,
    features: Sequence[str] = (),
) -> Iterator[Snapshot]:
    """A snapshot of an empty origin, with chunks of 8 sectors; `persistent` is N, P or PO."""
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(loop(folder / f"{name}.origin", origin_size))
        cow = stack.enter_context(loop(folder / f"{name}.cow", cow_size))
        table = snapshot_table(origin, cow, persistent, features)
        yield Snapshot(stack.enter_context(mapped(name, table)), origin, cow)


def snapshot_table(origin: Loop, cow: Loop | Mapped, persistent: str, features: Sequence[str] = ()) -> str:
    """The table line of a snapshot."""
    words = [str(len(features)), *features] if features else []
    return " ".join(["0", str(origin.sectors), "snapshot", origin.number, cow.number, persistent, "8", *words])


@contextlib.contextmanager
def thin_pool(folder: Path, name: str, data_size: int = 8 * MIB, metadata_size: int = 4 * MIB) -> Iterator[ThinPool]:
    """A thin pool with blocks of 64 KiB and a low water mark of 2 blocks."""
    with contextlib.ExitStack() as stack:
        metadata = stack.enter_context(loop(folder / f"{name}.metadata", metadata_size))
        data = stack.enter_context(loop(folder / f"{name}.data", data_size))
        table = f"0 {data_size // SECTOR} thin-pool {metadata.number} {data.number} 128 2"
        yield ThinPool(stack.enter_context(mapped(name, table)), metadata, data)


@contextlib.contextmanager
def thin(pool: Mapped, name: str, device_id: int = 0, size: int = 32 * MIB) -> Iterator[Mapped]:
    """A thin volume of a pool."""
    run("dmsetup", "message", pool.name, "0", f"create_thin {device_id}")
    with mapped(name, f"0 {size // SECTOR} thin {pool.number} {device_id}") as device:
        yield device


def write(node: Path, size: int, offset: int = 0) -> None:
    """Write `size` bytes to a device, past the page cache, so that they have arrived; raises OSError (EIO)."""
    block = MIB if size % MIB == 0 else 4096
    with mmap.mmap(-1, block) as data:  # on a page boundary, as O_DIRECT wants it
        data[:] = b"w" * block
        fd = os.open(node, os.O_WRONLY | os.O_DIRECT)
        try:
            for at in range(offset, offset + size, block):
                os.pwrite(fd, data, at)
        finally:
            os.close(fd)
