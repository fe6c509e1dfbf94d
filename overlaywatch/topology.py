# SPDX-License-Identifier: Apache-2.0
"""Which layers lie under a mount point, and which of them ends first.

This file must not know how a layer is read, or any path. Layers and links say what they provide and
what they rest on; a chain is found by following these references from the mount down to RAM. The
headroom of a mount is the least slack on that way, and the layer that has it is the limit.

Rules, each with its reason:

* An overlay or AUFS whose upper file system is known has no bytes of its own: statvfs of the union
  answers with those of the upper (fs/overlayfs/super.c, ovl_statfs). The upper is the limit then.
* Dirty data of a file system on a block device is not yet counted by the layers below it, which
  will have to take it: that of all file systems on a store is subtracted from its slack.
* What several layers are promised of one RAM is summed: with two tmpfs of half the RAM each, both cannot be filled.
* Not all that a file system writes is data (`Layer.data_share`): what is left below is worth less to its mount.
* A layer that gives room in large pieces loses some to the journal and the metadata of the file system above it.
* A loop takes no more from below than its backing file has holes.
* RAM that carries tmpfs can be swapped, RAM that carries ramfs cannot.
* What ends below a block device comes up as an I/O error: a dm-snapshot above it turns Invalid, even
  one that would survive its own end (dm-snap.c, __invalidate_snapshot on a failed write).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from overlaywatch.model import (
    BROKEN,
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
)
from overlaywatch.remedy import End, remedy

PIECES_LOST: Final = 10
"""Measured on 6.1: filling ext4 touches seven pieces of 512 KiB of a thin pool for the first time that hold no data of
the file (journal, bitmaps, inodes), and ten on the file system below, where the last one does not fit as a whole."""

UNIONS: Final = frozenset({LayerKind.OVERLAY, LayerKind.AUFS})

TRIMMED: Final = UNIONS | {
    LayerKind.FILESYSTEM,
    LayerKind.TMPFS,
    LayerKind.DM_THIN_POOL,
    LayerKind.ZRAM,
    LayerKind.RAM,
}
"""What takes back what fstrim(8) gives up above it: not a snapshot, nor a ramfs (loop.c: no fallocate), nor brd."""

_HAPPENED: Final = {
    LayerState.INVALID: Failure.DEAD_ROOT,
    LayerState.FAILED: Failure.DEAD_ROOT,
    LayerState.READ_ONLY: Failure.READ_ONLY,
}
"""What has already happened is the truth, whatever the layer was set up to do: a `PO` can be Invalid too."""


@dataclass(frozen=True, slots=True)
class Step:
    """A layer as one mount point meets it.

    `via` is the reference by which it was reached; `below_block` and `below_snapshot` say what lies
    between it and the file system; `holes_bytes` is the most that links above can still take from it;
    `data_share` is how much of what layers above write into it is data; `lost_bytes` goes into pieces of
    which only a part is used. `above` are all layers, of this mount or not, whose writes end up in it;
    `promised_to` those that have been promised some of it: what rests on it, or on a ramfs on it.
    """

    layer: Layer
    via: Ref
    below_block: bool = False
    below_snapshot: bool = False
    holes_bytes: int | None = None
    is_view: bool = False
    data_share: float = 1.0
    lost_bytes: int = 0
    above: tuple[LayerId, ...] = ()
    promised_to: tuple[LayerId, ...] = ()


@dataclass(frozen=True, slots=True)
class Slack:
    """What a step leaves to its mount: bytes, None if unknown, and whether it can limit at all.

    `room` is the same as the layer says it, without what is kept back of it for journals, pending data and the like:
    more than that cannot go in.
    """

    step: Step
    reading: Reading | None
    bytes_left: int | None
    limits: bool
    room: int | None = None


class Topology:
    """The references of one set of layers and links; chains are found once and kept."""

    def __init__(self, layers: Sequence[Layer], links: Sequence[Link]) -> None:
        self._providers: dict[Ref, Layer | Link] = {link.provides: link for link in links}
        self._providers.update({ref: layer for layer in layers for ref in layer.provides})
        self._chains: dict[Ref, tuple[Step, ...]] = {}
        self._layers = layers
        self._above: dict[LayerId, list[Layer]] | None = None

    def chain(self, ref: Ref) -> tuple[Step, ...]:
        """The steps from `ref` to RAM, top first, each layer once. Empty if nothing provides it."""
        if ref not in self._chains:
            self._chains[ref] = tuple(self._without_repeats(self._descend(ref, Step(_NOWHERE, ref), frozenset())))
        return self._chains[ref]

    def backing(self, layer: Layer) -> tuple[LayerId, ...]:
        """The ids of the next layers below, through any links."""
        found = (self._next_layers(ref, frozenset()) for ref in layer.rests_on)
        return tuple(dict.fromkeys(layer_id for ids in found for layer_id in ids))

    def _next_above(self, layer: Layer) -> Sequence[Layer]:
        """The layers that rest on one, through any links."""
        if self._above is None:
            self._above = {}
            for one in self._layers:
                for below in self.backing(one):
                    self._above.setdefault(below, []).append(one)
        return self._above.get(layer.id, ())

    def _all_above(self, layer: Layer) -> tuple[LayerId, ...]:
        found: dict[LayerId, None] = {}
        waiting = [layer]
        while waiting:
            more = [one for one in self._next_above(waiting.pop()) if one.id not in found]
            found.update(dict.fromkeys(one.id for one in more))
            waiting += more
        return tuple(found)

    def _promised_to(self, layer: Layer) -> tuple[LayerId, ...]:
        above = self._next_above(layer)
        through = [one for ramfs in above if ramfs.kind is LayerKind.RAMFS for one in self._next_above(ramfs)]
        return tuple(dict.fromkeys(one.id for one in (*above, *through)))

    def _next_layers(self, ref: Ref, seen: frozenset[Ref]) -> Iterator[LayerId]:
        provider = self._providers.get(ref)
        if isinstance(provider, Layer):
            yield provider.id
        elif provider is not None and ref not in seen:
            for below in provider.rests_on:
                yield from self._next_layers(below, seen | {ref})

    def _descend(self, ref: Ref, above: Step, seen: frozenset[Ref]) -> Iterator[Step]:
        provider = self._providers.get(ref)
        if provider is None or ref in seen:
            return
        here = self._step(provider, ref, above)
        if isinstance(provider, Layer):
            yield here
        for below in provider.rests_on:
            yield from self._descend(below, here, seen | {ref})

    def _step(self, provider: Layer | Link, ref: Ref, above: Step) -> Step:
        below_block = above.below_block or ref.startswith("block:")
        below_snapshot = above.below_snapshot or above.layer.kind is LayerKind.DM_SNAPSHOT
        if isinstance(provider, Link):
            holes = _least(above.holes_bytes, provider.holes_bytes)
            return replace(above, via=ref, below_block=below_block, below_snapshot=below_snapshot, holes_bytes=holes)
        view = provider.kind in UNIONS and any(below != RAM_LAYER for below in self.backing(provider))
        share = above.data_share * above.layer.data_share
        lost = above.lost_bytes + PIECES_LOST * provider.grain_bytes
        step = Step(provider, ref, below_block, below_snapshot, above.holes_bytes, view, share, lost)
        return replace(step, above=self._all_above(provider), promised_to=self._promised_to(provider))

    @staticmethod
    def _without_repeats(steps: Iterable[Step]) -> Iterable[Step]:
        """Each layer once, where it is met first. What is reached on two ways is taken from on both."""
        once: dict[LayerId, Step] = {}
        for step in steps:
            met = once.setdefault(step.layer.id, step)
            if met is not step:
                once[step.layer.id] = replace(met, holes_bytes=_sum(met.holes_bytes, step.holes_bytes))
        return once.values()


_NOWHERE: Final = Layer(LayerId("filesystem:"), LayerKind.FILESYSTEM, (), (), Failure.NONE, reclaimable=False)


def judge(
    mount: Mount, chain: Sequence[Step], readings: Mapping[LayerId, Reading], system: str | None = None
) -> Verdict:
    """Headroom, limit and failure of one mount point of a live `system`. Pure arithmetic on one look."""
    own = frozenset(step.layer.id for step in chain)
    slacks = [_slack(step, readings, own) for step in chain]
    candidates = [slack for slack in slacks if slack.limits]
    known = [slack for slack in candidates if slack.bytes_left is not None]
    # min() keeps the first of equals: reversed, a tie names the deeper layer, whose bytes they are.
    tightest = min(reversed(known), key=_bytes_left, default=None)
    left = tightest.bytes_left if tightest else None
    certain = left == 0 or (bool(known) and len(known) == len(candidates))
    limit = tightest if certain else None
    end = _end(mount, limit, slacks)
    return Verdict(
        mount=mount,
        chain=tuple(step.layer.id for step in chain),
        headroom_bytes=left if certain else None,
        headroom_at_most_bytes=left if certain else _at_most(slacks),
        limit=end.limit,
        failure=end.failure,
        states=frozenset(slack.reading.state for slack in slacks if slack.reading),
        used_ratio=limit.reading.used_ratio if limit and limit.reading else None,
        inodes_ratio=_inodes_ratio(slacks),
        reclaimable=end.reclaimable,
        live_system=system,
        remedy=remedy(end, system),
        oversubscription=_oversubscription(slacks, readings),
    )


def _at_most(slacks: Sequence[Slack]) -> int | None:
    """The least of all that is known. A union shows the room of its upper, even where the upper cannot be read."""
    known = [slack.room for slack in slacks if slack.room is not None and (slack.limits or slack.step.is_view)]
    return min(known, default=None)


def _end(mount: Mount, limit: Slack | None, slacks: Sequence[Slack]) -> End:
    if limit is None:
        return End(mount.mount_point, None, None, reclaimable=False)
    step, reading = limit.step, limit.reading
    state = reading.state if reading else None
    whole = step.layer.reclaimable and state not in BROKEN
    ram = next((slack for slack in slacks if slack.step.layer.kind is LayerKind.RAM), None)
    return End(
        mount_point=mount.mount_point,
        limit=step.layer.id,
        failure=_HAPPENED.get(state, _failure(step, reading)) if state else _failure(step, reading),
        reclaimable=whole and not step.below_block,
        trims=whole and step.below_block and _is_trimmed(slacks, limit),
        size_bytes=reading.size_bytes if reading else None,
        inodes=reading.inodes if reading and reading.inodes_free == 0 and not step.below_block else None,
        ram_left_bytes=ram.bytes_left if ram else None,
        left_bytes=limit.bytes_left or 0,
        swappable=ram is not None and ram.step.via == SWAPPABLE_RAM,
        in_union=slacks[0].step.layer.kind in UNIONS,
    )


def _is_trimmed(slacks: Sequence[Slack], limit: Slack) -> bool:
    """Whether fstrim gives room back to the limit: RAM has it back if all that lies between takes it back."""
    layers = [slack.step.layer for slack in slacks[: slacks.index(limit) + 1]]
    return all(layer.kind in TRIMMED and layer.reclaimable for layer in layers)


def _pending(above: Iterable[LayerId], readings: Mapping[LayerId, Reading]) -> int:
    """Dirty data of all that is above; where one can only tell that of the whole machine, that is the most."""
    dirty = [one for one in map(readings.get, above) if one is not None and one.pending_bytes]
    of_all = [one.pending_bytes or 0 for one in dirty if one.pending_of_all]
    return max(of_all) if of_all else sum(one.pending_bytes or 0 for one in dirty)


def _slack(step: Step, readings: Mapping[LayerId, Reading], own: frozenset[LayerId]) -> Slack:
    """What a step of a chain leaves; `own` are all layers of that chain."""
    reading = readings.get(step.layer.id)
    if reading is None or reading.state in UNSURE:
        return Slack(step, reading, None, limits=not step.is_view)
    if reading.state in BROKEN:
        return Slack(step, reading, 0, limits=True, room=0)
    room = _room(step, reading)
    pending = _pending(step.above, readings) if step.below_block else 0
    left = None if room is None else max(0, room - pending - step.lost_bytes)
    boundless = step.is_view or reading.cannot_overflow or _holds_all_holes(step, room, readings, own)
    data = None if left is None else int(left * step.data_share)
    return Slack(step, reading, data, limits=not boundless, room=room)


def _room(step: Step, reading: Reading) -> int | None:
    if reading.headroom_bytes is None:
        return None
    if reading.inodes and reading.inodes_free == 0 and not step.below_block:
        return 0  # creat() gets ENOSPC, however many blocks are free; a loop below needs no new inode
    return reading.headroom_bytes + (reading.swap_bytes if step.via == SWAPPABLE_RAM else 0)


def _holds_all_holes(
    step: Step, room: int | None, readings: Mapping[LayerId, Reading], own: frozenset[LayerId]
) -> bool:
    """Whether all holes of the files above can be filled. Dirty data of the chain itself goes into them."""
    if room is None or step.holes_bytes is None:
        return False
    others = _pending((one for one in step.above if one not in own), readings)
    return room - others - step.lost_bytes >= step.holes_bytes


def _failure(step: Step, reading: Reading | None) -> Failure:
    if step.layer.kind is LayerKind.RAM:
        return Failure.OOM
    if step.below_snapshot:
        return Failure.DEAD_ROOT
    # A dm-snapshot or pool is itself a block device: its own failure is the truth. Anything deeper is an I/O error.
    if step.below_block and not step.via.startswith("block:"):
        return Failure.IO_ERROR
    return reading.failure if reading and reading.failure else step.layer.failure


def _inodes_ratio(slacks: Sequence[Slack]) -> float | None:
    ratios = [slack.reading.inodes_ratio for slack in slacks[:1] if slack.reading]
    return ratios[0] if ratios else None


def _oversubscription(slacks: Sequence[Slack], readings: Mapping[LayerId, Reading]) -> dict[LayerId, float]:
    """Each layer's free room over the least that is left below it; of RAM, all that is promised on it over its own."""
    ratios: dict[LayerId, float] = {}
    least: int | None = None
    for slack in reversed(slacks):
        own = slack.reading.headroom_bytes if slack.reading else None
        promised = _promised(slack.step, readings) if slack.step.layer.kind is LayerKind.RAM else own
        below = slack.room if slack.step.layer.kind is LayerKind.RAM else least
        if promised is not None and below and not slack.step.is_view:
            ratios[slack.step.layer.id] = promised / below
        least = _least(least, slack.bytes_left)
    return ratios


def _promised(step: Step, readings: Mapping[LayerId, Reading]) -> int:
    """What the layers on this one can still ask of it; one without a size of its own asks for nothing."""
    rooms = [readings[one].headroom_bytes for one in step.promised_to if one in readings]
    return sum(room for room in rooms if room is not None)


def _bytes_left(slack: Slack) -> int:
    return slack.bytes_left or 0


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _least(one: int | None, other: int | None) -> int | None:
    known = [value for value in (one, other) if value is not None]
    return min(known) if known else None
