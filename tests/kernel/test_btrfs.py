# SPDX-License-Identifier: Apache-2.0
"""btrfs: its devices behind an anonymous number, what it has accepted and not counted, its errors."""

import struct
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel import btrfs
from overlaywatch.kernel.captured import CapturedMachine
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.machine import LiveMachine
from overlaywatch.units import MIB

ONE, OTHER = "cdbb8d5c-53b4-4832-9b44-fed83a116557", "e1a00cdd-a84d-46e4-ad72-b960a35188c5"
STATS = "write_errs 3\nread_errs 0\nflush_errs 1\ncorruption_errs 0\ngeneration_errs 0\n"


@pytest.fixture
def machine(tmp_path: Path) -> CapturedMachine:
    """A btrfs on two devices, as Linux 6.1 shows it; `features` is the folder of what the kernel can do."""
    machine = CapturedMachine(tmp_path)
    sysfs = machine.root.sys
    fs = sysfs / "fs" / "btrfs"
    for name, number in (("dm-0", "254:0\n"), ("loop1", "7:1\n")):
        (sysfs / "block" / name).mkdir(parents=True)
        (sysfs / "block" / name / "dev").write_text(number)
        (fs / ONE / "devices").mkdir(parents=True, exist_ok=True)
        (fs / ONE / "devices" / name).symlink_to(sysfs / "block" / name)
    (fs / "features").mkdir()
    (fs / ONE / "allocation" / "data").mkdir(parents=True)
    (fs / ONE / "allocation" / "data" / "bytes_may_use").write_text("1048576\n")
    (fs / ONE / "allocation" / "data" / "bytes_reserved").write_text("4194304\n")
    (fs / ONE / "devinfo" / "1").mkdir(parents=True)
    (fs / ONE / "devinfo" / "1" / "error_stats").write_text(STATS)
    (fs / ONE / "devinfo" / "2").mkdir()
    return machine


def test_the_devices_of_each_btrfs(machine: CapturedMachine) -> None:
    """All of them, by number; `features` is no file system."""
    assert btrfs.read_filesystems(machine) == {ONE: ((254, 0), (7, 1))}
    assert btrfs.read_filesystems(CapturedMachine(machine.folder / "none")) == {}


def test_what_is_accepted_and_not_counted(machine: CapturedMachine) -> None:
    """Delayed allocation, and extents of which the last commit does not know."""
    assert btrfs.read_promised_bytes(machine.root, ONE) == 5 * MIB
    assert btrfs.read_promised_bytes(machine.root, OTHER) is None


def test_data_and_metadata_that_share_their_chunks(machine: CapturedMachine) -> None:
    """Small file systems are made so; a profile `dup` is a folder."""
    allocation = machine.root.sys / "fs" / "btrfs" / ONE / "allocation"
    (allocation / "metadata" / "dup").mkdir(parents=True)
    (allocation / "metadata" / "dup" / "total_bytes").write_text("8388608\n")
    assert (btrfs.read_copies(machine, ONE, "data"), btrfs.read_copies(machine, ONE, "metadata")) == (1, 2)

    (allocation / "data").rename(allocation / "mixed")
    (allocation / "mixed" / "dup").mkdir()
    (allocation / "mixed" / "dup" / "total_bytes").write_text("8388608\n")
    assert (btrfs.read_copies(machine, ONE, "data"), btrfs.read_promised_bytes(machine.root, ONE)) == (2, 5 * MIB)


def test_errors_of_all_devices(machine: CapturedMachine) -> None:
    """A device without the file (before 5.14) is left out; no device with it: unknown."""
    assert btrfs.read_errors_count(machine, ONE) == 4
    assert btrfs.read_errors_count(machine, OTHER) is None


def test_the_uuid_of_an_answer() -> None:
    """struct btrfs_ioctl_fs_info_args: two numbers of 64 bits, then the UUID."""
    answer = struct.pack("=QQ", 2, 2) + uuid.UUID(ONE).bytes
    assert btrfs.parse_fs_info(answer.ljust(1024, b"\0")) == ONE
    with pytest.raises(KernelTextError, match="1024 bytes"):
        btrfs.parse_fs_info(answer)


def test_which_btrfs_a_mount_is() -> None:
    """The kernel's word, else the source, else the only one; never a guess among several."""
    both = {ONE: ((254, 0),), OTHER: ((7, 1), (7, 2))}
    assert btrfs.choose_uuid(both, ONE, (7, 2)) == ONE
    assert btrfs.choose_uuid(both, "gone", (7, 2)) is None
    assert btrfs.choose_uuid(both, None, (7, 2)) == OTHER
    assert btrfs.choose_uuid(both, None, None) is None
    assert btrfs.choose_uuid({ONE: ()}, None, None) == ONE
    assert btrfs.choose_uuid({}, None, None) is None


def test_no_btrfs_at_a_path(tmp_path: Path) -> None:
    """Another file system does not know the question; a path may be gone."""
    assert btrfs.read_uuid(LiveMachine(), "/proc") is None
    assert btrfs.read_uuid(LiveMachine(), str(tmp_path / "none")) is None


@given(st.text())
def test_error_stats_are_counted_or_refused(text: str) -> None:
    """Nothing is made up of a text that no kernel prints."""
    try:
        count = btrfs.parse_error_stats(text)
    except KernelTextError:
        return
    assert count >= 0
