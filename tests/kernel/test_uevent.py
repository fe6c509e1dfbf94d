# SPDX-License-Identifier: Apache-2.0
"""Kernel events are received without waiting and made into records."""

import contextlib
import selectors
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.uevent import LOST, Uevent, UeventSocket, parse_uevent

# Linux 6.18: losetup -c
RESIZED = (
    b"change@/devices/virtual/block/loop0\0ACTION=change\0DEVPATH=/devices/virtual/block/loop0\0SUBSYSTEM=block\0"
    b"RESIZE=1\0MAJOR=7\0MINOR=0\0DEVNAME=loop0\0DEVTYPE=disk\0DISKSEQ=9\0SEQNUM=812\0"
)
WORDS = st.text(st.characters(exclude_characters="\0=", exclude_categories=["Cs"]))


def test_resized_loop() -> None:
    """The message that a loop sends when its file has grown."""
    event = parse_uevent(RESIZED)
    assert event == Uevent("change", "block", "loop0", 7, 0)
    assert event is not None
    assert event.concerns_block_devices


def test_device_without_a_node() -> None:
    """A network card has no number, and does not concern block devices."""
    event = parse_uevent(b"add@/devices/virtual/net/dummy0\0ACTION=add\0SUBSYSTEM=net\0INTERFACE=dummy0\0")
    assert event == Uevent("add", "net", "", None, None)
    assert event is not None
    assert not event.concerns_block_devices


def test_lost_events_may_concern_anything() -> None:
    """Whoever missed events looks again."""
    assert LOST.concerns_block_devices


@given(WORDS, WORDS, WORDS, st.integers(0, 4095), st.integers(0, 2**20))
def test_round_trip(action: str, subsystem: str, devname: str, major: int, minor: int) -> None:
    """Variables in any order of any text."""
    variables = {
        "MINOR": str(minor),
        "SUBSYSTEM": subsystem,
        "DEVNAME": devname,
        "MAJOR": str(major),
        "ACTION": action,
    }
    message = "\0".join(["x@/y", *(f"{key}={value}" for key, value in variables.items()), ""])
    assert parse_uevent(message.encode()) == Uevent(action, subsystem, devname, major, minor)


@given(st.binary() | st.binary().map(lambda garbage: RESIZED + garbage))
def test_garbage_is_no_event_or_one(message: bytes) -> None:
    """Bytes that no kernel sends raise nothing, whatever they are."""
    event = parse_uevent(message)
    assert (event is None) == (b"@" not in message.split(b"\0")[0])


def test_udevd_is_not_listened_to() -> None:
    """udevd's messages repeat the kernel's in another format."""
    assert parse_uevent(b"libudev\0\xfe\xed\xca\xfe" + RESIZED) is None


def test_socket_never_waits() -> None:
    """Nothing to read is nothing, at once; the descriptor is fit for a selector."""
    try:
        opened = UeventSocket()
    except OSError:
        pytest.skip("no netlink in this sandbox")
    with contextlib.closing(opened), selectors.DefaultSelector() as selector:
        selector.register(opened, selectors.EVENT_READ)
        while selector.select(0):
            opened.read()
        assert opened.read() == ()


def test_socket_speaks_netlink_of_the_kernel() -> None:
    """It is bound to the kernel's group alone."""
    try:
        opened = UeventSocket()
    except OSError:
        pytest.skip("no netlink in this sandbox")
    with contextlib.closing(opened), socket.socket(fileno=socket.dup(opened.fileno())) as same:
        assert same.family == socket.AF_NETLINK
        assert same.getsockname()[1] == 1
