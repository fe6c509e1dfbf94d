# SPDX-License-Identifier: Apache-2.0
"""The table and status lines of device-mapper targets: drivers/md/dm-snap.c, dm-thin.c, dm-linear.c.

This file must not know how the lines were read. A table that cannot be parsed raises KernelTextError; a status that
no kernel has printed yet becomes LayerState.UNKNOWN with the text kept, because a status says how things are going and
the daemon must live through the first kernel that prints a new word. Sizes are in sectors of 512 bytes or in blocks of
the pool, as the kernel counts them; the names say which.
"""

import re
from dataclasses import dataclass
from typing import Final

from overlaywatch.kernel.digits import NUMBER
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.model import LayerState

SECTOR: Final = 512
"""Bytes of what device-mapper and sysfs call a sector, whatever the disk's own is."""

THIN_METADATA_BLOCK: Final = 4096
"""Bytes of a metadata block of a thin pool (drivers/md/dm-thin-metadata.h)."""

Device = tuple[int, int]
"""(major, minor)"""


@dataclass(frozen=True, slots=True)
class SnapshotTable:
    """`ORIGIN COW N|P|PO CHUNK [COUNT FEATURE...]` of snapshot and snapshot-merge."""

    origin: Device
    cow: Device
    persistent: str
    chunk_size_sectors: int
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SnapshotStatus:
    """What a snapshot says of itself. A word (`Invalid`) comes without numbers. `word` is the kernel's own text."""

    state: LayerState
    sectors_allocated: int | None
    total_sectors: int | None
    metadata_sectors: int | None
    word: str


@dataclass(frozen=True, slots=True)
class LinearTable:
    """`DEVICE START`: a piece of another device, `start` in sectors."""

    device: Device
    start: int


@dataclass(frozen=True, slots=True)
class ThinPoolTable:
    """`METADATA DATA BLOCK LOW_WATER [COUNT FEATURE...]`: block size in sectors, low water mark in blocks."""

    metadata: Device
    data: Device
    block_size_sectors: int
    low_water_blocks: int
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ThinPoolStatus:
    """What a thin pool says of itself: data in pool blocks, metadata in blocks of 4 KiB.

    `mode` is the kernel's word (`rw`, `ro`, `out_of_data_space`; empty if it printed `Fail` or `Error`).
    `needs_check` is always with a pool that cannot be written to: it must be repaired before it can be again.
    """

    state: LayerState
    word: str
    mode: str = ""
    transaction_id: int | None = None
    metadata_used_blocks: int | None = None
    metadata_total_blocks: int | None = None
    data_used_blocks: int | None = None
    data_total_blocks: int | None = None
    error_if_no_space: bool | None = None
    needs_check: bool | None = None
    metadata_low_water_blocks: int | None = None


@dataclass(frozen=True, slots=True)
class ThinTable:
    """`POOL DEVICE_ID [EXTERNAL_ORIGIN]`."""

    pool: Device
    device_id: int
    external_origin: Device | None = None


@dataclass(frozen=True, slots=True)
class ThinStatus:
    """What a thin volume says of itself. `highest_mapped_sector` is None while nothing is mapped."""

    state: LayerState
    mapped_sectors: int | None
    highest_mapped_sector: int | None
    word: str


_SNAPSHOT_WORDS: Final = {
    "Invalid": LayerState.INVALID,
    "Overflow": LayerState.OVERFLOW,
    "Merge failed": LayerState.MERGE_FAILED,
    "Unknown": LayerState.UNKNOWN,
}
_THIN_WORDS: Final = {"Fail": LayerState.FAILED, "Error": LayerState.ERRORS}
_POOL_MODES: Final = {
    "rw": LayerState.OK,
    "ro": LayerState.READ_ONLY,
    "out_of_data_space": LayerState.OUT_OF_DATA_SPACE,
}
_DEVICE: Final = re.compile(rf"({NUMBER}):({NUMBER})")
_DEVICE_WORD: Final = re.compile(rf"(?<!\S){_DEVICE.pattern}(?!\S)")
_SNAPSHOT_NUMBERS: Final = re.compile(rf"({NUMBER})/({NUMBER})(?: ({NUMBER}))?")
_THIN_NUMBERS: Final = re.compile(rf"({NUMBER}) ({NUMBER}|-)")
_POOL_NUMBERS: Final = re.compile(
    rf"(?P<transaction>{NUMBER}) (?P<meta_used>{NUMBER})/(?P<meta_total>{NUMBER})"
    rf" (?P<used>{NUMBER})/(?P<total>{NUMBER}) (?:{NUMBER}|-) (?P<mode>[a-z_]+)(?P<rest>(?: \S+)*)",
    re.ASCII,
)
_NUMBER: Final = re.compile(NUMBER)


def parse_devices(params: str) -> tuple[Device, ...]:
    """All words `MAJOR:MINOR` of a table line, each once: the devices that a target of any type lies on."""
    found = _DEVICE_WORD.findall(params)
    return tuple(dict.fromkeys((int(major), int(minor)) for major, minor in found))


