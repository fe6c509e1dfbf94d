# SPDX-License-Identifier: Apache-2.0
"""Live systems in miniature: a file system on a dm-snapshot whose exception store lies in RAM, seen or unseen.

Each is a context manager that cleans up. They must not know who watches them.
"""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tests.integration import devices
from tests.integration.devices import MIB, run

Sight = Literal["visible", "deleted", "hidden"]
"""The file of the store: under its path; unlinked; on a file system that was lazily unmounted."""

IMAGE: Final = 160 * MIB
"""Smaller than what xfs is made for by default, larger than the stores of the tests."""

# Nothing must be written by itself later: what the daemon sees is what the test has done.
_MAKE: Final = {
    "ext4": ("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-N", "4096"),
    "btrfs": ("mkfs.btrfs", "-q"),
    "xfs": ("mkfs.xfs", "-q", "-f", "--unsupported"),
}


@dataclass(frozen=True, slots=True)
class Live:
    """A writable file system over an image. `layer` is the id of its snapshot."""

    place: Path
    device: devices.Mapped
    cow: devices.Loop

    @property
    def layer(self) -> str:
        """The layer that the daemon calls it."""
        return f"dm-snapshot:{self.device.name}"


@contextlib.contextmanager
def mounted(source: str, place: Path, fstype: str, *options: str) -> Iterator[Path]:
    """A file system at a new folder. Whatever a test has done to it, it is unmounted."""
    place.mkdir(parents=True, exist_ok=True)
    extra = ["-o", ",".join(options)] if options else []
    run("mount", "-t", fstype, *extra, source, str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=False, capture_output=True)


@contextlib.contextmanager
def image(folder: Path, fstype: str = "ext4", size: int = IMAGE, *, writable: bool = False) -> Iterator[devices.Loop]:
    """A loop over an empty file system; read-only, as the origins of snapshots are."""
    file = folder / f"{fstype}.image"
    with file.open("wb") as created:
        created.truncate(size)
    run(*_MAKE[fstype], str(file))
    with devices.loop(file, options=[] if writable else ["--read-only"]) as loop:
        yield loop


@contextlib.contextmanager
def store(
    place: Path, size: int, fstype: str = "tmpfs", sight: Sight = "visible", options: Sequence[str] = ()
) -> Iterator[devices.Loop]:
    """A loop over a hole of `size` bytes on a tmpfs or ramfs of its own."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mounted(fstype, place, fstype, *options))
        loop = stack.enter_context(devices.loop(place / "overlay", size))
        if sight == "deleted":
            loop.file.unlink()
        elif sight == "hidden":
            run("umount", "--lazy", str(place))
        yield loop


@contextlib.contextmanager
def live(
    folder: Path,
    scratch: Path,
    persistent: str = "PO",
    size: int = 64 * MIB,
    *,
    name: str = "ow-live",
    fstype: str = "ext4",
    on: str = "tmpfs",
    sight: Sight = "visible",
    options: Sequence[str] = (),
) -> Iterator[Live]:
    """What dracut makes: an image on `scratch`, a snapshot of it, the store on a file system of its own."""
    with (
        image(scratch, fstype) as origin,
        store(folder / f"{name}.store", size, on, sight, options) as cow,
        devices.mapped(name, devices.snapshot_table(origin, cow, persistent)) as device,
        mounted(str(device.node), folder / name, fstype) as place,
    ):
        yield Live(place, device, cow)
