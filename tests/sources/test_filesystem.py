# SPDX-License-Identifier: Apache-2.0
"""File systems on block devices: reserved blocks, and the anonymous device number of a btrfs."""

from overlaywatch.kernel.devmapper import DmDevice, DmTarget
from overlaywatch.kernel.shutdown import Trouble
from overlaywatch.kernel.statfs import StatVfs
from overlaywatch.model import Failure, LayerId, LayerState
from overlaywatch.units import GIB, MIB
from tests.sources.test_live_machines import memory, root, survey
from tests.sources.views import StaticView, figures, loop

BTRFS = "70 1 0:30 /@ / rw - btrfs /dev/mapper/live-rw rw,subvol=/@\n71 70 0:30 /@home /home rw - btrfs /dev/x rw\n"
UUID = "cdbb8d5c-53b4-4832-9b44-fed83a116557"
FILESYSTEM = LayerId("filesystem:/")


def on_snapshot(devices: tuple[tuple[int, int], ...] = ((254, 0),), **more: object) -> StaticView:
    """A btrfs on a snapshot that has 40 MiB left, on a tmpfs that everybody sees."""
    table = (DmTarget(0, 3072000, "snapshot", "7:1 7:2 PO 8"),)
    status = (DmTarget(0, 3072000, "snapshot", "49152/131072 200"),)
    return StaticView(
        BTRFS + "26 70 0:24 / /run rw - tmpfs tmpfs rw\n",
        dm={(254, 0): DmDevice("live-rw", "", 254, 0, False, False, 0, 1, table, status)},
        loops=[loop(2, "/run/overlay", (0, 24))],
        statvfs={"/": figures(GIB, 500 * MIB, 0, 0), "/run": figures(GIB, 200 * MIB)},
        names={(254, 0): "dm-0", (8, 1): "sda1"},
        memory=memory(2 * GIB, GIB),
        btrfs={UUID: devices} if devices else {},
        **more,  # type: ignore[arg-type]
    )


def test_the_chain_of_a_btrfs_goes_on_below_its_anonymous_number() -> None:
    """df says 500 MiB; the snapshot under it has 40."""
    found = root(on_snapshot())

    assert found.chain == ("filesystem:/", "dm-snapshot:live-rw", "tmpfs:/run", "ram")
    assert (found.limit, found.failure) == ("dm-snapshot:live-rw", Failure.READ_ONLY)
    assert found.headroom_bytes is not None
    assert 39 * MIB < found.headroom_bytes * 4 / 3 < 40 * MIB  # a quarter goes into two copies of the metadata


def test_every_device_of_a_btrfs_counts() -> None:
    """One of two is a disk: the other one ends first all the same."""
    assert root(on_snapshot(((8, 1), (254, 0)))).limit == "dm-snapshot:live-rw"


def test_a_btrfs_whose_devices_cannot_be_told_is_unknown_below() -> None:
    """Its own figures are an upper bound, and no headroom."""
    found = root(on_snapshot(()))

    assert (found.headroom_bytes, found.headroom_at_most_bytes) == (None, 500 * MIB)


def test_what_a_btrfs_has_accepted_and_not_counted_is_no_room() -> None:
    """statfs is that of the last commit; blocks are taken from the free ones, in whole blocks."""
    view = on_snapshot(((8, 1),), promised=100 * MIB + 1)

    reading = survey(view).readings[FILESYSTEM]

    assert reading.headroom_bytes == 400 * MIB - 4096
    assert reading.used_bytes == GIB - 400 * MIB + 4096
    assert reading.inodes is None


def test_more_accepted_than_free_is_no_room_at_all() -> None:
    """Never negative."""
    assert survey(on_snapshot(((8, 1),), promised=GIB)).readings[FILESYSTEM].headroom_bytes == 0


def test_errors_of_the_devices_of_a_btrfs_are_a_state() -> None:
    """They are counted by the kernel while the mount table goes on saying rw."""
    assert survey(on_snapshot(errors=2)).readings[FILESYSTEM].state is LayerState.ERRORS


def test_reserved_blocks_are_no_room_for_ordinary_users() -> None:
    """The ratio is that of df, and is 1 when an ordinary user gets ENOSPC."""
    line = "70 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
    half = StatVfs(4096, 1000, 450, 400, 9, 9, read_only=False, flags=0)
    full = StatVfs(4096, 1000, 50, 0, 9, 9, read_only=False, flags=0)
    roots = StatVfs(4096, 1000, 20, 0, 9, 9, read_only=False, flags=0)

    half_full, all_full, beyond = (
        survey(StaticView(line, statvfs={"/": figure})).readings[FILESYSTEM] for figure in (half, full, roots)
    )

    assert half_full.used_ratio == 550 / 950
    assert (half_full.size_bytes, half_full.reserved_bytes) == (4096 * 1000, 4096 * 50)
    assert half_full.details == {"reserved_bytes": 4096 * 50}
    assert (all_full.used_ratio, all_full.headroom_bytes, beyond.used_ratio) == (1, 0, 1)


def on_disk(fstype: str, **more: object) -> StaticView:
    """A root on a disk."""
    line = f"70 1 8:1 / / rw - {fstype} /dev/sda1 rw\n"
    return StaticView(line, statvfs={"/": figures(GIB, GIB)}, names={(8, 1): "sda1"}, **more)  # type: ignore[arg-type]


def test_an_xfs_that_has_shut_itself_down_has_no_room() -> None:
    """statvfs and the mount table go on as if nothing had happened."""
    view = on_disk("xfs", trouble=Trouble(shut_down=True))

    found = root(view)

    assert survey(view).readings[FILESYSTEM].state is LayerState.FAILED
    assert (found.headroom_bytes, found.failure) == (0, Failure.DEAD_ROOT)


def test_an_f2fs_that_wants_to_be_checked_has_errors() -> None:
    """And its room."""
    view = on_disk("f2fs", trouble=Trouble(needs_check=True))

    assert survey(view).readings[FILESYSTEM].state is LayerState.ERRORS
    assert root(view).headroom_bytes == GIB


def test_an_xfs_whose_inodes_are_used_up_while_blocks_are_free() -> None:
    """f_files of xfs is what the free blocks could hold: the ratio falls with them, and is 1 only without them."""
    roomy = StatVfs(4096, 60416, 50000, 50000, 153600, 153000, read_only=False, flags=0)
    full = StatVfs(4096, 60416, 2, 2, 616, 16, read_only=False, flags=0)
    line = "70 1 8:1 / / rw - xfs /dev/sda1 rw\n"

    ratios = [survey(StaticView(line, statvfs={"/": one})).readings[FILESYSTEM].inodes_ratio for one in (roomy, full)]

    assert ratios[0] is not None
    assert ratios[1] is not None
    assert ratios[0] < 0.01
    assert ratios[1] > 0.97