def parse_snapshot_table(params: str) -> SnapshotTable:
    """The parameters of a snapshot or snapshot-merge table line (snapshot_status in dm-snap.c)."""
    fields = _fields("snapshot table", "ORIGIN COW N|P|PO CHUNK [COUNT FEATURE...]", params, at_least=4)
    if fields.words[2] not in {"N", "P", "PO"}:
        raise fields.error()
    return SnapshotTable(
        origin=fields.device(0),
        cow=fields.device(1),
        persistent=fields.words[2],
        chunk_size_sectors=fields.number(3),
        features=fields.features(4),
    )


def parse_snapshot_status(params: str) -> SnapshotStatus:
    """The status of a snapshot: `USED/TOTAL META`, `USED/TOTAL` (old kernels), or a word. Never raises."""
    word = params.strip()
    match = _SNAPSHOT_NUMBERS.fullmatch(word)
    if match is None:
        return SnapshotStatus(_SNAPSHOT_WORDS.get(word, LayerState.UNKNOWN), None, None, None, word)
    metadata = None if match[3] is None else int(match[3])
    return SnapshotStatus(LayerState.OK, int(match[1]), int(match[2]), metadata, word)


def parse_linear_table(params: str) -> LinearTable:
    """The parameters of a linear table line."""
    fields = _fields("linear table", "DEVICE START", params, at_least=2)
    return LinearTable(device=fields.device(0), start=fields.number(1))


def parse_thin_pool_table(params: str) -> ThinPoolTable:
    """The parameters of a thin-pool table line (emit_flags and pool_status in dm-thin.c)."""
    fields = _fields("thin-pool table", "METADATA DATA BLOCK LOW_WATER [COUNT FEATURE...]", params, at_least=4)
    return ThinPoolTable(
        metadata=fields.device(0),
        data=fields.device(1),
        block_size_sectors=fields.number(2),
        low_water_blocks=fields.number(3),
        features=fields.features(4),
    )


def parse_thin_pool_status(params: str) -> ThinPoolStatus:
    """The status of a thin pool, with or without the fields that newer kernels append. Never raises."""
    word = params.strip()
    match = _POOL_NUMBERS.fullmatch(word)
    if match is None:
        return ThinPoolStatus(_THIN_WORDS.get(word, LayerState.UNKNOWN), word)
    rest = match["rest"].split()
    needs_check = "needs_check" in rest
    state = LayerState.NEEDS_CHECK if needs_check else _POOL_MODES.get(match["mode"], LayerState.UNKNOWN)
    return ThinPoolStatus(
        state=state,
        word=word,
        mode=match["mode"],
        transaction_id=int(match["transaction"]),
        metadata_used_blocks=int(match["meta_used"]),
        metadata_total_blocks=int(match["meta_total"]),
        data_used_blocks=int(match["used"]),
        data_total_blocks=int(match["total"]),
        error_if_no_space="error_if_no_space" in rest,
        needs_check=needs_check,
        metadata_low_water_blocks=int(rest[-1]) if rest and _NUMBER.fullmatch(rest[-1]) else None,
    )


def parse_thin_table(params: str) -> ThinTable:
    """The parameters of a thin table line."""
    fields = _fields("thin table", "POOL DEVICE_ID [EXTERNAL_ORIGIN]", params, at_least=2)
    origin = fields.device(2) if len(fields.words) > 2 else None
    return ThinTable(pool=fields.device(0), device_id=fields.number(1), external_origin=origin)


def parse_thin_status(params: str) -> ThinStatus:
    """The status of a thin volume: `MAPPED HIGHEST|-`, `Fail`, `Error`, or `-` while it is suspended. Never raises."""
    word = params.strip()
    match = _THIN_NUMBERS.fullmatch(word)
    if match is None:
        return ThinStatus(_THIN_WORDS.get(word, LayerState.UNKNOWN), None, None, word)
    highest = None if match[2] == "-" else int(match[2])
    return ThinStatus(LayerState.OK, int(match[1]), highest, word)


@dataclass(frozen=True, slots=True)
class _Fields:
    """The words of a table line, and what to say when one is not what it should be."""

    place: str
    expected: str
    text: str
    words: list[str]

    def error(self) -> KernelTextError:
        return KernelTextError(self.place, self.expected, self.text)

    def device(self, index: int) -> Device:
        match = _DEVICE.fullmatch(self.words[index])
        if match is None:
            raise self.error()
        return int(match[1]), int(match[2])

    def number(self, index: int) -> int:
        if _NUMBER.fullmatch(self.words[index]) is None:
            raise self.error()
        return int(self.words[index])

    def features(self, index: int) -> tuple[str, ...]:
        """`COUNT FEATURE...` at the end of the line; nothing at all means none."""
        if index >= len(self.words):
            return ()
        features = tuple(self.words[index + 1 :])
        if self.number(index) != len(features):
            raise self.error()
        return features


def _fields(place: str, expected: str, text: str, at_least: int) -> _Fields:
    fields = _Fields(place, expected, text, text.split())
    if len(fields.words) < at_least:
        raise fields.error()
    return fields
