# SPDX-License-Identifier: Apache-2.0
"""Where the upper of a union is, when no path leads there."""

from dataclasses import replace

import pytest

from overlaywatch.kernel.statfs import StatVfs, Ustat
from overlaywatch.model import Failure, LayerKind, Verdict
from overlaywatch.sources.overlay import OverlaySource
from overlaywatch.units import GIB, MIB
from tests.sources.test_live_machines import CASPER, live_rw, memory, root
from tests.sources.views import StaticView, figures, loop

TMPFS = figures(2 * GIB, GIB, files=5000, files_free=4000)
EXT4 = replace(TMPFS, blocks_available=TMPFS.blocks_free - 1000)


def like(stat: StatVfs) -> Ustat:
    """What ustat(2) says of a file system with these figures."""
    return Ustat(*stat.room)


def casper(stat: StatVfs = TMPFS, **more: object) -> StaticView:
    """An overlay whose upper stayed in the initramfs."""
    return StaticView(CASPER, statvfs={"/": stat}, memory=memory(4 * GIB, 3 * GIB), **more)  # type: ignore[arg-type]


def said(found: Verdict) -> tuple[object, ...]:
    """What the tests are about."""
    return found.limit, found.headroom_bytes, found.failure


def test_a_hidden_tmpfs_is_known_by_its_figures() -> None:
    """One number answers as the union does: it has a name, a size, and its own limit above RAM."""
    view = casper(ustat={(0, 26): like(TMPFS), (0, 28): Ustat(TMPFS.blocks_free, 1)})

    found = root(view)

    assert found.chain == ("overlay:/", "tmpfs:0:26", "ram")
    assert said(found) == ("tmpfs:0:26", GIB, Failure.ENOSPC)
    assert found.used_ratio == 0.5


def test_a_hidden_disk_is_not_taken_for_ram() -> None:
    """An upper on an unmounted-looking partition: RAM does not matter, and nobody is killed."""
    view = casper(EXT4, ustat={(8, 2): like(EXT4)}, names={(8, 2): "sda2"})

    found = root(view)

    assert found.chain == ("overlay:/", "filesystem:sda2")
    assert said(found) == ("filesystem:sda2", EXT4.blocks_available * 4096, Failure.ENOSPC)


def test_the_chain_goes_on_below_a_hidden_disk() -> None:
    """The upper is an ext4 on a snapshot: its store ends first, and with an error for the overlay."""
    view = casper(
        EXT4,
        ustat={(254, 0): like(EXT4), (0, 2): Ustat(0, 0)},
        names={(254, 0): "dm-0"},
        dm=live_rw("2448/131072 24"),
        loops=[loop(2, "/overlay (deleted)", (0, 2))],
    )

    found = root(view)

    assert found.chain == ("overlay:/", "filesystem:dm-0", "dm-snapshot:live-rw", "ramfs:rootfs", "ram")
    assert said(found) == ("dm-snapshot:live-rw", (16078 - 63) * 4096, Failure.READ_ONLY)


def test_without_privilege_nothing_is_claimed_below_a_hidden_disk() -> None:
    """What a device-mapper device lies on is told to root only: the figures are an upper bound."""
    found = root(casper(EXT4, ustat={(254, 0): like(EXT4)}, names={(254, 0): "dm-0"}))

    assert (found.headroom_bytes, found.headroom_at_most_bytes) == (None, EXT4.blocks_available * 4096)


@pytest.mark.parametrize("ustat", [{}, {(0, 26): like(TMPFS), (0, 27): like(TMPFS)}], ids=["none", "several"])
def test_figures_of_a_tmpfs_stand_over_ram(ustat: dict[tuple[int, int], Ustat]) -> None:
    """No ustat(2) on this machine, or two that are both still empty."""
    found = root(casper(ustat=ustat))

    assert found.chain == ("overlay:/", "ram")
    assert said(found) == ("overlay:/", GIB, Failure.ENOSPC)


@pytest.mark.parametrize(
    "stat",
    [EXT4, replace(TMPFS, block_size=1024), replace(TMPFS, files=0, files_free=0)],
    ids=["blocks reserved", "small blocks", "no inodes"],
)
def test_figures_that_no_tmpfs_gives_are_not_shown_over_ram(stat: StatVfs) -> None:
    """ext4, or btrfs: what lies below it may be smaller, so the figures are an upper bound."""
    found = root(casper(stat))

    assert (found.limit, found.headroom_bytes) == (None, None)
    assert found.headroom_at_most_bytes == stat.blocks_available * stat.block_size
    assert "ram" not in found.chain


