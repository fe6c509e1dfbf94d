# SPDX-License-Identifier: Apache-2.0
"""Answers of device-mapper's ioctls are taken apart as drivers/md/dm-ioctl.c puts them together."""

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel import dm_wire
from overlaywatch.kernel.devmapper import DmTarget
from overlaywatch.kernel.errors import KernelTextError
from tests.kernel.printed import answer, packed_list, packed_targets

NAMES = st.binary(min_size=1, max_size=127).filter(lambda name: b"\0" not in name)
TYPES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=15)
PARAMS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).map(str.strip)
TARGETS = st.lists(st.builds(DmTarget, st.integers(0, 2**63), st.integers(0, 2**63), TYPES, PARAMS))
NUMBERS = st.builds(os.makedev, st.integers(0, 4095), st.integers(0, 2**20 - 1)).filter(bool)


@given(TARGETS)
def test_targets_round_trip(targets: list[DmTarget]) -> None:
    """Any number of targets with any parameters is read back."""
    data = answer(packed_targets(targets), target_count=len(targets))
    assert dm_wire.parse_targets(data, dm_wire.parse_answer(data)) == tuple(targets)


@given(st.lists(st.tuples(NUMBERS, NAMES), unique_by=lambda device: device[1]))
def test_list_round_trip(devices: list[tuple[int, bytes]]) -> None:
    """All devices are found and come in the order of their names."""
    expected = tuple(number for number, _ in sorted(devices, key=lambda device: device[1]))
    assert dm_wire.parse_device_list(answer(packed_list(devices))) == expected


@given(NUMBERS, st.integers(0, 2**32 - 1), NAMES)
def test_header_round_trip(number: int, flags: int, name: bytes) -> None:
    """The fields of the header are found where they are."""
    header = dm_wire.parse_answer(answer(flags=flags, number=number, name=name))
    assert (header.device_number, header.flags, os.fsencode(header.name)) == (number, flags, name)
    assert (header.version, header.open_count, header.event_nr, header.uuid) == ((4, 47, 0), 2, 7, "UU")


@given(st.binary(max_size=1024), st.integers(0, 400), st.integers(0, 2000))
def test_garbage_is_a_kernel_text_error(data: bytes, target_count: int, size: int) -> None:
    """Bytes that are no answer are refused in one way."""
    for garbage in (data, answer(data, target_count), answer(data, target_count)[:size]):
        try:
            header = dm_wire.parse_answer(garbage)
            dm_wire.parse_targets(garbage, header)
            dm_wire.parse_device_list(garbage)
        except KernelTextError:
            continue


def test_list_without_devices() -> None:
    """Newer kernels answer nothing at all, older ones one entry with number 0."""
    assert dm_wire.parse_device_list(answer()) == ()
    assert dm_wire.parse_device_list(answer(packed_list([(0, b"")]))) == ()


def test_list_that_leads_in_a_circle_or_out_of_the_answer() -> None:
    """An offset that does not end is an error, not an endless loop."""
    with pytest.raises(KernelTextError, match="LIST_DEVICES"):
        dm_wire.parse_device_list(answer(struct.pack("=QI", 5, 4096) + b"a\0"))


def test_request_names_one_device() -> None:
    """A request is as long as it was asked for, of version 4.0.0, about the device with this number."""
    number = os.makedev(254, 300)
    request = dm_wire.encode_request(472, dm_wire.NO_FLUSH, number)
    header = dm_wire.parse_answer(request)
    assert (len(request), header.version, header.data_size, header.flags) == (472, (4, 0, 0), 472, 1 << 11)
    assert dm_wire.split_number(header.device_number) == (254, 300)


def test_numbers_of_requests() -> None:
    """They are those of include/uapi/linux/dm-ioctl.h."""
    assert dm_wire.request_number(dm_wire.CMD_TABLE_STATUS) == 0xC138FD0C
    assert dm_wire.is_buffer_full(answer(flags=1 << 8))
    assert not dm_wire.is_buffer_full(answer(flags=1 << 11))
