# SPDX-License-Identifier: Apache-2.0
"""Snapshots: never more room announced than the kernel's own allocator gives, and words without numbers."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.devmapper import DmDevice, DmTarget
from overlaywatch.kernel.dm_target import SnapshotTable
from overlaywatch.model import Failure, LayerState, Reading
from overlaywatch.sources.dm_kept import SECTOR
from overlaywatch.sources.dm_snapshot import DmSnapshotSource, as_layer, demand_in_chunks, room_in_chunks
from tests.sources.views import StaticView


def snapshot(status: str, persistent: str = "PO") -> DmDevice:
    """The live-rw of a dracut live system: 1500 MiB of origin, 4 KiB chunks."""
    return DmDevice(
        name="live-rw",
        uuid="",
        major=254,
        minor=1,
        suspended=False,
        read_only=False,
        event_nr=0,
        open_count=1,
        table=(DmTarget(0, 3072000, "snapshot", f"7:1 7:2 {persistent} 8"),),
        status=(DmTarget(0, 3072000, "snapshot", status),),
    )


def look(source: DmSnapshotSource, device: DmDevice, now: float = 0.0) -> Reading:
    """What a source makes of one device."""
    found = source.survey(StaticView(dm={(254, 1): device}), now)
    return found.readings[0]


def allocate(persistent: str, chunk: int, total: int) -> list[tuple[int, int]]:
    """(allocated sectors, data chunks so far) after each copied chunk, as the kernel's stores allocate.

    dm-snap-persistent.c, persistent_prepare_exception: chunk 0 is the header, chunk 1 + n * (exceptions
    per area + 1) a metadata area, which next_free skips; dm-snap-transient.c has no metadata.
    """
    stride = chunk * SECTOR // 16 + 1
    next_free, data, states = (2, 0, []) if persistent != "N" else (0, 0, [])
    states.append((next_free * chunk, data))
    while total >= (next_free + 1) * chunk:
        next_free, data = next_free + 1, data + 1
        if persistent != "N" and next_free % stride == 1:
            next_free += 1
        states.append((next_free * chunk, data))
    return states


@pytest.mark.parametrize(("mib", "failure"), [(255, None), (256, Failure.DEAD_ROOT), (257, None), (512, None)])
def test_a_store_that_ends_where_metadata_would_begin_dies(mib: int, failure: Failure | None) -> None:
    """PO too: the area that is wiped when the one before it is full lies beyond the end. 256 MiB is such a size."""
    assert look(DmSnapshotSource(), snapshot(f"16/{mib * 2048} 16")).failure is failure
    assert look(DmSnapshotSource(), snapshot(f"16/{mib * 2048} 0", "N")).failure is None


@given(
    persistent=st.sampled_from(["N", "P", "PO"]),
    chunk=st.sampled_from([8, 16, 32]),
    total=st.integers(0, 40_000),
    at=st.floats(0, 1),
)
def test_room_is_what_the_allocator_still_gives_at_most(persistent: str, chunk: int, total: int, at: float) -> None:
    """At every point of a fill: never a chunk more than can be copied, and at most two fewer."""
    states = allocate(persistent, chunk, total)
    allocated, data = states[int(at * (len(states) - 1))]
    table = SnapshotTable((7, 1), (7, 2), persistent, chunk, ())

    room = room_in_chunks(table, allocated, total)

    truth = states[-1][1] - data
    assert truth - 2 <= room <= truth


def test_a_cow_larger_than_its_origin_cannot_overflow() -> None:
    """32 GiB over an image of 1500 MiB: every chunk can be copied, and the metadata fits as well."""
    big = look(DmSnapshotSource(), snapshot("2640/67108864 24"))
    small = look(DmSnapshotSource(), snapshot("2640/131072 24"))

    assert (big.cannot_overflow, small.cannot_overflow) == (True, False)


def test_a_read_only_snapshot_cannot_overflow() -> None:
    """dracut's live-ro: a persistent overlay that is full, below a temporary one."""
    full = snapshot("131000/131072 520", "P")

    seen = look(DmSnapshotSource(), replace(full, read_only=True))

    assert (seen.state, seen.cannot_overflow, look(DmSnapshotSource(), full).cannot_overflow) == (
        LayerState.OK,
        True,
        False,
    )


def test_metadata_that_is_not_told_is_not_taken_for_data() -> None:
    """Old kernels print two numbers: how much is copied is then what it is at least, and metadata unknown."""
    told, untold = (look(DmSnapshotSource(), snapshot(text)) for text in ("1600000/3080960 6240", "1600000/3080960"))

    assert (told.cannot_overflow, untold.cannot_overflow) == (False, False)
    assert (untold.metadata_bytes, untold.details["metadata_sectors"]) == (None, None)
    assert untold.headroom_bytes == told.headroom_bytes


@given(data=st.integers(0, 3_072_000))
def test_demand_falls_with_what_is_copied(data: int) -> None:
    """A chunk of the origin is copied once."""
    table = SnapshotTable((7, 1), (7, 2), "P", 8, ())

    assert 0 <= demand_in_chunks(table, 3_072_000, data) - (3_072_000 - data) // 8 <= 1


