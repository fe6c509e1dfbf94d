# SPDX-License-Identifier: Apache-2.0
"""What is said to help: only what works on this machine."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.model import RAM, RAM_LAYER, Failure, Layer, LayerId, LayerKind, Link, block_ref
from overlaywatch.remedy import LEAST_GROWTH, End, larger, remedy
from overlaywatch.topology import Topology, judge
from overlaywatch.units import GIB, MIB
from tests.unit.test_topology import EXT4, MEMORY, ON_TMPFS, RAMFS, ROOT, ok
from tests.unit.test_topology import TMPFS as COWSPACE

SIZES = st.integers(0, 1 << 45)

TMPFS = End("/", LayerId("tmpfs:/run/live/overlay"), Failure.ENOSPC, True, size_bytes=512 * MIB, ram_left_bytes=2 * GIB)


def test_a_visible_tmpfs_can_be_emptied_or_made_larger() -> None:
    """The command can be pasted; the parameter sizes the same tmpfs at the next boot."""
    assert remedy(TMPFS, "live-boot") == (
        "delete files on /, or mount -o remount,size=1024m /run/live/overlay; "
        "next boot: a larger overlay-size=SIZE (such as 2G or 60%)"
    )
    assert remedy(TMPFS, None) == "delete files on /, or mount -o remount,size=1024m /run/live/overlay"


def test_a_path_with_blanks_is_quoted() -> None:
    """A command that does something else would be worse than none."""
    end = replace(TMPFS, mount_point="/mnt/a b", limit=LayerId("tmpfs:/mnt/a b"))

    assert remedy(end, None) == "delete files on '/mnt/a b', or mount -o remount,size=1024m '/mnt/a b'"


def test_without_inodes_inodes_are_what_is_wanted() -> None:
    """More bytes would not help."""
    assert "remount,nr_inodes=2000 /run/live/overlay" in remedy(replace(TMPFS, inodes=1000), None)


def test_a_tmpfs_cannot_grow_where_ram_has_nothing_left() -> None:
    """It would only change the way of the end."""
    assert remedy(replace(TMPFS, ram_left_bytes=20 * MIB), None) == "delete files on /"
    assert remedy(replace(TMPFS, ram_left_bytes=None), None) == "delete files on /"


def test_a_hidden_tmpfs_can_only_be_emptied() -> None:
    """No path leads to it."""
    assert remedy(replace(TMPFS, limit=LayerId("tmpfs:0:31")), "casper") == "delete files on /"


def test_a_tmpfs_below_a_snapshot_is_made_larger_and_deleting_does_not_help() -> None:
    """As on archiso in 2014: the store is larger than what it lies on."""
    end = replace(TMPFS, reclaimable=False, failure=Failure.DEAD_ROOT)

    assert remedy(end, None) == "mount -o remount,size=1024m /run/live/overlay"


def test_over_a_loop_or_a_pool_deleting_needs_a_trim() -> None:
    """dracut's thin mode lies on /run: fstrim gives the memory back."""
    end = replace(TMPFS, limit=LayerId("tmpfs:/run"), reclaimable=False, trims=True, failure=Failure.IO_ERROR)

    assert remedy(end, None) == "delete files on / and run fstrim /, or mount -o remount,size=1024m /run"
    assert remedy(replace(end, limit=LayerId("dm-thin-pool:live-overlay-pool")), None) == (
        "delete files on / and run fstrim /"
    )


@pytest.mark.parametrize(
    ("system", "hint"),
    [
        ("dracut-dmsquash-live", "; next boot: a larger rd.live.overlay.size=N (in MiB; dracut 041 or later)"),
        (None, ""),
    ],
)
def test_nothing_helps_a_snapshot_before_the_next_boot(system: str | None, hint: str) -> None:
    """It gives nothing back, whatever is deleted."""
    end = End("/", LayerId("dm-snapshot:live-rw"), Failure.READ_ONLY, False, ram_left_bytes=GIB)

    assert remedy(end, system) == f"none until reboot: deleting gives no room back{hint}"


def test_a_store_on_a_medium_is_not_sized_by_a_parameter() -> None:
    """dracut reads the size of a temporary overlay only."""
    end = End("/", LayerId("dm-snapshot:live-rw"), Failure.READ_ONLY, False)

    assert remedy(end, "dracut-dmsquash-live").endswith("; a larger store has to be made on its medium")


def test_memory_is_freed_by_whoever_uses_it() -> None:
    """Swap helps a tmpfs, and not a ramfs; deleting helps where no block device is between."""
    end = End("/", LayerId("ram"), Failure.OOM, reclaimable=False, ram_left_bytes=GIB, swappable=False)

    assert remedy(end, "dracut-dmsquash-live") == "stop what uses memory"
    assert remedy(replace(end, swappable=True, reclaimable=True), None) == (
        "stop what uses memory, or delete files on /, or add swap"
    )


