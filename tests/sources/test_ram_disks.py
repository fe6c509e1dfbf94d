# SPDX-License-Identifier: Apache-2.0
"""Block devices that are RAM: brd, that takes its pages once, and zram, that may have a limit."""

from overlaywatch.kernel.ram_disk import ZramStatus
from overlaywatch.model import Failure, LayerId, LayerState
from overlaywatch.sources.zram import ZramSource
from overlaywatch.units import GIB, MIB
from tests.sources.test_live_machines import memory, of_data, root, survey
from tests.sources.views import StaticView, figures

KIWI = (
    "30 1 1:1 / /read-write rw - ext3 /dev/ram1 rw\n"
    "31 1 1:2 / /livecd ro - iso9660 /dev/ram2 ro\n"
    "25 1 0:27 / / rw - overlayfs overlayfs rw,lowerdir=/read-only,upperdir=/read-write\n"
)
ON_ZRAM = "30 1 253:0 / / rw - ext4 /dev/zram0 rw\n"
ZRAM = LayerId("zram:zram0")


def kiwi(available: int, taken: int | None) -> StaticView:
    """openSUSE's live system of 2014: 500 MiB of brd, of which the overlay's upper has used 48."""
    room = figures(477 * MIB, 400 * MIB)
    return StaticView(
        KIWI,
        statvfs={"/": room, "/read-write": room},
        devices={"/read-write": (1, 1)},
        names={(1, 1): "ram1", (1, 2): "ram2"},
        sizes={(1, 1): 500 * MIB, (1, 2): GIB},
        brd=taken,
        memory=memory(2 * GIB, available, swap_free=GIB),
    )


def on_zram(status: ZramStatus, available: int = GIB) -> StaticView:
    """ext4 on a zram."""
    return StaticView(
        ON_ZRAM,
        statvfs={"/": figures(190 * MIB, 180 * MIB)},
        names={(253, 0): "zram0"},
        zram=status,
        memory=memory(2 * GIB, available, swap_free=GIB),
    )


def test_a_brd_with_enough_ram_is_no_limit() -> None:
    """The file system on it is, cleanly; what is mounted read-only is no layer."""
    view = kiwi(GIB, 100 * MIB)

    found = root(view)

    assert found.chain == ("overlay:/", "filesystem:/read-write", "brd:ram1", "ram")
    assert (found.limit, found.failure, found.headroom_bytes) == ("filesystem:/read-write", Failure.ENOSPC, 400 * MIB)
    assert "brd:ram2" not in survey(view).readings


def test_a_brd_takes_from_ram_what_it_has_not_taken_yet() -> None:
    """RAM has 300 MiB, without swap: enough for the 250 MiB that were never written to, not for 400."""
    assert root(kiwi(300 * MIB, 250 * MIB)).limit == "filesystem:/read-write"

    short = root(kiwi(300 * MIB, 100 * MIB))

    assert (short.limit, short.failure) == ("ram", Failure.OOM)
    assert short.headroom_bytes == of_data(300 * MIB - 300 * MIB // 64)


def test_without_debugfs_all_of_a_brd_may_still_be_taken() -> None:
    """Nobody tells how much it has: the larger demand is believed."""
    seen = survey(kiwi(300 * MIB, None)).readings[LayerId("brd:ram1")]

    assert (seen.used_bytes, seen.headroom_bytes, seen.cannot_overflow) == (None, 500 * MIB, True)
    assert root(kiwi(300 * MIB, None)).limit == "ram"


def test_a_zram_ends_at_its_limit_with_data_that_does_not_compress() -> None:
    """60 MiB of memory, whatever the 200 MiB of disksize and the 180 MiB of df promise."""
    found = root(on_zram(ZramStatus(200 * MIB, 20 * MIB, 5 * MIB, 6 * MIB, 60 * MIB)))

    assert found.chain == ("filesystem:/", ZRAM, "ram")
    assert (found.limit, found.failure, found.headroom_bytes) == (ZRAM, Failure.IO_ERROR, of_data(54 * MIB))
    assert not found.reclaimable


def test_a_zram_without_a_limit_ends_with_ram() -> None:
    """It can take all of its disksize, and swap is no help."""
    status = ZramStatus(200 * MIB, 20 * MIB, 5 * MIB, 6 * MIB, None)

    assert root(on_zram(status)).limit == "filesystem:/"
    assert root(on_zram(status, 100 * MIB)).limit == "ram"
    assert root(on_zram(ZramStatus(200 * MIB, 0, 0, 0, GIB), 100 * MIB)).limit == "ram"


def test_figures_and_peek_of_a_zram() -> None:
    """The limit is the size, the memory taken is the use."""
    source, view = ZramSource(), on_zram(ZramStatus(200 * MIB, 20 * MIB, 5 * MIB, 6 * MIB, 60 * MIB))
    found = source.survey(view, 0.0)

    seen = found.readings[0]

    assert (seen.size_bytes, seen.used_bytes, seen.headroom_bytes) == (60 * MIB, 6 * MIB, 54 * MIB)
    assert seen.details["original_data_bytes"] == 20 * MIB
    assert source.peek(view, found.layers[0], seen) == seen


def test_a_zram_that_cannot_be_read_is_unknown() -> None:
    """Old kernels have no mm_stat."""
    view = on_zram(ZramStatus(1, 0, 0, 0, None))
    view._zram = None

    assert survey(view).readings[ZRAM].state is LayerState.UNREADABLE
    assert root(view).headroom_bytes is None


def test_a_zram_that_is_only_swapped_to_is_no_layer() -> None:
    """Nothing is mounted on it."""
    view = StaticView("30 1 8:1 / / rw - ext4 /dev/sda1 rw\n", statvfs={"/": figures(GIB, GIB)}, names={(8, 1): "sda1"})

    assert not any(layer.kind == "zram" for layer in survey(view).layers)