def test_zeros_are_no_limit_and_no_fullness() -> None:
    """An upper on a ramfs: RAM without swap is what is left."""
    view = casper(figures(0, 0, 0, 0))
    view._memory_info = memory(GIB, 300 * MIB, swap_free=GIB)

    assert said(root(view)) == ("ram", 300 * MIB - 300 * MIB // 64, Failure.OOM)


def test_a_visible_file_system_under_another_path_is_found() -> None:
    """The mount was moved after the union was made: its layer is that of the mount, which can be made larger."""
    lines = (
        "26 25 0:25 / /run/live/overlay rw - tmpfs tmpfs rw\n"
        "25 1 0:27 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/live/overlay/rw,workdir=/live/overlay/work\n"
    )
    view = StaticView(
        lines,
        statvfs={"/": TMPFS, "/run/live/overlay": TMPFS},
        ustat={(0, 25): like(TMPFS)},
        memory=memory(4 * GIB, 3 * GIB),
    )

    assert root(view).chain == ("overlay:/", "tmpfs:/run/live/overlay", "ram")


@pytest.mark.parametrize(("fstype", "device"), [("ubifs", (0, 17)), ("jffs2", (31, 6))])
def test_an_upper_on_raw_flash_is_a_file_system_like_others(fstype: str, device: tuple[int, int]) -> None:
    """OpenWrt: neither counts inodes, and ubifs has no block device; there is nothing below that ends earlier."""
    lines = (
        f"26 25 {device[0]}:{device[1]} / /overlay rw - {fstype} flash rw\n"
        "25 1 0:27 / / rw - overlay overlayfs:/overlay rw,lowerdir=/,upperdir=/overlay/upper,workdir=/overlay/work\n"
    )
    stat = figures(64 * MIB, 40 * MIB, files=0, files_free=0)
    view = StaticView(
        lines,
        statvfs=dict.fromkeys(("/", "/overlay", "/overlay/upper"), stat),
        devices={"/overlay/upper": device},
        names={(31, 6): "mtdblock6"},
        memory=memory(GIB, GIB),
    )

    found = root(view)

    assert found.chain == ("overlay:/", "filesystem:/overlay")
    assert said(found) == ("filesystem:/overlay", 40 * MIB, Failure.ENOSPC)


def test_a_path_that_leads_to_another_tmpfs_of_the_same_size_is_not_believed() -> None:
    """The stray tmpfs of old live-boot: it covers the real one, is of the same size, and stays empty."""
    lines = (
        "21 22 0:18 / /live/overlay rw - tmpfs tmpfs rw\n"
        "22 25 0:19 / /live/overlay rw - tmpfs tmpfs rw\n"
        "25 1 0:27 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/live/overlay,workdir=/w\n"
    )
    empty = figures(2 * GIB, 2 * GIB, files=5000, files_free=4999)
    view = StaticView(
        lines,
        statvfs={"/": TMPFS, "/live/overlay": empty},
        devices={"/live/overlay": (0, 18)},
        ustat={(0, 18): like(empty), (0, 19): like(TMPFS)},
        memory=memory(4 * GIB, 3 * GIB),
    )

    assert said(root(view)) == ("tmpfs:0:19", GIB, Failure.ENOSPC)


class Counting(StaticView):
    """Counts how often all numbers are asked."""

    searches = 0

    @property
    def super_blocks(self) -> tuple[tuple[int, int], ...]:
        """One search."""
        Counting.searches += 1
        return super().super_blocks


def test_the_search_is_made_once() -> None:
    """As long as the figures go on agreeing; two that looked alike are told apart as soon as they differ."""
    Counting.searches = 0
    source, hidden = OverlaySource(), {(0, 26): like(TMPFS), (0, 27): like(TMPFS)}
    view = Counting(CASPER, statvfs={"/": TMPFS}, ustat=hidden)
    names = []
    for now in (0.0, 1.0, 20.0, 40.0):
        names.append([layer.id for layer in source.survey(view, now).layers])
        hidden[0, 27] = Ustat(int(now), 7)

    assert names == [["overlay:/"], ["overlay:/"], ["overlay:/", "tmpfs:0:26"], ["overlay:/", "tmpfs:0:26"]]
    assert Counting.searches == 1


def test_what_parts_from_the_union_is_not_its_upper() -> None:
    """Two that agreed by chance: the next search finds the real one."""
    source, chance = OverlaySource(), {(0, 26): like(TMPFS)}
    view = casper(ustat=chance)
    assert [layer.id for layer in source.survey(view, 0.0).layers] == ["overlay:/", "tmpfs:0:26"]

    chance.update({(0, 26): Ustat(5, 5), (0, 30): like(TMPFS)})

    assert [layer.id for layer in source.survey(view, 1.0).layers] == ["overlay:/", "tmpfs:0:30"]


def test_uppers_on_one_tmpfs_are_one_layer() -> None:
    """overlayroot makes an overlay of every file system of fstab; all of them fill the same tmpfs."""
    lines = CASPER + "40 25 0:41 / /srv rw - overlay overlay rw,lowerdir=/s,upperdir=/cow/srv,workdir=/cow/w\n"
    view = StaticView(lines, statvfs={"/": TMPFS, "/srv": TMPFS}, ustat={(0, 26): like(TMPFS)})

    found = OverlaySource().survey(view, 0.0)

    assert [layer.id for layer in found.layers if layer.kind is LayerKind.TMPFS] == ["tmpfs:0:26"]