def test_the_parameter_is_for_what_it_sizes() -> None:
    """Not for the file system in the image, and not for another mount; but for the store of a union."""
    disk = End("/", LayerId("filesystem:/"), Failure.ENOSPC, True, ram_left_bytes=GIB)
    brd = replace(disk, limit=LayerId("filesystem:/read-write"), in_union=True)

    assert remedy(disk, "dracut-dmsquash-live") == "delete files on /"
    assert remedy(brd, "kiwi-legacy") == "delete files on /; next boot: a larger ramdisk_size=N (in KiB)"
    assert "next boot" not in remedy(replace(TMPFS, mount_point="/tmp", limit=LayerId("tmpfs:/tmp")), "live-boot")


@pytest.mark.parametrize("system", ["dracut-dmsquash-live", "dracut-dmsquash-live-thin"])
def test_a_larger_store_does_not_help_where_the_tmpfs_below_it_ends(system: str) -> None:
    """rd.live.overlay.size= is how large the pool is said to be; /run has its own size, and that is what ends."""
    end = replace(TMPFS, limit=LayerId("tmpfs:/run"), reclaimable=False, trims=True, failure=Failure.IO_ERROR)

    assert "next boot" not in remedy(end, system)
    assert "next boot" in remedy(replace(end, limit=LayerId("dm-thin-pool:live-overlay-pool")), system)


def test_what_cannot_be_seen_is_said() -> None:
    """And no advice is made up."""
    assert remedy(End("/", None, None, reclaimable=False), "casper").startswith("cannot say")


@pytest.mark.parametrize(
    ("below", "says"),
    [
        (COWSPACE, "stop what uses memory, or delete files on / and run fstrim /, or add swap"),
        (RAMFS, "stop what uses memory"),
    ],
)
def test_a_trim_gives_memory_back_through_all_that_takes_it_back(below: Layer, says: str) -> None:
    """A loop punches holes into a file on a tmpfs; a ramfs knows none."""
    top = replace(EXT4, rests_on=(block_ref(7, 2),))
    chain = Topology((top, below, MEMORY), (Link(block_ref(7, 2), below.provides),)).chain(ROOT.rests_on)

    found = judge(ROOT, chain, dict([ok(top, GIB), ok(below, 2 * GIB), ok(MEMORY, 100 * MIB)]))

    assert (found.limit, found.remedy) == (RAM_LAYER, says)


def test_zram_without_a_limit_gives_memory_back_by_a_trim() -> None:
    """Its pages cannot be swapped, but a discard frees them."""
    zram = Layer(LayerId("zram:zram0"), LayerKind.ZRAM, EXT4.rests_on, (RAM,), Failure.IO_ERROR, reclaimable=True)
    chain = Topology((EXT4, zram, MEMORY), ()).chain(ROOT.rests_on)

    found = judge(ROOT, chain, dict([ok(EXT4, GIB), ok(zram, GIB, cannot_overflow=True), ok(MEMORY, 100 * MIB)]))

    assert found.remedy == "stop what uses memory, or delete files on / and run fstrim /"


def test_what_takes_nothing_back_keeps_it_from_all_below() -> None:
    """A pool that ignores discards: neither it nor the tmpfs that it lies on has room back by a trim."""
    pool = Layer(
        LayerId("dm-thin-pool:p"), LayerKind.DM_THIN_POOL, EXT4.rests_on, (block_ref(7, 2),), Failure.IO_ERROR, False
    )
    chain = Topology((EXT4, pool, COWSPACE, MEMORY), (ON_TMPFS,)).chain(ROOT.rests_on)

    found = judge(ROOT, chain, dict([ok(EXT4, GIB), ok(pool, GIB), ok(COWSPACE, 100 * MIB), ok(MEMORY, GIB)]))

    assert (found.limit, found.remedy) == (COWSPACE.id, "none until reboot: deleting gives no room back")


def test_below_a_loop_no_inode_is_wanted() -> None:
    """The backing file is there: more bytes are what helps, however few inodes its tmpfs has."""
    top = replace(EXT4, rests_on=(block_ref(7, 2),))
    chain = Topology((top, COWSPACE, MEMORY), (ON_TMPFS,)).chain(ROOT.rests_on)
    tmpfs = ok(COWSPACE, 100 * MIB, size_bytes=512 * MIB, inodes=100, inodes_free=0)

    found = judge(ROOT, chain, dict([ok(top, GIB), tmpfs, ok(MEMORY, 4 * GIB)]))

    assert found.remedy == "delete files on / and run fstrim /, or mount -o remount,size=1024m /run/cow"


@given(SIZES, SIZES)
def test_a_larger_size_is_larger_and_fits_into_ram(size: int, ram_left: int) -> None:
    """At most twice as large, by at most half of what is left; whole MiB; or nothing."""
    found = larger(size, ram_left)

    if found is None:
        assert not size or size + min(size, ram_left // 2) < size + LEAST_GROWTH + max(2 * MIB, size // 4)
        return
    assert size < found <= size + min(size, ram_left // 2)
    assert found % MIB == 0


@given(st.integers(64 * MIB, 1 << 40), st.integers(64 * MIB, 1 << 40), st.integers(0, 64 * 1024))
def test_a_proposal_does_not_flicker(size: int, ram_left: int, used: int) -> None:
    """A few pages more or less in RAM give mostly the same line, and at most the next step."""
    one, other = larger(size, ram_left), larger(size, max(0, ram_left - used))

    assert one is None or other is None or abs(one - other) <= max(2 * MIB, size // 4)
