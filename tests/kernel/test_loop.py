# SPDX-License-Identifier: Apache-2.0
"""Loop devices are read from sysfs, and their backing file's identity from the ioctl's answer."""

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.captured import CapturedMachine
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.loop import LoopDevice, LoopStatus, parse_loop, parse_loop_status64, read_loops

ATTRIBUTES = {
    "loop/backing_file": b"/overlay (deleted)\n",
    "loop/offset": b"0\n",
    "loop/sizelimit": b"0\n",
    "loop/autoclear": b"0\n",
    "size": b"131072\n",
    "ro": b"0\n",
    "dev": b"7:2\n",
}


@pytest.fixture
def machine(tmp_path: Path) -> CapturedMachine:
    """A machine with a bound loop, an unbound one and a disk."""
    for name, content in ATTRIBUTES.items():
        file = tmp_path / "sys/block/loop2" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    for name in ("loop3", "vda"):
        (tmp_path / "sys/block" / name).mkdir()
        (tmp_path / "sys/block" / name / "size").write_text("0\n")
    return CapturedMachine(tmp_path)


def test_only_loops_with_a_file(machine: CapturedMachine) -> None:
    """An unbound loop and a disk are left out; of a captured machine no ioctl is asked."""
    assert read_loops(machine) == {
        (7, 2): LoopDevice(
            major=7,
            minor=2,
            name="loop2",
            backing_file="/overlay",
            deleted=True,
            offset=0,
            sizelimit=0,
            size_bytes=131072 * 512,
            read_only=False,
            autoclear=False,
            backing_device=None,
            backing_inode=None,
        )
    }


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name), st.integers(0, 2**50), st.integers(0, 2**50))
def test_loop_round_trip(path: bytes, offset: int, sizelimit: int) -> None:
    """Any path is read back byte by byte, but for the line break that sysfs adds."""
    attributes = ATTRIBUTES | {
        "loop/backing_file": path + b"\n",
        "loop/offset": b"%d\n" % offset,
        "loop/sizelimit": b"%d\n" % sizelimit,
    }
    loop = parse_loop("loop2", attributes)
    assert os.fsencode(loop.backing_file) + b" (deleted)" * loop.deleted == path
    assert (loop.offset, loop.sizelimit) == (offset, sizelimit)


NUMBER = st.tuples(st.integers(0, 4095), st.integers(0, 2**20 - 1))


@given(NUMBER, st.integers(0, 2**64 - 1), NUMBER)
def test_status_round_trip(device: tuple[int, int], inode: int, block: tuple[int, int]) -> None:
    """Device, inode and, of a block device, number of the backing file are the first fields of struct loop_info64."""
    answer = struct.pack("=QQQ", os.makedev(*device), inode, os.makedev(*block)) + bytes(208)
    assert parse_loop_status64(answer) == LoopStatus(device, inode, block)
    loop = parse_loop("loop2", ATTRIBUTES, parse_loop_status64(answer))
    assert (loop.backing_device, loop.backing_inode) == (device, inode)
    assert loop.backing_block == (None if block == (0, 0) else block)


@given(st.sampled_from(sorted(ATTRIBUTES.keys() - {"loop/backing_file"})), st.binary())
def test_garbage_is_a_kernel_text_error(name: str, content: bytes) -> None:
    """An attribute that is not a number is refused in one way, with its name."""
    try:
        parse_loop("loop2", ATTRIBUTES | {name: content})
    except KernelTextError as raised:
        error = raised
    else:
        return
    assert error.place == f"loop2/{name}"


def test_status_of_another_length() -> None:
    """A cut answer is refused."""
    with pytest.raises(KernelTextError, match="LOOP_GET_STATUS64: expected 232 bytes"):
        parse_loop_status64(bytes(100))
