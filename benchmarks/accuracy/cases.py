# SPDX-License-Identifier: Apache-2.0
"""What is built and how it is filled: every combination of issue and field, each with a name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.accuracy.builders import Chain, Disk, Memory, Overlay, RamDisk, Snapshot, Thin, Zram
from benchmarks.accuracy.writer import Way
from tests.integration.devices import MIB

Guest = Literal["roomy", "small"]
"""With 2 GiB of RAM, more than any chain wants; with 300 MiB, which end first."""

MEMORY: Final[dict[Guest, str]] = {"roomy": "2G", "small": "300M"}
WAYS: Final[tuple[Way, ...]] = ("new", "overwrite", "mix")
SMALL, LARGE = 48 * MIB, 200 * MIB
LONG: Final = 320 * MIB
"""Of a store in which 1 % is more than 1 MiB, and a journal is gone through more than once."""
WHOLE: Final = 640 * MIB
"""Of a store that can take the whole image."""
GIB: Final = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Case:
    """One filling of one chain."""

    name: str
    chain: Chain
    way: Way
    guest: Guest = "roomy"

    @property
    def id(self) -> str:
        """One word for the command line."""
        return f"{self.name.replace(' ', '-')}-{self.way}"


def snapshots() -> Iterator[Case]:
    """N, P and PO, chunks of 4 and of 128 KiB, three file systems, three places for the store."""
    places = {
        "in tmpfs": (SMALL, "tmpfs", (f"size={LARGE}",)),
        "larger than its tmpfs": (LARGE, "tmpfs", (f"size={SMALL}",)),
        "in ramfs": (SMALL, "ramfs", ()),
    }
    for fstype in ("ext4", "xfs", "btrfs"):
        for where, (cow, on, options) in places.items():
            for persistent in ("N", "P", "PO"):
                for chunk in (8, 256):
                    chain = Snapshot(persistent, chunk, fstype, cow, on, options)
                    yield from each_way(f"{persistent} {chunk} {fstype} {where}", chain)
        long = Snapshot("PO", 8, fstype, LONG, "ramfs")
        yield from each_way(f"PO 8 {fstype} of 320 MiB in ramfs", long, ("new",))
        whole = Snapshot("PO", 8, fstype, WHOLE, "ramfs")
        yield from each_way(f"PO 8 {fstype} with room for the whole image", whole, ("new",))


def unseen() -> Iterator[Case]:
    """Stores as initramfs leave them, and writes that cost more than they bring."""
    for sight in ("deleted", "hidden"):
        for name, cow, size in (("in", SMALL, LARGE), ("larger than its", LARGE, SMALL)):
            chain = Snapshot("PO", 8, "ext4", cow, "tmpfs", (f"size={size}",), sight)
            yield from each_way(f"PO 8 ext4 {name} {sight} tmpfs", chain, ("new",))
    for chunk in (8, 256):
        chain = Snapshot("PO", chunk, "ext4", SMALL, "tmpfs", (f"size={LARGE}",))
        yield from each_way(f"PO {chunk} ext4 in tmpfs", chain, ("scattered",))


def others() -> Iterator[Case]:
    """Thin pools, overlays, zram, RAM disks, sparse images, memory itself."""
    for fstype in ("ext4", "xfs"):
        small = Thin(fstype, SMALL, (f"size={LARGE}",))
        yield from each_way(f"thin {fstype} small pool", small)
        yield from each_way(f"thin {fstype} pool of 320 MiB", Thin(fstype, LONG, (f"size={WHOLE}",)), ("new",))
        yield from each_way(f"thin {fstype} larger than its tmpfs", Thin(fstype, LARGE, (f"size={SMALL}",)))
    yield from each_way("overlay", Overlay((f"size={SMALL}",)))
    yield from each_way("overlay on hidden tmpfs", Overlay((f"size={SMALL}",), hidden=True))
    yield from each_way("overlay with few inodes", Overlay((f"size={SMALL}", "nr_inodes=20")), ("new",))
    for fstype in ("ext4", "xfs", "btrfs"):
        size = 320 * MIB
        sparse = Disk(fstype, size, (f"size={SMALL * 2}",))
        yield from each_way(f"sparse {fstype} image on small tmpfs", sparse, ("new",))
        disk = Disk(fstype, size, ())
        yield from each_way(f"{fstype} image on large tmpfs", disk, ("new",))
    yield from each_way("zram ext4", Zram("ext4", 128 * MIB, 0), ("new",))
    yield from each_way("zram ext4 with mem_limit", Zram("ext4", 128 * MIB, SMALL), ("new",))
    yield from each_way("ext4 on a RAM disk", RamDisk("ext4", 128 * MIB), ("new",))
    yield from each_way("tmpfs", Memory("tmpfs", (f"size={SMALL}",)), ("new",))


def memory_ends() -> Iterator[Case]:
    """What dracut sets up by default, and tmpfs and ramfs without a limit: RAM is all there is."""
    default = Snapshot("PO", 8, "ext4", 32 * GIB, "ramfs", (), "deleted")
    yield from each_way("PO 8 ext4 of 32 GiB in ramfs", default, ("new",), "small")
    sparse = Snapshot("PO", 8, "ext4", 32 * GIB, "tmpfs", ("size=1g",), "deleted")
    yield from each_way("PO 8 ext4 of 32 GiB in tmpfs of 1 GiB", sparse, ("new",), "small")
    yield from each_way("tmpfs of 1 GiB", Memory("tmpfs", ("size=1g",)), ("new",), "small")
    yield from each_way("ramfs", Memory("ramfs", ()), ("new",), "small")
    yield from each_way("ext4 of 400 MiB on a RAM disk", RamDisk("ext4", 400 * MIB), ("new",), "small")
    yield from each_way("ext4 of 400 MiB on zram", Zram("ext4", 400 * MIB, 0), ("new",), "small")


def each_way(name: str, chain: Chain, ways: Sequence[Way] = WAYS, guest: Guest = "roomy") -> Iterator[Case]:
    """The same chain, built anew for each way to fill it."""
    for way in ways:
        yield Case(name, chain, way, guest)


CASES: Final = (*snapshots(), *unseen(), *others(), *memory_ends())
