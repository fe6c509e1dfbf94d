# SPDX-License-Identifier: Apache-2.0
"""Whole machines in miniature, from mount table and device-mapper to the verdict on `/`."""

import errno
import time
from dataclasses import replace

import pytest

from overlaywatch.engine.survey import take_survey
from overlaywatch.kernel.devmapper import DmDevice, DmTarget
from overlaywatch.kernel.meminfo import MemInfo
from overlaywatch.kernel.mountinfo import parse_mountinfo
from overlaywatch.kernel.statfs import Ustat
from overlaywatch.livesystem import recognise
from overlaywatch.model import Failure, LayerId, LayerState, Survey, Verdict
from overlaywatch.registry import make_sources
from overlaywatch.sources.links import holes_bytes
from overlaywatch.topology import Topology, judge
from overlaywatch.units import GIB, MIB
from overlaywatch.watch import choose
from tests.sources.views import StaticView, figures, loop

DRACUT = "64 27 253:0 / /run/initramfs/live ro - iso9660 /dev/vda ro\n70 1 254:0 / / rw - ext4 /dev/mapper/live-rw rw\n"
LIVE_BOOT = (
    "26 25 0:24 / /run rw - tmpfs tmpfs rw\n"
    "27 26 0:25 / /run/live/overlay rw - tmpfs tmpfs rw,size=512000k\n"
    "25 1 0:27 / / rw - overlay overlay rw,lowerdir=/run/live/rootfs/fs/,upperdir=/run/live/overlay/rw,workdir=/w\n"
)
CASPER = (
    "25 1 0:27 / / rw - overlay /cow rw,lowerdir=//filesystem.squashfs,upperdir=/cow/upper,workdir=/cow/work\n"
    "30 25 11:0 / /cdrom ro - iso9660 /dev/sr0 ro\n31 25 7:0 / /rofs ro - squashfs /dev/loop0 ro\n"
)


def memory(total: int, available: int, swap_free: int = 0) -> MemInfo:
    """Memory with so much left."""
    return MemInfo(total, available, available, swap_free, swap_free, 0, 0, 0, 0, 0)


def live_rw(status: str, letter: str = "PO") -> dict[tuple[int, int], DmDevice]:
    """The snapshot on the second loop."""
    table = (DmTarget(0, 3072000, "snapshot", f"7:1 7:2 {letter} 8"),)
    lines = (DmTarget(0, 3072000, "snapshot", status),)
    return {(254, 0): DmDevice("live-rw", "", 254, 0, False, False, 0, 1, table, lines)}


def survey(view: StaticView) -> Survey:
    """What all sources see."""
    return take_survey(make_sources(), view, 0.0, time.monotonic)


def root(view: StaticView) -> Verdict:
    """The verdict on `/`."""
    seen = survey(view)
    mount = next(mount for mount in choose(seen.mounts) if mount.mount_point == "/")
    system = recognise(seen.mounts)
    return judge(mount, Topology(seen.layers, seen.links).chain(mount.rests_on), seen.readings, system)


def dracut(status: str, available: int, **more: object) -> StaticView:
    """A dracut live system whose COW file was deleted with the initramfs."""
    return StaticView(
        DRACUT,
        dm=live_rw(status),
        loops=[loop(1, "/LiveOS/rootfs.img", (0, 29), read_only=True), loop(2, "/overlay (deleted)", (0, 2))],
        statvfs={"/": figures(1500 * MIB, 1100 * MIB)},
        names={(254, 0): "dm-0"},
        memory=memory(GIB, available),
        **more,  # type: ignore[arg-type]
    )


def of_data(room: int) -> int:
    """Of the room below an ext4, what is left for data: the journal takes its part."""
    return room * 31 // 32


def test_dracut_with_a_small_cow() -> None:
    """df shows 1.1 GiB, the COW has 62.8 MiB: the truth is the COW, and its end makes the root read-only."""
    found = root(dracut("2448/131072 24", 700 * MIB))

    assert found.chain == ("filesystem:/", "dm-snapshot:live-rw", "ramfs:rootfs", "ram")
    assert (found.limit, found.failure, found.live_system) == (
        "dm-snapshot:live-rw",
        Failure.READ_ONLY,
        "dracut-dmsquash-live",
    )
    assert found.headroom_bytes == of_data((16078 - 63) * 4096)
    assert "none until reboot" in found.remedy


