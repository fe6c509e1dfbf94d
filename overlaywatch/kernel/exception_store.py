# SPDX-License-Identifier: Apache-2.0
"""The exception store of a P or PO snapshot, as it lies on the COW device: drivers/md/dm-snap-persistent.c.

This file must not know what the snapshot carries. Chunk 0 holds the header: magic, valid, version, chunk size in
sectors, 32 bits each, little-endian. Area k, one chunk, begins at chunk 1 + k * (n + 1), with n = chunk / 16 exceptions
in it and their n data chunks behind it; an exception is (old chunk of the origin, new chunk of the store), 64 bits
each. The list ends with the first exception whose new chunk is 0, which is where the header is.

A store of N has none of this: its table is in the kernel's memory only.
"""

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from overlaywatch.kernel.dm_target import SECTOR
from overlaywatch.kernel.errors import KernelTextError

MAGIC: Final = 0x70416E53
"""`SnAp`"""
VERSION: Final = 1
HEADER_BYTES: Final = 16
PAGE: Final = mmap.PAGESIZE
LARGEST_CHUNK: Final = 8 << 20
"""Bytes. dm-snapshot itself has no bound; no live system goes beyond 512 KiB."""
MOST_CHUNKS: Final = 1 << 29
"""Of an origin: a map of 64 MiB, 2 TiB in chunks of 4 KiB."""

_HEADER: Final = struct.Struct("<4I")
_EXCEPTION: Final = struct.Struct("<2Q")

ReadAt = Callable[[int, int], bytes]
"""read_at(offset, length) in bytes of the COW device: the bytes, fewer at its end. Raises OSError."""


@dataclass(frozen=True, slots=True)
class StoreHeader:
    """What chunk 0 says. `valid` is false once the snapshot was invalidated."""

    valid: bool
    chunk_size_sectors: int

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk."""
        return self.chunk_size_sectors * SECTOR

    @property
    def exceptions_per_area(self) -> int:
        """n: exceptions in one area, and data chunks behind it."""
        return self.chunk_bytes // _EXCEPTION.size

    def area_offset(self, area: int) -> int:
        """Where an area begins, in bytes."""
        return (1 + area * (self.exceptions_per_area + 1)) * self.chunk_bytes


class ChunkMap:
    """Which chunks of the origin have been copied: one bit each."""

    def __init__(self, chunk_bytes: int, chunks: int) -> None:
        """Raises KernelTextError for an origin whose map would not stay small."""
        if not 0 <= chunks <= MOST_CHUNKS:
            raise KernelTextError("exception store", f"an origin of at most {MOST_CHUNKS} chunks", str(chunks))
        self.chunk_bytes = chunk_bytes
        self.chunks = chunks
        self._bits = bytearray(chunks // 8 + 1)

    def add(self, chunk: int) -> None:
        """A chunk was copied. Raises KernelTextError if the origin has none of that number."""
        if not 0 <= chunk < self.chunks:
            raise KernelTextError("exception store", f"a chunk of the origin, below {self.chunks}", str(chunk))
        self._bits[chunk >> 3] |= 1 << (chunk & 7)

    @property
    def total_bytes(self) -> int:
        """Bytes of all copied chunks."""
        return int.from_bytes(self._bits, "little").bit_count() * self.chunk_bytes

    def copied_bytes(self, start: int, length: int) -> int:
        """How many of the `length` bytes from byte `start` of the origin lie in copied chunks."""
        end = min(start + length, self.chunks * self.chunk_bytes)
        if start < 0 or end <= start:
            return 0
        first, last = start // self.chunk_bytes, (end - 1) // self.chunk_bytes
        whole = self._count(first, last + 1) * self.chunk_bytes
        before = (start - first * self.chunk_bytes) * self._count(first, first + 1)
        after = ((last + 1) * self.chunk_bytes - end) * self._count(last, last + 1)
        return whole - before - after

    def _count(self, first: int, end: int) -> int:
        """Copied chunks from `first` to before `end`."""
        bits = int.from_bytes(self._bits[first >> 3 : (end >> 3) + 1], "little")
        return ((bits >> (first & 7)) & ((1 << (end - first)) - 1)).bit_count()


def parse_header(content: bytes) -> StoreHeader:
    """The header of a store. Raises KernelTextError for anything that this kernel file does not write."""
    if len(content) < HEADER_BYTES:
        raise KernelTextError("exception store", f"{HEADER_BYTES} bytes of header", content.hex())
    magic, valid, version, chunk = _HEADER.unpack_from(content)
    sane = SECTOR * chunk in range(PAGE, LARGEST_CHUNK + 1) and not chunk & (chunk - 1)
    if magic != MAGIC or version != VERSION or valid not in {0, 1} or not sane:
        raise KernelTextError("exception store", "SnAp, valid 0 or 1, version 1, a chunk size", content[:16].hex())
    return StoreHeader(bool(valid), chunk)


def parse_area(content: bytes) -> Iterator[tuple[int, int]]:
    """The exceptions (old, new) of one area, up to the first that is not set."""
    whole = len(content) - len(content) % _EXCEPTION.size
    for old, new in _EXCEPTION.iter_unpack(content[:whole]):
        if new == 0:
            return
        yield old, new


def read_store(read_at: ReadAt, origin_bytes: int) -> ChunkMap:
    """All exceptions of the store that `read_at` reads, of an origin of so many bytes.

    Needs memory for one chunk, its exceptions, and one bit for each chunk of the origin; reads one chunk in n + 1 of
    what is used.
    Raises KernelTextError for a store that is damaged, invalid or caught in the midst of a write; OSError.
    """
    header = parse_header(read_at(0, PAGE))
    if not header.valid:
        raise KernelTextError("exception store", "a valid snapshot", "one that was invalidated")
    copied = ChunkMap(header.chunk_bytes, -(-origin_bytes // header.chunk_bytes))
    most_areas = copied.chunks // header.exceptions_per_area + 1
    for area in range(most_areas):
        found = list(parse_area(read_at(header.area_offset(area), header.chunk_bytes)))
        for old, new in found:
            _check_new(new, header)
            copied.add(old)
        if len(found) < header.exceptions_per_area:
            return copied
    raise KernelTextError("exception store", "an end of the exceptions", f"{most_areas} areas, all of them full")


def _check_new(new: int, header: StoreHeader) -> None:
    """A data chunk: neither the header nor an area."""
    if (new - 1) % (header.exceptions_per_area + 1) == 0:
        raise KernelTextError("exception store", "a data chunk", f"chunk {new}, where exceptions are kept")


class DirectFile:
    """Reads a block device past the page cache: what the kernel's own writer has put there since is seen.

    A buffered read may give a page from before (one exception was seen where there were 1297). A context manager.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises OSError: no privilege, or a device that cannot be read directly."""
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        self.bytes_read = 0

    def __enter__(self) -> "DirectFile":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def read_at(self, offset: int, length: int) -> bytes:
        """`length` bytes at `offset`, both multiples of the page size; fewer at the end."""
        with mmap.mmap(-1, length) as page:  # on a page boundary, as O_DIRECT wants it
            got = os.preadv(self._fd, [page], offset)
            self.bytes_read += got
            return page[:got]
