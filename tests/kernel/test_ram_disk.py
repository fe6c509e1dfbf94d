# SPDX-License-Identifier: Apache-2.0
"""zram and brd as Linux 6.1 shows them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.ram_disk import (
    BRD,
    PAGE_SIZE,
    ZRAM,
    ZramStatus,
    is_ram_disk,
    parse_mm_stat,
    read_brd_bytes,
    read_zram,
)
from overlaywatch.kernel.root import KernelRoot
from overlaywatch.units import MIB

FULL = "63270912 62690413 62914560 62914560 62918656        0        0    15300    15300\n"
FRESH = "  159744     2633    53248        0    53248        0        0        0        0\n"


def test_the_figures_of_a_zram(tmp_path: Path) -> None:
    """Linux 6.1, mem_limit 60M, filled with what does not compress; and without a limit."""
    root = KernelRoot.below(tmp_path)
    folder = root.sys / "block" / "zram0"
    folder.mkdir(parents=True)
    (folder / "disksize").write_text("209715200\n")
    (folder / "mm_stat").write_text(FULL)

    assert read_zram(root, "zram0") == ZramStatus(200 * MIB, 63270912, 62690413, 60 * MIB, 60 * MIB)
    assert parse_mm_stat(FRESH, 200 * MIB) == ZramStatus(200 * MIB, 159744, 2633, 53248, None)


def test_a_kernel_without_mm_stat(tmp_path: Path) -> None:
    """Before 4.1."""
    root = KernelRoot.below(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_zram(root, "zram0")


def test_the_pages_of_a_brd(tmp_path: Path) -> None:
    """Only debugfs tells."""
    root = KernelRoot.below(tmp_path)
    assert read_brd_bytes(root, "ram1") is None
    (root.sys / "kernel" / "debug" / "ramdisk_pages").mkdir(parents=True)
    (root.sys / "kernel" / "debug" / "ramdisk_pages" / "ram1").write_text("25\n")
    assert read_brd_bytes(root, "ram1") == 25 * PAGE_SIZE


def test_names() -> None:
    """`zram0p1` and `rampart` are something else."""
    assert (is_ram_disk("zram0", ZRAM), is_ram_disk("ram15", BRD)) == (True, True)
    assert not any((is_ram_disk("zram0", BRD), is_ram_disk("zram0p1", ZRAM), is_ram_disk("ram", BRD)))


@given(st.text(alphabet="0123456789 -x\n"))
def test_mm_stat_is_numbers_or_refused(text: str) -> None:
    """Nothing is made up."""
    try:
        status = parse_mm_stat(text, 1)
    except KernelTextError:
        return
    assert min(status.original, status.compressed, status.used, status.limit or 1) >= 0
