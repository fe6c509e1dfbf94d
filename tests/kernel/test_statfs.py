# SPDX-License-Identifier: Apache-2.0
"""File systems are asked by path and by number, and both say the same."""

import os
import platform
from pathlib import Path

import pytest

from overlaywatch.kernel.statfs import read_statvfs, read_ustat


def test_statvfs_is_that_of_the_system(tmp_path: Path) -> None:
    """The figures are those of statvfs(3)."""
    found, expected = read_statvfs(tmp_path), os.statvfs(tmp_path)
    assert (found.block_size, found.blocks, found.files) == (expected.f_frsize, expected.f_blocks, expected.f_files)
    assert found.read_only is bool(expected.f_flag & os.ST_RDONLY)


def test_statvfs_of_nothing_is_an_os_error(tmp_path: Path) -> None:
    """The error names the path."""
    with pytest.raises(FileNotFoundError, match="missing"):
        read_statvfs(tmp_path / "missing")


@pytest.mark.skipif(platform.machine() in {"aarch64", "riscv64"}, reason="another processor: has no ustat(2)")
def test_ustat_of_a_pseudo_file_system() -> None:
    """By number as by path: /proc has no blocks, and says so."""
    device = Path("/proc").stat().st_dev
    found = read_ustat(os.major(device), os.minor(device))
    assert found is not None
    assert found.blocks_free == 0


def test_ustat_of_nothing_is_unknown() -> None:
    """A number under which nothing is mounted."""
    assert read_ustat(4000, 12345) is None
