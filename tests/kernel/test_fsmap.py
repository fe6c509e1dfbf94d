# SPDX-License-Identifier: Apache-2.0
"""Where a file system is free: requests and answers of FS_IOC_GETFSMAP, and a second implementation of the kernel's."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel import fsmap
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.fsmap import Extent, extents, parse_answer

RECORD = struct.Struct("=IIQQQQ24x")
HEAD = 192
KiB = 1024


class FakeFileSystem:
    """Answers as fs/ext4/fsmap.c does: records in ascending order, those after the low key, as many as fit."""

    def __init__(self, pieces: list[tuple[int, bool]], room: int = 3) -> None:
        self.room = room
        self.records = []
        start = 0
        for length, is_free in pieces:
            owner = 1 if is_free else 3
            self.records.append((65027, 0x10, start, owner, 0, length))
            start += length

    def ask(self, request: bytearray) -> None:
        """One ioctl."""
        low = RECORD.unpack_from(request, 64)
        after = low[2] + low[5]
        found = [one for one in self.records if one[2] >= after][: self.room]
        for index, one in enumerate(found):
            flags = one[1] | (0x20 if one is self.records[-1] else 0)
            RECORD.pack_into(request, HEAD + index * RECORD.size, one[0], flags, *one[2:])
        struct.pack_into("=I", request, 12, len(found))


def test_the_request_number_is_that_of_the_header() -> None:
    """_IOWR('X', 59, struct fsmap_head), whose size is in the number."""
    assert (3 << 30) | (HEAD << 16) | (ord("X") << 8) | 59 == fsmap.GETFSMAP
    assert len(fsmap.encode_request(bytes(64), 10)) == HEAD + 10 * 64


@given(st.lists(st.tuples(st.integers(1, 100).map(lambda n: n * KiB), st.booleans())), st.integers(1, 5))
def test_every_extent_comes_once(pieces: list[tuple[int, bool]], room: int) -> None:
    """However many requests it takes."""
    found = list(extents(FakeFileSystem(pieces, room).ask))

    assert [(one.length, one.is_free) for one in found] == pieces
    assert [one.start for one in found] == [sum(length for length, _ in pieces[:index]) for index in range(len(pieces))]


def test_owners_that_only_look_like_free() -> None:
    """An inode of that number is no free space: the flag tells."""
    answer = bytearray(fsmap.encode_request(bytes(64), 1))
    struct.pack_into("=I", answer, 12, 1)
    RECORD.pack_into(answer, HEAD, 7, 0x20, 0, 1, 0, 4096)

    assert parse_answer(answer)[0] == [Extent(7, 0, 4096, is_free=False, is_last=True)]


def test_an_answer_that_does_not_get_on() -> None:
    """The same record again and again: an error, not for ever."""

    def ask(request: bytearray) -> None:
        struct.pack_into("=I", request, 12, 1)
        RECORD.pack_into(request, HEAD, 7, 0, 4096, 1, 0, 4096)

    with pytest.raises(KernelTextError, match="ascending"):
        list(extents(ask))


@given(st.binary(max_size=HEAD + 200))
def test_no_answer_breaks_the_parser(answer: bytes) -> None:
    """Anything at all: extents, or the project's own error."""
    try:
        found, _ = parse_answer(answer)
    except KernelTextError:
        return
    assert len(found) * RECORD.size <= len(answer) - HEAD