def test_figures_are_the_kernels_to_the_sector() -> None:
    """`2448/131072 24`: used, size and metadata in bytes, and the kernel's own figures in the details."""
    reading = look(DmSnapshotSource(), snapshot("2448/131072 24"))

    assert (reading.used_bytes, reading.size_bytes, reading.metadata_bytes) == (2448 * 512, 131072 * 512, 24 * 512)
    assert reading.details["sectors_allocated"] == 2448
    assert reading.headroom_bytes == (16078 - 63) * 4096


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("Invalid", LayerState.INVALID),
        ("Overflow", LayerState.OVERFLOW),
        ("Merge failed", LayerState.MERGE_FAILED),
    ],
)
def test_a_word_keeps_the_last_numbers_with_their_time(word: str, state: LayerState) -> None:
    """The words carry no numbers: the last ones stay, marked as old, and nothing is left."""
    source = DmSnapshotSource()
    look(source, snapshot("2448/131072 24"), now=10.0)
    look(source, snapshot("131000/131072 520"), now=11.0)

    first = look(source, snapshot(word), now=11.5)
    later = look(source, snapshot(word), now=60.0)

    assert (first.state, first.headroom_bytes, first.used_bytes) == (state, 0, 131000 * 512)
    assert (first.numbers_at, later.numbers_at) == (11.0, 11.0)
    assert first.details["status"] == word


def test_numbers_seen_again_unchanged_are_as_old_as_the_last_look() -> None:
    """The age counts from the last look that found them, not from the first."""
    source, device = DmSnapshotSource(), snapshot("2448/131072 24")
    for now in (1.0, 2.0, 3.0):
        look(source, device, now)

    assert look(source, snapshot("Invalid"), 4.0).numbers_at == 3.0


def test_a_status_that_no_kernel_has_printed_yet_is_unknown_and_counted() -> None:
    """No traceback, no guess: the last numbers are kept, but nothing is announced as left."""
    source = DmSnapshotSource()
    look(source, snapshot("2448/131072 24"), now=1.0)

    found = source.survey(StaticView(dm={(254, 1): snapshot("Thawing 3")}), 2.0)

    assert found.unknown_statuses == 1
    assert (found.readings[0].state, found.readings[0].headroom_bytes) == (LayerState.UNKNOWN, None)
    assert "Thawing 3" in found.readings[0].reason


def test_an_invalid_snapshot_at_the_first_look_has_no_numbers() -> None:
    """A daemon that was started after the accident knows the state, and says no figure."""
    reading = look(DmSnapshotSource(), snapshot("Invalid"))

    assert (reading.state, reading.size_bytes, reading.used_bytes) == (LayerState.INVALID, None, None)


def test_what_its_end_means_stands_in_the_table() -> None:
    """PO becomes read-only; N and P take the root with them."""
    ends = {letter: as_layer(snapshot("0/8 0", letter))[0].failure for letter in ("N", "P", "PO")}

    assert ends == {"N": Failure.DEAD_ROOT, "P": Failure.DEAD_ROOT, "PO": Failure.READ_ONLY}


def test_a_table_line_that_is_not_understood_makes_it_unreadable() -> None:
    """And the mount above it then claims no headroom."""
    device = snapshot("2448/131072 24")
    strange = replace(device, table=(DmTarget(0, 3072000, "snapshot", "7:1 7:2 Q 8"),))

    assert look(DmSnapshotSource(), strange).state is LayerState.UNREADABLE


def test_an_unchanged_record_gives_the_same_objects() -> None:
    """A thousand calm snapshots cost a thousand comparisons, not a thousand new values."""
    source, device = DmSnapshotSource(), snapshot("2448/131072 24")

    assert look(source, device, 1.0) is look(source, device, 2.0)


def test_a_renamed_snapshot_is_another_layer() -> None:
    """dmsetup rename: the same number and table, and a device of that name to be found by who reads the metrics."""
    source, device = DmSnapshotSource(), snapshot("2448/131072 24")
    look(source, device, 1.0)

    assert look(source, replace(device, name="renamed"), 2.0).layer == "dm-snapshot:renamed"


def test_a_peek_tells_state_and_figures_of_one_snapshot() -> None:
    """By the status line alone, without the table."""
    source, device = DmSnapshotSource(), snapshot("2448/131072 24")
    found = source.survey(StaticView(dm={(254, 1): device}), 1.0)
    layer, before = found.layers[0], found.readings[0]

    filled = source.peek(StaticView(dm={(254, 1): snapshot("100000/131072 400")}), layer, before)
    ended = source.peek(StaticView(dm={(254, 1): snapshot("Overflow")}), layer, before)
    gone = source.peek(StaticView(), layer, before)

    assert filled is not None
    assert filled.used_bytes == 100000 * 512
    assert ended is not None
    assert (ended.state, gone) == (LayerState.OVERFLOW, None)