def test_a_name_and_a_snapshot_elsewhere_are_no_proof() -> None:
    """A root on a disk beside a mounted snapshot called live-rw; a root on a device of that name that is none."""
    beside = StaticView(
        "70 1 8:1 / / rw - ext4 /dev/sda1 rw\n71 70 254:0 / /mnt rw - ext4 /dev/mapper/live-rw rw\n",
        dm=live_rw("2448/131072 24"),
        statvfs=dict.fromkeys(("/", "/mnt"), figures(1500 * MIB, 1100 * MIB)),
        names={(8, 1): "sda1", (254, 0): "dm-0"},
    )
    line = (DmTarget(0, 3072000, "linear", "8:1 0"),)
    named = StaticView(
        DRACUT,
        dm={(254, 0): DmDevice("live-rw", "", 254, 0, False, False, 0, 1, line, ())},
        statvfs={"/": figures(1500 * MIB, 1100 * MIB)},
        names={(254, 0): "dm-0"},
    )

    assert root(beside).live_system is None
    assert root(named).live_system != "dracut-dmsquash-live"


def test_dracut_with_its_default_cow_of_32_gib() -> None:
    """The COW can never overflow; RAM is what ends, and the OOM killer what comes."""
    found = root(dracut("2640/67108864 24", 180 * MIB))

    assert (found.limit, found.failure) == ("ram", Failure.OOM)
    assert found.headroom_bytes == of_data(180 * MIB - 180 * MIB // 64)


def test_without_privilege_nothing_is_claimed_below_the_file_system() -> None:
    """Device-mapper cannot be read: df's figure is an upper bound and no headroom."""
    view = StaticView(
        DRACUT,
        loops=[loop(2, "/overlay (deleted)", None)],
        statvfs={"/": figures(1500 * MIB, 1100 * MIB)},
        names={(254, 0): "dm-0"},
    )

    found = root(view)

    assert (found.headroom_bytes, found.limit, found.headroom_at_most_bytes) == (None, None, 1100 * MIB)
    assert LayerState.UNREADABLE in found.states


def test_a_loop_whose_file_is_told_only_to_root_leaves_the_room_unknown() -> None:
    """The snapshot is seen, what its COW file lies on is not."""
    view = dracut("2448/131072 24", 700 * MIB)
    view._loops = {(7, 2): loop(2, "/overlay (deleted)", None)}

    assert root(view).headroom_bytes is None


def test_a_cow_on_a_tmpfs_that_nobody_sees_any_more() -> None:
    """ustat(2) tells the room of a hidden tmpfs by its device number; its end would kill the root."""
    view = dracut("2448/131072 24", 700 * MIB, ustat={(0, 2): Ustat(20 * MIB // 4096, 5000)})

    found = root(view)

    assert found.chain == ("filesystem:/", "dm-snapshot:live-rw", "tmpfs:0:2", "ram")
    assert (found.headroom_bytes, found.limit, found.failure) == (of_data(20 * MIB), "tmpfs:0:2", Failure.DEAD_ROOT)


def test_dirty_data_is_subtracted_from_the_cow() -> None:
    """What is in the page cache will be in the COW in some seconds."""
    view = dracut("2448/131072 24", 700 * MIB)
    view._memory_info = MemInfo(GIB, GIB, 700 * MIB, 0, 0, 8 * MIB, 2 * MIB, 0, 0, 0)

    assert root(view).headroom_bytes == of_data((16078 - 63) * 4096 - 10 * MIB)


def test_live_boot_names_its_tmpfs_and_a_remedy_that_works() -> None:
    """The upper is visible: the tmpfs is the limit, and can be remounted larger."""
    figure = figures(500 * MIB, 300 * MIB)
    view = StaticView(
        LIVE_BOOT,
        statvfs={"/run": figures(100 * MIB, 90 * MIB)}
        | dict.fromkeys(("/", "/run/live/overlay", "/run/live/overlay/rw"), figure),
        devices={"/run/live/overlay/rw": (0, 25)},
        memory=memory(GIB, 700 * MIB),
    )

    found = root(view)

    assert found.chain == ("overlay:/", "tmpfs:/run/live/overlay", "ram")
    assert (found.headroom_bytes, found.limit, found.failure) == (300 * MIB, "tmpfs:/run/live/overlay", Failure.ENOSPC)
    assert (found.live_system, found.reclaimable) == ("live-boot", True)
    assert "mount -o remount,size=832m /run/live/overlay" in found.remedy


def test_casper_is_measured_through_the_overlay_itself() -> None:
    """Its upper is out of reach for ever; statvfs of `/` and RAM tell the truth."""
    view = StaticView(CASPER, statvfs={"/": figures(2 * GIB, GIB)}, memory=memory(4 * GIB, 3 * GIB))

    found = root(view)

    assert found.chain == ("overlay:/", "ram")
    assert (found.headroom_bytes, found.limit, found.live_system) == (GIB, "overlay:/", "casper")


def test_a_container_is_no_live_system() -> None:
    """An overlay whose upper lies in a container engine's store."""
    line = "25 1 0:27 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/var/lib/docker/overlay2/x/diff,workdir=/w\n"

    assert root(StaticView(line, statvfs={"/": figures(GIB, GIB)})).live_system is None


@pytest.mark.parametrize(
    ("lines", "seen"),
    [
        ("20 1 0:30 / /mnt rw - tmpfs a rw\n21 20 0:31 / /mnt rw - tmpfs b rw\n", ["0:31"]),
        ("21 20 0:31 / /mnt rw - tmpfs b rw\n20 1 0:30 / /mnt rw - tmpfs a rw\n", ["0:31"]),
        (
            "20 1 0:30 / /mnt/a rw - tmpfs a rw\n21 1 0:31 / /mnt rw - tmpfs b rw\n1 0 8:1 / / rw - ext4 c -\n",
            ["0:31"],
        ),
        ("20 1 0:30 / /mnt/a rw - tmpfs a rw\n21 1 0:31 / /mnt/ab rw - tmpfs b rw\n1 1 8:1 / / rw - ext4 c -\n", None),
        ("20 1 0:30 / /a rw - tmpfs a rw\n21 20 0:31 / /a/b/c rw - tmpfs b rw\n1 1 8:1 / / rw - ext4 c -\n", None),
    ],
    ids=["above in order", "above out of order", "a folder above", "not a folder above", "below"],
)
def test_a_covered_mount_is_not_measured_through_what_covers_it(lines: str, seen: list[str] | None) -> None:
    """Its path speaks of another file system. What hangs on what is told by the parents, not by the order."""
    view = StaticView(lines, statvfs=dict.fromkeys(("/mnt", "/mnt/a", "/mnt/ab", "/a", "/a/b/c"), figures(MIB, MIB)))

    devices = [layer.device for layer in survey(view).layers if layer.kind == "tmpfs"]

    assert devices == (seen or ["0:30", "0:31"])


def test_a_tmpfs_without_a_size_is_limited_by_ram() -> None:
    """Zeros in statvfs mean "no limit", never "full"."""
    table, nine = "20 1 0:30 / / rw - tmpfs tmpfs rw,size=0\n", memory(GIB, 9 * MIB)
    view = StaticView(table, statvfs={"/": figures(0, 0)}, memory=nine)

    assert root(view).headroom_bytes == 7 * MIB


def test_errors_that_the_file_system_counted_are_a_state() -> None:
    """/proc/mounts goes on saying rw after a journal has aborted; the error count does not lie."""
    seen = survey(dracut("2448/131072 24", 700 * MIB, errors=4))

    assert seen.readings[LayerId("filesystem:/")].state is LayerState.ERRORS


def test_a_source_that_fails_hides_no_other() -> None:
    """statvfs of `/` fails: the file system is unreadable, everything else is seen."""
    view = dracut("2448/131072 24", 700 * MIB)
    view._statvfs = {}

    seen = survey(view)

    assert seen.readings[LayerId("filesystem:/")].state is LayerState.UNREADABLE
    assert seen.readings[LayerId("dm-snapshot:live-rw")].state is LayerState.OK
    assert all(report.success for report in seen.sources)


def test_a_root_that_an_error_made_read_only_is_still_watched() -> None:
    """Older kernels show the super block as `ro` then; the mount itself stays `rw`. The policies must see it."""
    view = dracut("Overflow", 700 * MIB)
    view._table = parse_mountinfo(DRACUT.replace("live-rw rw", "live-rw ro"))

    found = root(view)

    assert (found.headroom_bytes, found.limit, found.failure) == (0, "dm-snapshot:live-rw", Failure.READ_ONLY)
    assert {LayerState.OVERFLOW, LayerState.READ_ONLY} <= found.states


def test_a_disk_that_an_error_made_read_only_has_no_room_and_no_remedy_by_deleting() -> None:
    """The figures of statvfs go on looking well."""
    view = StaticView("70 1 8:1 / / rw - ext4 /dev/sda1 ro\n", statvfs={"/": figures(GIB, GIB)}, names={(8, 1): "sda1"})

    found = root(view)

    assert (found.headroom_bytes, found.failure, found.reclaimable) == (0, Failure.READ_ONLY, False)


def test_what_was_mounted_read_only_is_not_watched() -> None:
    """Both options say so."""
    seen = survey(StaticView("70 1 8:1 / / ro - ext4 /dev/sda1 ro\n"))

    assert choose(seen.mounts) == ()


class PrivateUpper(StaticView):
    """A machine whose upper directories lie in folders that only root may enter."""

    def stat_device(self, path: str) -> tuple[int, int]:
        """Refused."""
        raise PermissionError(errno.EACCES, "Permission denied", path)


def test_an_upper_that_may_not_be_entered_is_not_taken_for_ram() -> None:
    """Its file system is a snapshot's, which cannot be read either: statvfs is an upper bound."""
    view = PrivateUpper(
        "70 71 254:0 / /rw rw - ext4 /dev/mapper/live-rw rw\n"
        "71 1 0:27 / / rw - overlay overlay rw,lowerdir=/usr,upperdir=/rw/private/upper,workdir=/w\n",
        statvfs={"/": figures(GIB, 500 * MIB), "/rw": figures(GIB, 500 * MIB)},
        names={(254, 0): "dm-0"},
    )

    found = root(view)

    assert (found.headroom_bytes, found.headroom_at_most_bytes) == (None, 500 * MIB)
    assert found.chain[:2] == ("overlay:/", "filesystem:/rw")


def test_a_loop_takes_no_more_than_its_own_bytes() -> None:
    """Of a sparse file of 1 GiB it shows 64 MiB (sizelimit); of a file that was cut short, all is missing."""
    one = loop(2, "/run/overlay", (0, 24), size=64 * MIB)

    assert holes_bytes(one, (GIB, 16 * MIB)) == 64 * MIB
    assert holes_bytes(one, (64 * MIB, 16 * MIB)) == 48 * MIB
    assert holes_bytes(one, (0, 0)) == 64 * MIB
    assert holes_bytes(one, (MIB, 65 * MIB)) == 0
    assert holes_bytes(replace(one, offset=16 * MIB), (32 * MIB, 32 * MIB)) == 48 * MIB
    assert holes_bytes(one, None) is None


def persistent(*mounts: str, allocated: int, **more: object) -> StaticView:
    """A dracut live system whose COW is a file of 64 MiB on the stick, of which 200 MiB are free."""
    return StaticView(
        DRACUT + "".join(mounts),
        dm=live_rw("2448/131072 24"),
        loops=[loop(2, "/LiveOS/overlay-LIVE-1234", (8, 1))],
        statvfs={"/": figures(1500 * MIB, 1100 * MIB), "/run/stick": figures(GIB, 20 * MIB)},
        allocations={(7, 2): (64 * MIB, allocated)},
        names={(254, 0): "dm-0", (8, 1): "sda1"},
        **more,  # type: ignore[arg-type]
    )


def test_a_persistent_cow_on_a_stick() -> None:
    """All there, as on vfat: the COW ends first, survivably. Sparse on a stick that is fuller: the stick, deadly."""
    stick = "72 70 8:1 / /run/stick rw - vfat /dev/sda1 rw\n"

    whole, sparse = root(persistent(stick, allocated=64 * MIB)), root(persistent(stick, allocated=MIB))

    assert whole.chain == ("filesystem:/", "dm-snapshot:live-rw", "filesystem:/run/stick")
    assert (whole.limit, whole.failure) == ("dm-snapshot:live-rw", Failure.READ_ONLY)
    assert (sparse.limit, sparse.failure) == ("filesystem:/run/stick", Failure.DEAD_ROOT)
    assert sparse.headroom_bytes is not None
    assert sparse.headroom_bytes <= 20 * MIB


def test_a_persistent_cow_on_a_stick_that_is_mounted_nowhere() -> None:
    """A disk is no tmpfs, and the blocks that ustat(2) counts have a size that it does not tell."""
    found = root(persistent(allocated=MIB, ustat={(8, 1): Ustat(5000, 5000)}))

    assert not any(layer.startswith("tmpfs:") for layer in found.chain)
    assert (found.headroom_bytes, found.limit) == (None, None)
