# SPDX-License-Identifier: Apache-2.0
"""The exception store of a snapshot: what the kernel writes, what is damaged, and a second implementation."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel import exception_store
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.exception_store import ChunkMap, StoreHeader, parse_area, parse_header, read_store

CHUNK = 4096
PER_AREA = CHUNK // 16
HEADER = struct.pack("<4I", 0x70416E53, 1, 1, 8)


def written(olds: list[int]) -> dict[int, bytes]:
    """Chunks by number, as dm-snap-persistent.c lays them out: data chunks are handed out in order."""
    chunks = {0: HEADER.ljust(CHUNK, b"\0")}
    pairs = []
    free = 2
    for old in olds:
        pairs.append((old, free))
        free += 1
        if free % (PER_AREA + 1) == 1:
            free += 1
    for area in range(len(pairs) // PER_AREA + 1):
        mine = pairs[area * PER_AREA : (area + 1) * PER_AREA]
        chunks[1 + area * (PER_AREA + 1)] = b"".join(struct.pack("<QQ", *pair) for pair in mine).ljust(CHUNK, b"\0")
    return chunks


def reader(chunks: dict[int, bytes]) -> Callable[[int, int], bytes]:
    """A device with these chunks."""

    def read_at(offset: int, length: int) -> bytes:
        chunk, within = divmod(offset, CHUNK)
        assert not within
        return chunks[chunk][:length]

    return read_at


def slowly(copied: set[int], chunk: int, start: int, length: int) -> int:
    """ChunkMap.copied_bytes, the second implementation: byte by byte."""
    return sum(byte // chunk in copied for byte in range(start, start + length))


@given(st.lists(st.integers(0, 999), unique=True))
def test_every_copied_chunk_is_found_and_no_other(olds: list[int]) -> None:
    """What was laid out as the kernel does is read back, over any number of areas."""
    found = read_store(reader(written(olds)), 1000 * CHUNK)

    assert {old for old in range(1000) if found.copied_bytes(old * CHUNK, CHUNK) == CHUNK} == set(olds)
    assert found.total_bytes == len(olds) * CHUNK


@pytest.mark.parametrize("count", [0, PER_AREA - 1, PER_AREA, PER_AREA + 1, 3 * PER_AREA])
def test_areas_that_are_just_full(count: int) -> None:
    """An area without an end of its own is followed by another, also if all of the origin was copied."""
    found = read_store(reader(written(list(range(count)))), count * CHUNK)

    assert found.total_bytes == count * CHUNK


@given(
    st.sets(st.integers(0, 40)),
    st.integers(0, 320),
    st.integers(0, 320),
)
def test_bytes_in_copied_chunks(copied: set[int], start: int, length: int) -> None:
    """Pieces that begin and end anywhere, also behind the end of the origin."""
    found = ChunkMap(8, 40)
    for chunk in copied - {40}:
        found.add(chunk)

    assert found.copied_bytes(start, length) == slowly(copied - {40}, 8, start, length)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "bytes of header"),
        (bytes(16), "SnAp"),
        (struct.pack("<4I", 0x70416E53, 1, 2, 8), "version 1"),
        (struct.pack("<4I", 0x70416E53, 2, 1, 8), "valid 0 or 1"),
        (struct.pack("<4I", 0x70416E53, 1, 1, 0), "chunk size"),
        (struct.pack("<4I", 0x70416E53, 1, 1, 9), "chunk size"),
        (struct.pack("<4I", 0x70416E53, 1, 1, 1 << 31), "chunk size"),
    ],
)
def test_a_header_that_the_kernel_never_wrote(content: bytes, why: str) -> None:
    """Each is refused, with what was expected."""
    with pytest.raises(KernelTextError, match=why):
        parse_header(content)


def test_a_store_that_was_invalidated() -> None:
    """Its exceptions are still there, but nothing can be written any more."""
    invalid = struct.pack("<4I", 0x70416E53, 0, 1, 8)

    assert parse_header(invalid) == StoreHeader(valid=False, chunk_size_sectors=8)
    with pytest.raises(KernelTextError, match="invalidated"):
        read_store(lambda *_: invalid, CHUNK)


@pytest.mark.parametrize(
    ("pair", "why"),
    [((1000, 2), "chunk of the origin"), ((0, PER_AREA + 2), "where exceptions are kept"), ((0, 1), "are kept")],
)
def test_exceptions_that_lead_elsewhere(pair: tuple[int, int], why: str) -> None:
    """Chunks that the origin does not have, and data where the list itself lies."""
    chunks = {0: HEADER, 1: struct.pack("<QQ", *pair)}

    with pytest.raises(KernelTextError, match=why):
        read_store(reader(chunks), 1000 * CHUNK)


def test_a_list_without_an_end() -> None:
    """More exceptions than the origin has chunks: damaged, and the reading ends."""
    full = struct.pack("<QQ", 0, 2) * PER_AREA

    with pytest.raises(KernelTextError, match="all of them full"):
        read_store(lambda offset, _: full if offset else HEADER, 1000 * CHUNK)


def test_an_origin_whose_map_would_be_large() -> None:
    """Memory is bounded, whatever the device says its size is."""
    with pytest.raises(KernelTextError, match="at most"):
        ChunkMap(CHUNK, exception_store.MOST_CHUNKS + 1)


@given(st.binary(max_size=200), st.binary(max_size=CHUNK))
def test_no_content_breaks_the_reader(head: bytes, area: bytes) -> None:
    """Anything at all: an answer, or the project's own error."""
    for header in (head, HEADER):
        try:
            read_store(lambda offset, _, header=header: area if offset else header, 1000 * CHUNK)  # type: ignore[misc]
        except KernelTextError:
            continue


@given(st.binary(max_size=100))
def test_an_area_that_is_cut(content: bytes) -> None:
    """Half an exception is none."""
    assert len(list(parse_area(content))) <= len(content) // 16
