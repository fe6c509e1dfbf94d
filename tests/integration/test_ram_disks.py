# SPDX-License-Identifier: Apache-2.0
"""brd and zram on a real kernel: announced, filled with what does not compress, compared."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from overlaywatch.config.settings import Settings
from overlaywatch.model import Failure, LayerId, Reading
from overlaywatch.registry import take_look
from tests.integration.conftest import ModuleLoader
from tests.integration.devices import MIB, run
from tests.integration.stacks import mounted
from tests.integration.test_chains import assert_true, verdict, went_in

pytestmark = pytest.mark.kernel

ZRAM = Path("/sys/block/zram0")
MAKE = ("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0")


@contextlib.contextmanager
def zram(place: Path, disksize: str, limit: str) -> Iterator[Path]:
    """ext4 on the first zram."""
    (ZRAM / "disksize").write_text(disksize)
    (ZRAM / "mem_limit").write_text(limit)
    run(*MAKE, "/dev/zram0")
    with mounted("/dev/zram0", place, "ext4") as mount:
        yield mount
    (ZRAM / "reset").write_text("1")


def reading(layer: str) -> Reading:
    """One layer in one look."""
    return take_look(Settings()).survey.readings[LayerId(layer)]


def test_zram_with_a_limit(tmp_path: Path, kernel_module: ModuleLoader) -> None:
    """df promises 170 MiB, the limit gives 40; what compresses costs nearly nothing."""
    kernel_module("zram", "num_devices=1")
    with zram(tmp_path / "m", "200M", "40M") as place:
        found = verdict(place)
        (place / "zeros").write_bytes(bytes(20 * MIB))
        after_zeros = verdict(place)
        truth = went_in(place / "more", compressible=False)
        run("dmesg", "--clear")
    assert (found.limit, found.failure) == ("zram:zram0", Failure.IO_ERROR)
    assert found.chain[1:] == ("zram:zram0", "ram")
    assert found.headroom_bytes is not None
    assert after_zeros.headroom_bytes is not None
    assert found.headroom_bytes - after_zeros.headroom_bytes < MIB
    assert_true(after_zeros.headroom_bytes, truth)


def test_zram_gives_room_back_with_a_discard(tmp_path: Path, kernel_module: ModuleLoader) -> None:
    """As a thin pool does."""
    kernel_module("zram", "num_devices=1")
    with zram(tmp_path / "m", "200M", "80M") as place:
        (place / "big").write_bytes(os.urandom(30 * MIB))
        found = verdict(place)
        full = found.headroom_bytes
        (place / "big").unlink()
        os.sync()  # blocks are free when the journal has committed
        run("fstrim", str(place))
        trimmed = verdict(place).headroom_bytes
    assert found.remedy == f"delete files on {place} and run fstrim {place}"
    assert full is not None
    assert trimmed is not None
    assert trimmed - full > 25 * MIB


def test_brd_is_taken_page_by_page(tmp_path: Path, kernel_module: ModuleLoader) -> None:
    """It is no limit itself; its use is what was written to it, and deleting gives nothing back."""
    kernel_module("brd", "rd_nr=1", "rd_size=102400")
    run(*MAKE, "/dev/ram0")
    with mounted("/dev/ram0", tmp_path / "m", "ext4") as place:
        before, found = reading("brd:ram0"), verdict(place)
        truth = went_in(place / "more")
        full = reading("brd:ram0")
        (place / "more").unlink()
        after, left = reading("brd:ram0"), verdict(place)
    run("blockdev", "--flushbufs", "/dev/ram0")
    assert (found.limit, found.failure) == (f"filesystem:{place}", Failure.ENOSPC)
    assert found.chain[1:] == ("brd:ram0", "ram")
    assert_true(found.headroom_bytes, truth)
    assert (before.size_bytes, left.limit) == (100 * MIB, f"filesystem:{place}")
    if before.used_bytes is not None:  # debugfs is mounted
        assert before.used_bytes < 20 * MIB
        assert full.used_bytes is not None
        assert after.used_bytes is not None
        assert truth < full.used_bytes <= after.used_bytes <= 100 * MIB
