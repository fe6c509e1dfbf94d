# SPDX-License-Identifier: Apache-2.0
"""Chains, and what one look says about a mount point."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.model import (
    BROKEN,
    RAM,
    RAM_LAYER,
    SWAPPABLE_RAM,
    UNSURE,
    Failure,
    Layer,
    LayerId,
    LayerKind,
    LayerState,
    Link,
    Mount,
    Reading,
    Ref,
    Verdict,
    block_ref,
    super_block_ref,
)
from overlaywatch.topology import Topology, judge
from overlaywatch.units import GIB, MIB

ROOT = Mount("/", "ext4", "/dev/mapper/live-rw", super_block_ref(254, 1))
EXT4 = Layer(
    LayerId("filesystem:/"),
    LayerKind.FILESYSTEM,
    (super_block_ref(254, 1),),
    (block_ref(254, 1),),
    Failure.ENOSPC,
    reclaimable=True,
)
SNAPSHOT = Layer(
    LayerId("dm-snapshot:live-rw"),
    LayerKind.DM_SNAPSHOT,
    (block_ref(254, 1),),
    (block_ref(7, 2),),
    Failure.READ_ONLY,
    reclaimable=False,
)
RAMFS = Layer(LayerId("ramfs:rootfs"), LayerKind.RAMFS, (super_block_ref(0, 2),), (RAM,), Failure.OOM, reclaimable=True)
TMPFS = Layer(
    LayerId("tmpfs:/run/cow"),
    LayerKind.TMPFS,
    (super_block_ref(0, 31),),
    (SWAPPABLE_RAM,),
    Failure.ENOSPC,
    reclaimable=True,
)
MEMORY = Layer(RAM_LAYER, LayerKind.RAM, (RAM, SWAPPABLE_RAM), (), Failure.OOM, reclaimable=True)
ON_RAMFS = Link(block_ref(7, 2), (super_block_ref(0, 2),))
ON_TMPFS = Link(block_ref(7, 2), (super_block_ref(0, 31),))
LAYERS = (EXT4, SNAPSHOT, RAMFS, TMPFS, MEMORY)


def ok(layer: Layer, headroom: int | None, **more: int | bool) -> tuple[LayerId, Reading]:
    """A healthy layer with so much slack."""
    return layer.id, Reading(layer.id, LayerState.OK, headroom_bytes=headroom, **more)  # type: ignore[arg-type]


def unlimited(layer: Layer) -> tuple[LayerId, Reading]:
    """A layer without a limit of its own."""
    return layer.id, Reading(layer.id, LayerState.OK, cannot_overflow=True)


def verdict(*readings: tuple[LayerId, Reading], link: Link = ON_RAMFS, mount: Mount = ROOT) -> Verdict:
    """What is said about a mount with these readings."""
    chain = Topology(LAYERS, (link,)).chain(mount.rests_on)
    return judge(mount, chain, dict(readings))


def test_chain_goes_from_the_file_system_through_the_loop_to_ram() -> None:
    """ext4, dm-snapshot, the ramfs that holds the COW file, RAM, in this order."""
    chain = Topology(LAYERS, (ON_RAMFS,)).chain(ROOT.rests_on)

    assert [step.layer.id for step in chain] == ["filesystem:/", "dm-snapshot:live-rw", "ramfs:rootfs", "ram"]


def test_backing_names_the_next_layer_below_and_skips_links() -> None:
    """backed_by shows layers, not loops."""
    topology = Topology(LAYERS, (ON_TMPFS,))

    assert topology.backing(SNAPSHOT) == ("tmpfs:/run/cow",)
    assert topology.backing(MEMORY) == ()


def test_references_in_a_circle_end() -> None:
    """A table that refers to itself, which the kernel refuses but text can say, gives a finite chain."""
    one = Link(Ref("block:7:1"), (Ref("block:7:2"),))
    two = Link(Ref("block:7:2"), (Ref("block:7:1"),))
    topology = Topology((), (one, two))

    assert topology.chain(Ref("block:7:1")) == ()
    assert topology.backing(SNAPSHOT) == ()


def test_the_cow_is_the_limit_while_df_shows_gigabytes() -> None:
    """A 512 MiB COW with 203 MiB left under an ext4 with 3.9 GiB free: the true figure is the COW's."""
    found = verdict(ok(EXT4, 39 * GIB // 10), ok(SNAPSHOT, 203 * MIB), unlimited(RAMFS), ok(MEMORY, 2 * GIB))

    assert (found.headroom_bytes, found.limit, found.failure) == (203 * MIB, "dm-snapshot:live-rw", Failure.READ_ONLY)
    assert not found.reclaimable
    assert found.oversubscription[EXT4.id] == pytest.approx(3.9 * 1024 / 203)


def test_a_cow_larger_than_ram_shows_the_ram_and_oom() -> None:
    """The 32 GiB sparse COW of dracut on 300 MB: RAM is the limit, and the OOM killer the failure."""
    found = verdict(ok(EXT4, 40 * GIB), ok(SNAPSHOT, 32 * GIB), unlimited(RAMFS), ok(MEMORY, 250 * MIB))

    assert (found.headroom_bytes, found.limit, found.failure) == (250 * MIB, "ram", Failure.OOM)


def test_a_tmpfs_that_ends_below_a_snapshot_kills_the_root() -> None:
    """PO protects against the end of the COW device only, not against a write error below it."""
    found = verdict(ok(EXT4, GIB), ok(SNAPSHOT, 300 * MIB), ok(TMPFS, 100 * MIB), ok(MEMORY, 2 * GIB), link=ON_TMPFS)

    assert (found.headroom_bytes, found.limit, found.failure) == (100 * MIB, "tmpfs:/run/cow", Failure.DEAD_ROOT)


def test_dirty_data_is_taken_from_the_layers_below_the_block_device_only() -> None:
    """ext4 has counted it already, the COW has not."""
    readings = (ok(EXT4, 110 * MIB, pending_bytes=50 * MIB), ok(SNAPSHOT, 120 * MIB), unlimited(RAMFS), ok(MEMORY, GIB))

    found = verdict(*readings)

    assert (found.headroom_bytes, found.limit) == (70 * MIB, "dm-snapshot:live-rw")


def test_swap_counts_for_tmpfs_and_not_for_ramfs() -> None:
    """Pages of a ramfs cannot be swapped."""
    memory = ok(MEMORY, 100 * MIB, swap_bytes=900 * MIB)
    over_tmpfs = verdict(ok(EXT4, 9 * GIB), ok(SNAPSHOT, 8 * GIB), ok(TMPFS, 7 * GIB), memory, link=ON_TMPFS)
    over_ramfs = verdict(ok(EXT4, 9 * GIB), ok(SNAPSHOT, 8 * GIB), unlimited(RAMFS), memory)

    assert (over_tmpfs.headroom_bytes, over_ramfs.headroom_bytes) == (1000 * MIB, 100 * MIB)


def test_a_loop_takes_no_more_than_its_holes() -> None:
    """A backing file that is allocated but for 10 MiB cannot be stopped by a tmpfs with 20 MiB left."""
    link = Link(block_ref(7, 2), (super_block_ref(0, 31),), 300 * MIB, holes_bytes=10 * MIB)

    found = verdict(ok(EXT4, GIB), ok(SNAPSHOT, 90 * MIB), ok(TMPFS, 20 * MIB), ok(MEMORY, 30 * MIB), link=link)

    assert (found.headroom_bytes, found.limit) == (90 * MIB, "dm-snapshot:live-rw")


def test_dirty_data_goes_into_the_holes_that_were_counted() -> None:
    """CoreOS: an xfs on a loop over a file as large as its tmpfs; what it has not written yet changes no limit."""
    top = replace(EXT4, rests_on=(block_ref(7, 2),))
    link = Link(block_ref(7, 2), (super_block_ref(0, 31),), holes_bytes=100 * MIB)
    chain = Topology((top, TMPFS, MEMORY), (link,)).chain(ROOT.rests_on)

    found = judge(ROOT, chain, dict([ok(top, 110 * MIB, pending_bytes=5 * MIB), ok(TMPFS, 100 * MIB), ok(MEMORY, GIB)]))

    assert (found.headroom_bytes, found.limit, found.failure) == (110 * MIB, EXT4.id, Failure.ENOSPC)


def test_dirty_data_of_others_does_not_go_into_these_holes() -> None:
    """It takes the room that they were promised."""
    top, other = replace(EXT4, rests_on=(block_ref(7, 2),)), replace(EXT4, id=LayerId("filesystem:/other"))
    other = replace(other, provides=(super_block_ref(254, 9),), rests_on=(block_ref(7, 3),))
    links = [Link(block_ref(7, n), (super_block_ref(0, 31),), holes_bytes=100 * MIB) for n in (2, 3)]
    chain = Topology((top, other, TMPFS, MEMORY), links).chain(ROOT.rests_on)
    dirty = [ok(top, 110 * MIB), ok(other, GIB, pending_bytes=5 * MIB)]

    found = judge(ROOT, chain, dict([*dirty, ok(TMPFS, 100 * MIB), ok(MEMORY, GIB)]))

    assert (found.headroom_bytes, found.limit, found.failure) == (95 * MIB, TMPFS.id, Failure.IO_ERROR)


def test_an_overlay_has_no_bytes_of_its_own() -> None:
    """The figures of an overlay are its upper's, so the upper is named, even if its reading is a moment newer."""
    overlay = Layer(
        LayerId("overlay:/"), LayerKind.OVERLAY, (super_block_ref(0, 40),), (super_block_ref(0, 31),),
        Failure.ENOSPC, reclaimable=True,
    )  # fmt: skip
    mount = Mount("/", "overlay", "overlay", super_block_ref(0, 40))
    chain = Topology((overlay, TMPFS, MEMORY), ()).chain(mount.rests_on)

    found = judge(mount, chain, dict([ok(overlay, 99 * MIB), ok(TMPFS, 100 * MIB), ok(MEMORY, GIB)]))

    assert found.chain == ("overlay:/", "tmpfs:/run/cow", "ram")
    assert (found.headroom_bytes, found.limit, found.failure) == (100 * MIB, "tmpfs:/run/cow", Failure.ENOSPC)
    assert found.reclaimable


def test_what_cannot_overflow_is_left_out() -> None:
    """A COW larger than its origin is no limit, however full it looks."""
    found = verdict(ok(EXT4, GIB), ok(SNAPSHOT, MIB, cannot_overflow=True), unlimited(RAMFS), ok(MEMORY, 2 * GIB))

    assert (found.headroom_bytes, found.limit) == (GIB, "filesystem:/")


def test_of_what_a_file_system_writes_not_all_is_data() -> None:
    """A btrfs with two copies of everything: all layers below are worth half of their room, itself not."""
    twice = replace(EXT4, data_share=0.5)
    chain = Topology((twice, *LAYERS[1:]), (ON_RAMFS,)).chain(ROOT.rests_on)
    readings = [ok(twice, 90 * MIB), ok(SNAPSHOT, 100 * MIB), unlimited(RAMFS), ok(MEMORY, 150 * MIB)]

    found = judge(ROOT, chain, dict(readings))

    assert (found.headroom_bytes, found.limit) == (50 * MIB, SNAPSHOT.id)
    assert [step.data_share for step in chain] == [1, 0.5, 0.5, 0.5]


def test_an_upper_bound_keeps_nothing_back() -> None:
    """The journal's part, dirty data and lost pieces may turn out to cost nothing: more may go in than is announced."""
    top = replace(EXT4, data_share=0.5)
    coarse = replace(SNAPSHOT, grain_bytes=MIB)
    chain = Topology((top, coarse, *LAYERS[2:]), (ON_RAMFS,)).chain(ROOT.rests_on)

    found = judge(ROOT, chain, dict([ok(top, GIB, pending_bytes=MIB), ok(coarse, 40 * MIB), ok(MEMORY, None)]))

    assert (found.headroom_bytes, found.headroom_at_most_bytes) == (None, 40 * MIB)


def shared_store(*pending: tuple[int, bool]) -> Verdict:
    """Several file systems, each on a snapshot of its own, whose stores lie on one tmpfs with 100 MiB left."""
    layers: list[Layer] = [TMPFS, MEMORY]
    links, readings = [], [ok(TMPFS, 100 * MIB), ok(MEMORY, GIB)]
    for n, (dirty, of_all) in enumerate(pending):
        top = replace(EXT4, id=LayerId(f"filesystem:/{n}"), provides=(super_block_ref(254, n),))
        top = replace(top, rests_on=(block_ref(254, n),))
        store = replace(SNAPSHOT, id=LayerId(f"dm-snapshot:{n}"), provides=top.rests_on, rests_on=(block_ref(7, n),))
        layers += [top, store]
        links.append(Link(block_ref(7, n), (super_block_ref(0, 31),)))
        readings += [ok(top, GIB, pending_bytes=dirty, pending_of_all=of_all), ok(store, GIB)]
    mount = replace(ROOT, rests_on=super_block_ref(254, 0))
    return judge(mount, Topology(layers, links).chain(mount.rests_on), dict(readings))


def test_dirty_data_of_all_file_systems_on_a_store_is_subtracted() -> None:
    """Each by itself where that is known; else that of the machine, once."""
    assert shared_store((10 * MIB, False), (20 * MIB, False)).headroom_bytes == 70 * MIB
    assert shared_store((30 * MIB, True), (30 * MIB, True)).headroom_bytes == 70 * MIB
    assert shared_store((10 * MIB, False), (30 * MIB, True)).headroom_bytes == 70 * MIB


def test_what_is_promised_of_ram_is_summed() -> None:
    """Two tmpfs with 600 MiB free each and a COW of 2 GiB in a ramfs, on 800 MiB of RAM and 200 of swap."""
    other = replace(TMPFS, id=LayerId("tmpfs:/run"), provides=(super_block_ref(0, 24),))
    links = [ON_RAMFS]
    mount = replace(ROOT, rests_on=super_block_ref(0, 24))
    readings = [ok(TMPFS, 600 * MIB), ok(other, 600 * MIB), ok(SNAPSHOT, 2048 * MIB), unlimited(RAMFS)]
    memory = ok(MEMORY, 800 * MIB, swap_bytes=200 * MIB)

    chain = Topology((*LAYERS, other), links).chain(mount.rests_on)
    found = judge(mount, chain, dict([*readings, memory]))

    assert found.oversubscription == {RAM_LAYER: 3248 / 1000, other.id: 600 / 1000}
    assert (found.headroom_bytes, found.limit) == (600 * MIB, other.id)


def test_large_pieces_are_not_all_filled() -> None:
    """Ten pieces of the snapshot are lost, for it and for all that is below it."""
    coarse = replace(SNAPSHOT, grain_bytes=MIB)
    chain = Topology((EXT4, coarse, *LAYERS[2:]), (ON_RAMFS,)).chain(ROOT.rests_on)

    found, below = (
        judge(ROOT, chain, dict([ok(EXT4, GIB), ok(coarse, own), unlimited(RAMFS), ok(MEMORY, 50 * MIB)]))
        for own in (40 * MIB, 90 * MIB)
    )

    assert (found.headroom_bytes, found.limit) == (30 * MIB, SNAPSHOT.id)
    assert (below.headroom_bytes, below.limit) == (40 * MIB, RAM_LAYER)


def test_what_is_reached_on_two_ways_must_have_room_for_both() -> None:
    """Two loops on one tmpfs: it holds all that can be asked of it only if the holes of both fit in."""
    both = replace(SNAPSHOT, rests_on=(block_ref(7, 2), block_ref(7, 3)))
    links = [Link(block_ref(7, n), (super_block_ref(0, 31),), holes_bytes=30 * MIB) for n in (2, 3)]
    chain = Topology((EXT4, both, *LAYERS[2:]), links).chain(ROOT.rests_on)
    above = [ok(EXT4, GIB), ok(both, 2 * GIB), ok(MEMORY, GIB)]

    limits = [judge(ROOT, chain, dict([*above, ok(TMPFS, room)])).limit for room in (50 * MIB, 60 * MIB)]

    assert [step.layer.id for step in chain].count(TMPFS.id) == 1
    assert limits == [TMPFS.id, EXT4.id]


def test_no_free_inode_means_no_room() -> None:
    """creat() gets ENOSPC with all blocks free."""
    found = verdict(ok(EXT4, GIB, inodes=1000, inodes_free=0), ok(SNAPSHOT, GIB), unlimited(RAMFS), ok(MEMORY, 2 * GIB))

    assert (found.headroom_bytes, found.failure, found.inodes_ratio) == (0, Failure.ENOSPC, 1.0)


@pytest.mark.parametrize("state", sorted(UNSURE))
def test_a_layer_that_cannot_be_read_leaves_an_upper_bound_only(state: LayerState) -> None:
    """No headroom and no limit are claimed, but what is known is known."""
    unsure = (SNAPSHOT.id, Reading(SNAPSHOT.id, state))

    found = verdict(ok(EXT4, GIB), unsure, unlimited(RAMFS), ok(MEMORY, 100 * MIB))

    assert (found.headroom_bytes, found.limit, found.failure) == (None, None, None)
    assert found.headroom_at_most_bytes == 100 * MIB


@pytest.mark.parametrize("state", sorted(BROKEN))
def test_a_broken_layer_leaves_nothing(state: LayerState) -> None:
    """After Invalid or Overflow the headroom is 0, whatever the last numbers were."""
    broken = (SNAPSHOT.id, Reading(SNAPSHOT.id, state, headroom_bytes=5 * MIB))

    found = verdict(ok(EXT4, GIB), broken, unlimited(RAMFS), ok(MEMORY, 100 * MIB))

    assert (found.headroom_bytes, found.limit, found.states >= {state}) == (0, "dm-snapshot:live-rw", True)


def test_a_snapshot_that_is_invalid_is_a_dead_root() -> None:
    """One that was made to survive its own end (PO) turns Invalid when the layer below ends: reads fail too."""
    dead = (SNAPSHOT.id, Reading(SNAPSHOT.id, LayerState.INVALID))

    found = verdict(ok(EXT4, GIB), dead, unlimited(RAMFS), ok(MEMORY, 100 * MIB))

    assert (found.headroom_bytes, found.failure) == (0, Failure.DEAD_ROOT)


sizes = st.none() | st.integers(0, 1 << 45)


@given(ext4=sizes, cow=sizes, tmpfs=sizes, ram=sizes, pending=st.integers(0, 1 << 40), holes=sizes)
def test_headroom_is_never_larger_than_the_slack_of_any_layer(
    ext4: int | None, cow: int | None, tmpfs: int | None, ram: int | None, pending: int, holes: int | None
) -> None:
    """Unless the links above it cannot take what a layer has, no layer has less than what is announced."""
    readings: Mapping[LayerId, Reading] = dict(
        [ok(EXT4, ext4, pending_bytes=pending), ok(SNAPSHOT, cow), ok(TMPFS, tmpfs), ok(MEMORY, ram)]
    )
    link = Link(block_ref(7, 2), (super_block_ref(0, 31),), None, holes)
    chain = Topology(LAYERS, (link,)).chain(ROOT.rests_on)

    found = judge(ROOT, chain, readings)

    shown = (ext4, cow, tmpfs, ram)
    room = [ext4, *(None if left is None else max(0, left - pending) for left in shown[1:])]
    limits = [left is not None and (index < 2 or holes is None or left < holes) for index, left in enumerate(shown)]
    least = min(
        (left for left, is_limit in zip(room, limits, strict=True) if is_limit and left is not None), default=None
    )
    most = min(
        (left for left, is_limit in zip(shown, limits, strict=True) if is_limit and left is not None), default=None
    )
    assert found.headroom_bytes in {None, least}
    assert found.headroom_at_most_bytes == (most if found.headroom_bytes is None else least)
    if found.headroom_bytes:
        assert None not in room
