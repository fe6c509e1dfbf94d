# SPDX-License-Identifier: Apache-2.0
"""btrfs on real devices: the chain goes on below its anonymous number, and its figures are not believed blindly."""

import contextlib
import os
from pathlib import Path

import pytest

from overlaywatch.config.settings import Settings, WatchSettings
from overlaywatch.model import Failure, LayerId, Survey
from overlaywatch.registry import take_look
from tests.integration import devices, stacks
from tests.integration.devices import KIB, MIB, run
from tests.integration.stacks import mounted
from tests.integration.test_chains import assert_true, verdict, went_in

pytestmark = pytest.mark.kernel


def unsynced(place: Path) -> Survey:
    """One look while data is still on its way."""
    return take_look(Settings(watch=WatchSettings(include=(str(place),)))).survey


def test_btrfs_on_a_snapshot(tmp_path: Path, scratch: Path) -> None:
    """Metadata is written twice and never in place: all of it goes into the store. Large files leave more for data."""
    with stacks.live(tmp_path, scratch, "PO", fstype="btrfs", options=("size=200m",)) as live:
        found = verdict(live.place)
        truth = went_in(live.place / "more")
    assert (found.chain[1], found.limit, found.failure) == (live.layer, live.layer, Failure.READ_ONLY)
    assert found.headroom_bytes is not None
    assert found.headroom_bytes < truth < found.headroom_bytes * 5 // 4


def test_small_files_on_btrfs(tmp_path: Path, scratch: Path) -> None:
    """32 KiB each, and a sync now and then: what metadata takes is no room."""
    done = 0
    with stacks.live(tmp_path, scratch, "PO", fstype="btrfs", options=("size=200m",)) as live:
        found = verdict(live.place)
        with contextlib.suppress(OSError):
            while "Overflow" not in live.device.status:
                fill(live.place / str(done), 4 * MIB)
                done += 4 * MIB
    assert found.headroom_bytes is not None
    assert found.headroom_bytes <= done


def fill(folder: Path, size: int) -> None:
    """Small files in a new folder, made safe together; raises OSError."""
    folder.mkdir()
    for number in range(size // (32 * KIB)):
        (folder / str(number)).write_bytes(os.urandom(32 * KIB))
    os.sync()


def test_btrfs_on_a_loop_fills_by_itself(tmp_path: Path, scratch: Path) -> None:
    """Its own end comes first; what it has accepted since its last commit is counted."""
    with devices.loop(scratch / "disk", 160 * MIB) as disk:
        run("mkfs.btrfs", "-q", str(disk.node))
        with mounted(str(disk.node), tmp_path / "m", "btrfs") as place:
            found = verdict(place)
            (place / "half").write_bytes(os.urandom(30 * MIB))
            with (place / "half").open("rb") as half:
                os.fsync(half)
            between = unsynced(place).readings[LayerId(f"filesystem:{place}")].headroom_bytes
            truth = went_in(place / "more") + 30 * MIB
    assert (found.limit, found.failure) == (f"filesystem:{place}", Failure.ENOSPC)
    assert_true(found.headroom_bytes, truth)
    assert_true(between, truth - 30 * MIB)


def test_btrfs_on_two_devices(tmp_path: Path, scratch: Path) -> None:
    """Both are in the chain; the one that gives less is the limit."""
    with (
        stacks.store(tmp_path / "small", 128 * MIB, options=("size=60m",)) as one,
        devices.loop(scratch / "disk", 128 * MIB) as other,
    ):
        run("mkfs.btrfs", "-q", "-d", "single", "-m", "raid1", str(one.node), str(other.node))
        with mounted(str(other.node), tmp_path / "m", "btrfs") as place:
            found = verdict(place)
    assert {f"tmpfs:{tmp_path}/small", f"tmpfs:{scratch}"} <= set(found.chain)
    assert (found.limit, found.failure) == (f"tmpfs:{tmp_path}/small", Failure.IO_ERROR)
