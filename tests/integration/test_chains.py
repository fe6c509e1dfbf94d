# SPDX-License-Identifier: Apache-2.0
"""Chains on a real kernel: limit and failure are named before, and the headroom is what then really goes in."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from overlaywatch.config.settings import Settings, WatchSettings
from overlaywatch.model import Failure, Verdict
from overlaywatch.registry import take_look
from tests.integration import stacks
from tests.integration.devices import MIB, run
from tests.integration.stacks import Sight, mounted

pytestmark = pytest.mark.kernel


@dataclass(frozen=True, slots=True)
class Case:
    """A store, and what is to be said of it. `limit` is how the id of the limit begins; `%` is the store's folder."""

    persistent: str
    fstype: str
    on: str
    sight: Sight
    options: tuple[str, ...]
    limit: str
    failure: Failure


ROOMY, TIGHT = ("size=200m",), ("size=40m",)
CASES = [
    Case("PO", "ext4", "ramfs", "deleted", (), "dm-snapshot:", Failure.READ_ONLY),
    Case("P", "ext4", "ramfs", "visible", (), "dm-snapshot:", Failure.DEAD_ROOT),
    Case("N", "xfs", "tmpfs", "visible", ROOMY, "dm-snapshot:", Failure.DEAD_ROOT),
    Case("PO", "xfs", "tmpfs", "deleted", ROOMY, "dm-snapshot:", Failure.READ_ONLY),
    Case("PO", "ext4", "tmpfs", "visible", TIGHT, "tmpfs:%", Failure.DEAD_ROOT),
    Case("PO", "ext4", "tmpfs", "hidden", TIGHT, "tmpfs:0:", Failure.DEAD_ROOT),
    Case("P", "xfs", "tmpfs", "deleted", TIGHT, "tmpfs:%", Failure.DEAD_ROOT),
]


def verdict(place: Path) -> Verdict:
    """One look at one mount point, after everything on its way was written."""
    os.sync()
    tick = take_look(Settings(watch=WatchSettings(include=(str(place),))))
    assert all(report.success for report in tick.survey.sources), tick.survey.sources
    return tick.verdicts[0]


def went_in(file: Path, *, compressible: bool = True) -> int:
    """Bytes of a new file that were safe before the first write failed."""
    done, data = 0, b"x" * MIB if compressible else os.urandom(MIB)
    fd = os.open(file, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(fd, data) == MIB:
            os.fsync(fd)
            done += MIB
    os.close(fd)
    return done


def assert_true(announced: int | None, truth: int) -> None:
    """Not more than 1 % (or 1 MiB, the grain of the writes) too much, nor 5 % (or 4 MiB) too little."""
    assert announced is not None
    assert announced - truth <= max(truth // 100, MIB)
    assert truth - announced <= max(truth // 20, 4 * MIB)


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.persistent}-{case.fstype}-{case.on}-{case.sight}-{case.limit}"
)
def test_snapshot_over_memory(tmp_path: Path, scratch: Path, case: Case) -> None:
    """ext4 and xfs on every kind of store, seen and unseen: the first layer to end is known beforehand."""
    with stacks.live(
        tmp_path, scratch, case.persistent, fstype=case.fstype, on=case.on, sight=case.sight, options=case.options
    ) as live:
        found = verdict(live.place)
        truth = went_in(live.place / "more")
    assert found.limit is not None
    assert found.limit.startswith(case.limit.replace("%", str(tmp_path)))
    assert (found.failure, found.chain[1], found.chain[-1]) == (case.failure, live.layer, "ram")
    assert_true(found.headroom_bytes, truth)


@contextlib.contextmanager
def overlay(folder: Path, *, hidden: bool) -> Iterator[Path]:
    """An overlay on a tmpfs of 40 MiB, which may have been left behind as an initramfs does it."""
    with mounted("tmpfs", folder / "base", "tmpfs", "size=40m") as base:
        for name in ("lower", "upper", "work"):
            (base / name).mkdir()
        options = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
        with mounted("overlay", folder / "root", "overlay", options) as place:
            if hidden:
                run("umount", "--lazy", str(base))
            yield place


@pytest.mark.parametrize("hidden", [False, True])
def test_overlay_on_tmpfs(tmp_path: Path, hidden: bool) -> None:
    """statvfs of the overlay tells the truth, whether the upper's file system can be seen or not."""
    with overlay(tmp_path, hidden=hidden) as place:
        found = verdict(place)
        truth = went_in(place / "more")
        after = verdict(place)
    assert found.limit is not None
    assert found.limit.startswith("tmpfs:0:" if hidden else f"tmpfs:{tmp_path}/base")
    assert (found.failure, found.reclaimable) == (Failure.ENOSPC, True)
    assert_true(found.headroom_bytes, truth)
    assert after.headroom_bytes == 0


@contextlib.contextmanager
def overlay_on(base: Path, folder: Path) -> Iterator[Path]:
    """An overlay whose upper lies on a file system at `base`, which is then left behind."""
    for name in ("lower", "upper", "work"):
        (base / name).mkdir()
    options = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
    with mounted("overlay", folder / "root", "overlay", options) as place:
        run("umount", "--lazy", str(base))
        yield place


def test_hidden_upper_on_a_disk(tmp_path: Path, scratch: Path) -> None:
    """An ext4 that no mount leads to, on a loop with room enough below: the ext4 is the limit, and nobody is killed."""
    with (
        stacks.image(scratch, writable=True) as disk,
        mounted(str(disk.node), tmp_path / "disk", "ext4") as base,
        overlay_on(base, tmp_path) as place,
    ):
        found = verdict(place)
        truth = went_in(place / "more")
    assert found.chain[:2] == (f"overlay:{place}", f"filesystem:{disk.node.name}")
    assert (found.limit, found.failure) == (f"filesystem:{disk.node.name}", Failure.ENOSPC)
    assert_true(found.headroom_bytes, truth)


@pytest.mark.parametrize(("persistent", "failure"), [("P", Failure.DEAD_ROOT), ("PO", Failure.READ_ONLY)])
def test_hidden_upper_on_a_snapshot(tmp_path: Path, scratch: Path, persistent: str, failure: Failure) -> None:
    """The chain goes on below the hidden ext4: the store of the snapshot is what ends."""
    with stacks.live(tmp_path, scratch, persistent, options=ROOMY) as live, overlay_on(live.place, tmp_path) as place:
        found = verdict(place)
        truth = went_in(place / "more")
    assert (found.limit, found.failure, found.chain[0]) == (live.layer, failure, f"overlay:{place}")
    assert_true(found.headroom_bytes, truth)


def test_hidden_memory_without_any_figure_leaves_the_room_unknown(tmp_path: Path, scratch: Path) -> None:
    """Zeros of a hidden super block may be a ramfs, or a tmpfs that is full to the last inode: no claim is made.

    The initramfs itself is known by its number, see tests/sources.
    """
    with stacks.live(tmp_path, scratch, "P", on="ramfs", sight="hidden") as live:
        found = verdict(live.place)
        truth = went_in(live.place / "more")
    assert (found.headroom_bytes, found.limit) == (None, None)
    assert found.headroom_at_most_bytes is not None
    assert found.headroom_at_most_bytes + MIB >= truth
