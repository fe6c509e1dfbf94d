# SPDX-License-Identifier: Apache-2.0
"""Thin pools: data and metadata that can end, words, and volumes that promise more than there is."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.devmapper import DmDevice, DmTarget
from overlaywatch.kernel.dm_target import ThinPoolStatus, parse_thin_pool_status
from overlaywatch.model import BROKEN, Failure, LayerId, LayerState, Link, Reading, Ref, block_ref
from overlaywatch.ports import Found
from overlaywatch.sources.dm_thin import DmThinSource, free_blocks, mappable_blocks
from overlaywatch.units import GIB, KIB, MIB
from tests.sources.test_live_machines import memory, of_data, root
from tests.sources.views import StaticView, figures, loop

FRESH = "0 4161/838860 9/65536 - rw discard_passdown queue_if_no_space - 1024"
POOL, VOLUME = (254, 0), (254, 1)
ID = LayerId("dm-thin-pool:live-overlay-pool")


def device(number: tuple[int, int], name: str, sectors: int, kind: str, table: str, status: str) -> DmDevice:
    """A device of one target."""
    lines = (DmTarget(0, sectors, kind, table),), (DmTarget(0, sectors, kind, status),)
    return DmDevice(name, "", *number, False, False, 0, 1, *lines)


def dracut(
    pool: str = FRESH, volume: str = "9216 1049599", table: str = "7:3 7:4 1024 1024 0"
) -> dict[tuple[int, int], DmDevice]:
    """The devices of rd.live.overlay.thin: 32 GiB of data in blocks of 512 KiB, an image of 1500 MiB."""
    return {
        POOL: device(POOL, "live-overlay-pool", 67108864, "thin-pool", table, pool),
        VOLUME: device(VOLUME, "live-rw", 3072000, "thin", "254:0 0 7:1", volume),
    }


def look(source: DmThinSource, devices: dict[tuple[int, int], DmDevice], now: float = 0.0) -> Found:
    """What a source finds."""
    return source.survey(StaticView(dm=devices), now)


def reading(pool: str, table: str = "7:3 7:4 1024 1024 0") -> Reading:
    """The reading of one status line."""
    return look(DmThinSource(), dracut(pool, table=table)).readings[0]


def test_a_pool_that_ignores_discards_takes_nothing_back() -> None:
    """fstrim is no remedy then."""
    layer = look(DmThinSource(), dracut(table="7:3 7:4 1024 1024 1 ignore_discard")).layers[0]

    assert not layer.reclaimable
    assert layer.details["room_returns"] == "never: the pool ignores discards"


def test_figures_are_the_kernels_to_the_block() -> None:
    """Data in blocks of the pool, metadata in blocks of 4 KiB, mode and words by themselves."""
    found = look(DmThinSource(), dracut())
    layer, seen = found.layers[0], found.readings[0]

    assert (layer.id, layer.failure, layer.reclaimable) == (ID, Failure.IO_ERROR, True)
    assert layer.rests_on == (block_ref(7, 4), block_ref(7, 3))
    assert (seen.state, seen.size_bytes, seen.used_bytes) == (LayerState.OK, 32 * GIB, 9 * 512 * KIB)
    assert (seen.metadata_bytes, seen.headroom_bytes) == (4161 * 4096, (65536 - 9) * 512 * KIB)
    assert (seen.details["mode"], seen.details["needs_check"], seen.reason) == ("rw", False, "")


def test_a_volume_takes_no_more_than_its_holes() -> None:
    """What is read from the external origin takes nothing."""
    assert look(DmThinSource(), dracut()).links == [
        Link(block_ref(*VOLUME), (block_ref(*POOL),), 3072000 * 512, (3072000 - 9216) * 512)
    ]


@pytest.mark.parametrize("volume", ["8192 1049599", "10240 1049599", "-"])
def test_the_holes_of_a_volume_that_shares_blocks_are_unknown(volume: str) -> None:
    """More or less mapped than the pool has given away: a snapshot copies shared blocks when they are written to."""
    found = look(DmThinSource(), dracut(volume=volume))

    assert ([link.holes_bytes for link in found.links], found.unknown_statuses) == ([None], 0)


@pytest.mark.parametrize(
    ("pool", "state", "reason"),
    [
        (
            "0 4161/838860 65536/65536 - out_of_data_space discard_passdown queue_if_no_space - 9",
            "out_of_data_space",
            "",
        ),
        ("0 256/256 219/65536 - ro discard_passdown queue_if_no_space - 1", "read_only", "metadata"),
        ("0 112/1024 0/65536 - ro discard_passdown queue_if_no_space needs_check 256", "needs_check", "repaired"),
        ("Fail", "failed", "'Fail'"),
    ],
)
def test_what_the_kernel_says_of_a_pool_that_has_ended(pool: str, state: str, reason: str) -> None:
    """In each of these states nothing more goes in."""
    seen = reading(pool)

    assert (seen.state, seen.headroom_bytes or 0) == (LayerState(state), 0)
    assert seen.state in BROKEN
    assert reason in seen.reason


def test_error_if_no_space_appears_when_the_wait_is_over() -> None:
    """It is printed by itself after no_space_timeout, or because the table asks for it."""
    line = "0 4161/838860 65536/65536 - out_of_data_space discard_passdown error_if_no_space - 1024"

    assert "I/O errors" in reading(line).reason
    assert "I/O errors" not in reading(line, "7:3 7:4 1024 1024 1 error_if_no_space").reason


def test_a_word_keeps_the_last_numbers_with_their_time() -> None:
    """`Fail` has none."""
    source = DmThinSource()
    look(source, dracut(), 10.0)
    look(source, dracut("0 4161/838860 20/65536 - rw discard_passdown queue_if_no_space - 1024"), 11.0)

    failed = look(source, dracut("Fail", "Fail"), 12.0)

    seen = failed.readings[0]
    assert (seen.state, seen.used_bytes, seen.headroom_bytes) == (LayerState.FAILED, 20 * 512 * KIB, 0)
    assert (seen.numbers_at, seen.details["status"]) == (11.0, "Fail")
    assert failed.links[0].rests_on == (block_ref(*POOL),)


@pytest.mark.parametrize("pool", ["Thawing", "0 1/2 3/4 - thawing queue_if_no_space - 1"])
def test_a_status_that_no_kernel_has_printed_yet_is_unknown_and_counted(pool: str) -> None:
    """A new word alone, or a new mode."""
    found = look(DmThinSource(), dracut(pool))

    assert (found.readings[0].state, found.readings[0].headroom_bytes) == (LayerState.UNKNOWN, None)
    assert found.unknown_statuses == 1


@pytest.mark.parametrize(("volume", "unknown"), [("Error", 0), ("Thawing", 1)])
def test_a_volume_that_cannot_be_read_is_unknown_below(volume: str, unknown: int) -> None:
    """Its pool may be well all the same; nothing is claimed for what is on it."""
    found = look(DmThinSource(), dracut(volume=volume))

    assert found.links[0].rests_on == (Ref("unknown:thin 254:1"),)
    assert found.unknown_statuses == unknown


def test_table_lines_that_are_not_understood() -> None:
    """The pool is unreadable; a volume is no link, so that what it lies on stays unknown."""
    devices = dracut(table="7:3 7:4 big 1024 0")
    devices[VOLUME] = replace(devices[VOLUME], table=(DmTarget(0, 3072000, "thin", "pool 0"),))

    found = look(DmThinSource(), devices)

    assert (found.readings[0].state, list(found.links)) == (LayerState.UNREADABLE, [])


def test_a_peek_tells_state_and_figures() -> None:
    """By the status line alone."""
    source = DmThinSource()
    found = look(source, dracut())
    fuller = StaticView(dm=dracut("0 4170/838860 99/65536 - rw discard_passdown queue_if_no_space - 1024"))

    peeked = source.peek(fuller, found.layers[0], found.readings[0])
    failed = source.peek(StaticView(dm=dracut("Fail")), found.layers[0], found.readings[0])

    assert peeked is not None
    assert failed is not None
    assert (peeked.used_bytes, failed.state) == (99 * 512 * KIB, LayerState.FAILED)


@given(
    data=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
    metadata=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
)
def test_room_is_never_more_than_data_or_metadata_have(data: tuple[int, int], metadata: tuple[int, int]) -> None:
    """Whatever the figures are: no block without data, none without a place for its mapping, none negative."""
    line = f"0 {min(metadata)}/{max(metadata)} {min(data)}/{max(data)} - rw discard_passdown queue_if_no_space - 1"
    status: ThinPoolStatus = parse_thin_pool_status(line)
    seen = reading(line)

    assert seen.headroom_bytes == min(free_blocks(status), mappable_blocks(status)) * 512 * KIB
    assert 0 <= seen.headroom_bytes <= (max(data) - min(data)) * 512 * KIB
    assert mappable_blocks(status) <= (max(metadata) - min(metadata)) * 126


def machine(run_free: int, data_allocated: int, pool: str = FRESH) -> StaticView:
    """dracut with a thin pool: both files are on /run, which is a fifth of the RAM."""
    return StaticView(
        "27 70 0:23 / /run rw - tmpfs tmpfs rw\n70 1 254:1 / / rw - ext4 /dev/mapper/live-rw rw\n",
        dm=dracut(pool),
        loops=[
            loop(1, "/LiveOS/rootfs.img", (0, 29), read_only=True),
            loop(3, "/run/initramfs/thin-overlay/meta", (0, 23), size=3435973632),
            loop(4, "/run/initramfs/thin-overlay/data", (0, 23), size=32 * GIB),
        ],
        statvfs={"/": figures(1500 * MIB, 1100 * MIB), "/run": figures(200 * MIB, run_free)},
        allocations={(7, 3): (3435973632, MIB), (7, 4): (32 * GIB, data_allocated)},
        names={VOLUME: "dm-1", POOL: "dm-0"},
        memory=memory(GIB, 700 * MIB),
    )


def test_the_tmpfs_under_a_pool_is_the_limit() -> None:
    """The pool is at 0.01 %, df shows 1.1 GiB, and 170 MiB go in; then the loops get I/O errors."""
    found = root(machine(175 * MIB, 9 * 512 * KIB))

    assert found.chain == ("filesystem:/", ID, "tmpfs:/run", "ram")
    assert (found.limit, found.failure, found.headroom_bytes) == ("tmpfs:/run", Failure.IO_ERROR, of_data(170 * MIB))
    assert found.live_system == "dracut-dmsquash-live-thin"
    assert found.oversubscription[ID] > 180


def test_a_small_pool_is_the_limit() -> None:
    """rd.live.overlay.size=64: 128 blocks of 512 KiB, 13 of them in use."""
    found = root(machine(175 * MIB, 0, "0 173/1638 13/128 - rw discard_passdown queue_if_no_space - 409"))

    assert (found.limit, found.failure, found.headroom_bytes) == (ID, Failure.IO_ERROR, of_data(105 * 512 * KIB))
    assert not found.reclaimable  # not by deleting alone


def test_files_that_share_a_tmpfs_take_their_holes_together() -> None:
    """Metadata and data on one tmpfs: it must have room for the holes of both to be no limit."""
    both, one = machine(40 * MIB, 0), machine(40 * MIB, 0)
    metadata, data = 3435973632, 32 * GIB
    both._allocations = {(7, 3): (metadata, metadata - 30 * MIB), (7, 4): (data, data - 30 * MIB)}
    one._allocations = {(7, 3): (metadata, metadata - 4 * MIB), (7, 4): (data, data - 30 * MIB)}

    assert (root(both).limit, root(one).limit) == ("tmpfs:/run", "filesystem:/")
