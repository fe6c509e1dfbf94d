# SPDX-License-Identifier: Apache-2.0
"""Facts of block devices are read from sysfs and debugfs; what is not there is unknown."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.blockdev import (
    parse_bdi_stats,
    parse_count,
    read_device_name,
    read_errors_count,
    read_pending_bytes,
    read_size_bytes,
)
from overlaywatch.kernel.captured import CapturedMachine
from overlaywatch.kernel.errors import KernelTextError

# Linux 6.12: /sys/kernel/debug/bdi/254:0/stats
STATS = b"""BdiWriteback:           1024 kB
BdiReclaimable:       153600 kB
BdiDirtyThresh:       150072 kB
DirtyThresh:          200104 kB
BackgroundThresh:     100052 kB
BdiDirtied:           155136 kB
BdiWritten:             1472 kB
BdiWriteBandwidth:    102400 kBps
b_dirty:                   1
b_io:                      0
b_more_io:                 0
b_dirty_time:              0
bdi_list:                  1
state:                     1
"""


@pytest.fixture
def machine(tmp_path: Path) -> CapturedMachine:
    """A machine with one ext4 on dm-0."""
    device = tmp_path / "sys/devices/virtual/block/dm-0"
    device.mkdir(parents=True)
    (device / "size").write_text("3072000\n")
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / "sys/dev/block/254:0").symlink_to("../../devices/virtual/block/dm-0")
    (tmp_path / "sys/fs/ext4/dm-0").mkdir(parents=True)
    (tmp_path / "sys/fs/ext4/dm-0/errors_count").write_text("4\n")
    (tmp_path / "sys/kernel/debug/bdi/254:0").mkdir(parents=True)
    (tmp_path / "sys/kernel/debug/bdi/254:0/stats").write_bytes(STATS)
    return CapturedMachine(tmp_path)


def test_facts_of_a_device(machine: CapturedMachine) -> None:
    """Its name, size, dirty data and counted errors."""
    assert read_device_name(machine, 254, 0) == "dm-0"
    assert read_size_bytes(machine.root, 254, 0) == 3072000 * 512
    assert read_pending_bytes(machine.root, 254, 0) == (153600 + 1024) * 1024
    assert read_errors_count(machine.root, "dm-0") == 4


def test_what_is_not_there_is_unknown(machine: CapturedMachine) -> None:
    """No device, no debugfs, no ext4: None, never 0."""
    assert read_device_name(machine, 254, 1) is None
    assert read_size_bytes(machine.root, 254, 1) is None
    assert read_pending_bytes(machine.root, 254, 1) is None
    assert read_errors_count(machine.root, "dm-1") is None


@given(st.binary())
def test_garbage_is_a_kernel_text_error(content: bytes) -> None:
    """Anything but the expected lines, or one number, is refused in one way."""
    with pytest.raises(KernelTextError, match="bdi/stats"):
        parse_bdi_stats(content)
    try:
        assert parse_count("size", content) >= 0
    except KernelTextError:
        return


@given(st.integers(0, 2**64 - 1))
def test_count_round_trip(count: int) -> None:
    """A number and a line break, as sysfs prints it."""
    assert parse_count("size", b"%d\n" % count) == count
