# SPDX-License-Identifier: Apache-2.0
"""Thin pools on a real kernel: what ends first is known before, and deleting gives room back only with a discard."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from overlaywatch.config.settings import Settings
from overlaywatch.model import Failure, LayerState, Reading
from overlaywatch.registry import take_look
from tests.integration import devices, stacks
from tests.integration.devices import KIB, MIB, SECTOR, run
from tests.integration.stacks import mounted
from tests.integration.test_chains import assert_true, verdict, went_in

pytestmark = pytest.mark.kernel

TIMEOUT = Path("/sys/module/dm_thin_pool/parameters/no_space_timeout")


@dataclass(frozen=True, slots=True)
class Thin:
    """A file system on a volume over an image, as rd.live.overlay.thin makes it."""

    place: Path
    pool: devices.Mapped
    under: Path

    @property
    def layer(self) -> str:
        """The layer that the daemon calls it."""
        return f"dm-thin-pool:{self.pool.name}"

    def reading(self) -> Reading:
        """The pool as one look sees it."""
        readings = take_look(Settings()).survey.readings
        return next(reading for name, reading in readings.items() if name == self.layer)


@contextlib.contextmanager
def thin(folder: Path, scratch: Path, data: int, metadata: int = 4 * MIB, options: str = "size=200m") -> Iterator[Thin]:
    """Blocks of 512 KiB and an external origin, as dracut has them; both files on one tmpfs."""
    with (
        stacks.image(scratch) as origin,
        mounted("tmpfs", folder / "under", "tmpfs", options) as under,
        devices.loop(under / "meta", metadata) as below_metadata,
        devices.loop(under / "data", data) as below_data,
        devices.mapped(
            "ow-pool",
            f"0 {data // SECTOR} thin-pool {below_metadata.number} {below_data.number} 1024 1024",
        ) as pool,
    ):
        run("dmsetup", "message", pool.name, "0", "create_thin 0")
        table = f"0 {origin.sectors} thin {pool.number} 0 {origin.number}"
        with devices.mapped("ow-live", table) as volume, mounted(str(volume.node), folder / "m", "ext4") as place:
            yield Thin(place, pool, under)


@pytest.fixture(autouse=True)
def _short_wait(kernel_module: object) -> Iterator[None]:
    """Writers wait for a second, not for a minute."""
    del kernel_module
    run("modprobe", "dm-thin-pool")
    before = TIMEOUT.read_text()
    TIMEOUT.write_text("1")
    yield
    TIMEOUT.write_text(before)


def test_a_small_pool_ends_first(tmp_path: Path, scratch: Path) -> None:
    """Announced, filled, compared; then the word of the kernel, and that the wait is over."""
    with thin(tmp_path, scratch, 64 * MIB) as live:
        found = verdict(live.place)
        before = live.reading()
        truth = went_in(live.place / "more")
        after = live.reading()
    assert (found.chain[1:], found.limit) == ((live.layer, f"tmpfs:{live.under}", "ram"), live.layer)
    assert found.failure is Failure.IO_ERROR
    assert (before.state, after.state, after.headroom_bytes) == (LayerState.OK, LayerState.OUT_OF_DATA_SPACE, 0)
    assert "I/O errors" in after.reason
    assert_true(found.headroom_bytes, truth)


def test_a_small_tmpfs_below_a_large_pool_ends_first(tmp_path: Path, scratch: Path) -> None:
    """The default of dracut: the pool is at some percent when /run is full."""
    with thin(tmp_path, scratch, 4096 * MIB, options="size=64m") as live:
        found = verdict(live.place)
        truth = went_in(live.place / "more")
        after = live.reading()
    assert (found.limit, found.failure) == (f"tmpfs:{live.under}", Failure.IO_ERROR)
    assert found.oversubscription[found.chain[1]] > 50
    assert after.used_ratio is not None
    assert after.used_ratio < 0.05
    assert_true(found.headroom_bytes, truth)


def test_room_returns_with_a_discard(tmp_path: Path, scratch: Path) -> None:
    """Deleting alone gives nothing back to the pool, nor to the tmpfs; fstrim gives all of it to both."""
    with thin(tmp_path, scratch, 128 * MIB) as live:
        (live.place / "big").write_bytes(b"x" * 40 * MIB)
        full = verdict(live.place), live.reading()
        (live.place / "big").unlink()
        deleted = verdict(live.place), live.reading()
        run("fstrim", str(live.place))
        time.sleep(1.2)  # the pool commits once a second, and only then are blocks free
        trimmed = verdict(live.place), live.reading()
    assert [one[0].limit for one in (full, deleted, trimmed)] == [live.layer] * 3
    assert full[1].used_bytes == deleted[1].used_bytes
    assert full[1].used_bytes is not None
    assert trimmed[1].used_bytes is not None
    assert full[1].used_bytes - trimmed[1].used_bytes >= 36 * MIB  # pieces of which only a part was discarded stay
    assert trimmed[0].headroom_bytes is not None
    assert deleted[0].headroom_bytes is not None
    assert (
        trimmed[0].headroom_bytes - deleted[0].headroom_bytes >= 36 * MIB
    )  # pieces of which only a part was discarded stay


def test_metadata_can_end_first(scratch: Path) -> None:
    """Not more is announced than the metadata can map, in whatever order; then it has to be repaired."""
    with (
        devices.thin_pool(scratch, "ow-pool", data_size=400 * MIB, metadata_size=128 * KIB) as pool,
        devices.thin(pool.device, "ow-thin", size=2048 * MIB) as volume,
    ):
        announced = pool_reading().headroom_bytes
        block, done = 64 * KIB, 0
        with contextlib.suppress(OSError):
            for number in range(32768):
                devices.write(volume.node, 4096, offset=(number * 127 % 32768) * block)
                done += 1
        after = pool_reading()
    assert announced is not None
    assert 0 < announced <= done * block
    assert (after.state, after.headroom_bytes) == (LayerState.NEEDS_CHECK, 0)
    assert after.used_ratio is not None
    assert after.used_ratio < 1


def pool_reading() -> Reading:
    """The pool, of which there is one."""
    readings = take_look(Settings()).survey.readings
    return next(reading for name, reading in readings.items() if name.startswith("dm-thin-pool:"))
