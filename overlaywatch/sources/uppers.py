# SPDX-License-Identifier: Apache-2.0
"""Where the bytes of a union really are: which file system holds its upper directory, or writable branch.

Must not know overlayfs from AUFS. The path that was given at mount time is believed only if what is there has the same
figures as the union. If it leads nowhere, as in all live systems that leave their upper behind in the initramfs, the
one file system of the machine with the same free blocks and inodes is the upper. If there is none such, or more than
one, only what the figures themselves prove is said.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from overlaywatch.kernel.mountinfo import MountInfo
from overlaywatch.kernel.statfs import StatVfs
from overlaywatch.kernel.super_blocks import Place
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import (
    RAM,
    SWAPPABLE_RAM,
    Failure,
    Layer,
    LayerId,
    LayerKind,
    LayerState,
    Reading,
    Ref,
    block_ref,
    super_block_ref,
)
from overlaywatch.ports import Found
from overlaywatch.sources.shared import (
    FSTYPES,
    NOTHING_PENDING,
    READ_ONLY_OPTION,
    Device,
    Memo,
    Pending,
    by_super_block,
    lies_on_others,
    pending_below,
    reachable,
    statvfs_reading,
)

RETRY_SECONDS: Final = 10.0
"""How often an upper that was not found is looked for again: two that are both still empty look the same."""

PAGES: Final = frozenset({4096, 16384, 65536})
"""The sizes of a page, which are the blocks of tmpfs, on the machines that Linux runs on."""


@dataclass(frozen=True, slots=True)
class Union:
    """One union: its device number, a path to it, and where its upper was said to be; empty: not said."""

    device: Device
    path: str
    upper: str = ""


@dataclass(frozen=True, slots=True)
class Upper:
    """What a union rests on. `hidden` is the upper's file system where no mount leads to it: no other source has it.

    `read_only` says that this file system takes no data any more, while the union goes on being mounted `rw`.
    """

    rests_on: Ref
    hidden: Layer | None = None
    read_only: bool = False

    @property
    def is_known(self) -> bool:
        """Whether it is a certain file system, and not only what the figures prove."""
        return self.rests_on.startswith("sb:")


@dataclass(frozen=True, slots=True)
class Shown:
    """An upper, and what statvfs of the union on top of it says; not `exact` if sizes of other branches are in it."""

    upper: Upper
    stat: StatVfs
    exact: bool = True


@dataclass(frozen=True, slots=True)
class _Known:
    """What was found about a union, in which mount table. `candidates` are those that looked alike."""

    union: Union
    table: object
    number: Device | None
    by_path: bool
    candidates: tuple[Device, ...]
    again_at: float
    upper: Upper


class Uppers:
    """Finds the upper of each union once, and again when the mount table has changed or the figures part."""

    def __init__(self) -> None:
        self._known: dict[Device, _Known] = {}
        self._memo = Memo()

    def of(self, view: KernelView, union: Union, stat: StatVfs, now: float) -> Upper:
        """What the union rests on; `stat` is its statvfs of this look."""
        known = self._known.get(union.device)
        if known is None or known.union != union or not _is_settled(view, known, stat, now):
            known = _search(view, union, stat, known, now)
        elif known.table is not view.mounts:
            # The same upper may be visible now, or hidden.
            known = replace(known, table=view.mounts, upper=_upper(view, union, stat, known.number))
        self._known[union.device] = known
        return known.upper

    def hidden(self, view: KernelView, uppers: Iterable[Shown]) -> Found:
        """The hidden layers, each once, with the figures of a union on top of it."""
        layers = {one.upper.hidden.id: (one.upper.hidden, one) for one in uppers if one.upper.hidden is not None}
        stacked = [ref for layer, _ in layers.values() for ref in layer.rests_on if _is_stacked(view, ref)]
        readings = [self._reading(view, layer, shown) for layer, shown in layers.values()]
        return Found(layers=[layer for layer, _ in layers.values()], readings=readings, stacked=stacked)

    def _reading(self, view: KernelView, layer: Layer, shown: Shown) -> Reading:
        pending = NOTHING_PENDING
        if layer.kind is LayerKind.FILESYSTEM and any(_is_stacked(view, ref) for ref in layer.rests_on):
            pending = pending_below(view, _device(layer.device))
        return self._memo.reading(layer.id, (shown, pending), lambda: _hidden_reading(layer.id, shown, pending))


def _hidden_reading(layer: LayerId, shown: Shown, pending: Pending) -> Reading:
    reading = statvfs_reading(layer, shown.stat, pending)
    return reading if shown.exact else replace(reading, size_bytes=None, used_bytes=None, inodes=None)


def _is_settled(view: KernelView, known: _Known, stat: StatVfs, now: float) -> bool:
    """Whether there is nothing new to find: what was found still looks the same, or it is not yet time to try again."""
    if known.number is None:
        return now < known.again_at
    if known.by_path:
        return known.table is view.mounts
    ustat = view.ustat(*known.number)
    return (ustat is not None and ustat.room == stat.room) or bool(view.alike(known.union.path, [known.number]))


def _search(view: KernelView, union: Union, stat: StatVfs, before: _Known | None, now: float) -> _Known:
    number = _by_path(view, union, stat)
    candidates: tuple[Device, ...] = ()
    by_path = number is not None
    if number is None:
        candidates = _candidates(view, union, before)
        by_path = len(candidates) != 1
        number = _by_the_table(view, union) if by_path else candidates[0]
    upper = _upper(view, union, stat, number)
    return _Known(union, view.mounts, number, by_path, candidates, now + RETRY_SECONDS, upper)


def _candidates(view: KernelView, union: Union, before: _Known | None) -> tuple[Device, ...]:
    """All that look like the union; of those that did last time in the same table, if that was more than one."""
    again = before is not None and before.union == union and before.table is view.mounts and len(before.candidates) > 1
    among: tuple[Place, ...] = before.candidates if before is not None and again else view.super_blocks
    return tuple(one for one in view.alike(union.path, among) if isinstance(one, tuple))


def _by_path(view: KernelView, union: Union, stat: StatVfs) -> Device | None:
    """The file system that the upper's path leads to, if that is visible and agrees with the union in every figure."""
    if not union.upper.startswith("/"):
        return None
    try:
        device, below = view.stat_device(union.upper), view.statvfs(union.upper)
    except OSError:
        return None
    agrees = (stat.blocks, stat.files) == (below.blocks, below.files)
    visible = any(info.device == device for info in view.mounts)
    return device if agrees and visible and view.alike(union.path, [union.upper]) else None


def _by_the_table(view: KernelView, union: Union) -> Device | None:
    """Without the privilege to look into its folder: the file system that the mount table has on the upper's path.

    It cannot be compared with the union, but to take RAM for what lies below would promise more than there is.
    """
    try:
        view.stat_device(union.upper)
    except PermissionError:
        deepest = max(_above(view, union.upper), key=lambda info: len(info.mount_point), default=None)
        return None if deepest is None or deepest.device == union.device else deepest.device
    except OSError:
        return None
    return None


def _above(view: KernelView, path: str) -> Iterator[MountInfo]:
    for info in reachable(view.mounts):
        if f"{path}/".startswith(f"{info.mount_point.rstrip('/')}/"):
            yield info


def _upper(view: KernelView, union: Union, stat: StatVfs, number: Device | None) -> Upper:
    if number is None:
        return Upper(_by_figures(union, stat))
    own = super_block_ref(*number)
    if number in by_super_block(view, FSTYPES | {"tmpfs"}):
        return Upper(own)
    if any(info.device == number and READ_ONLY_OPTION in info.super_options for info in view.mounts):
        return Upper(own, read_only=True)
    return Upper(own, _hidden(view, number, stat))


def _hidden(view: KernelView, number: Device, stat: StatVfs) -> Layer | None:
    """A layer for a file system that no mount leads to; None for a number that says nothing of what it lies on."""
    name = f"{number[0]}:{number[1]}"
    if number[0]:
        return _layer(LayerKind.FILESYSTEM, view.device_name(*number) or name, name, number, block_ref(*number))
    return _layer(LayerKind.TMPFS, name, name, number, SWAPPABLE_RAM) if is_like_tmpfs(stat) else None


def union_reading(layer: LayerId, stat: StatVfs) -> Reading:
    """What statvfs of a union says; zeros are those of an upper without a limit of its own, and never "full"."""
    if stat.blocks:
        return statvfs_reading(layer, stat)
    return Reading(layer=layer, state=LayerState.OK, cannot_overflow=True, details={"size": "unlimited"})


def _by_figures(union: Union, stat: StatVfs) -> Ref:
    if not stat.blocks:
        return RAM  # a ramfs, or a tmpfs without a limit: no claim is made on swap
    return SWAPPABLE_RAM if is_like_tmpfs(stat) else Ref(f"unknown:{union.upper or union.path}")


def is_like_tmpfs(stat: StatVfs) -> bool:
    """Whether a tmpfs can have given these figures (shmem_statfs in mm/shmem.c): pages, none reserved, and inodes."""
    return stat.block_size in PAGES and stat.blocks_available == stat.blocks_free and stat.files > 0


def _layer(kind: LayerKind, name: str, device: str, number: Device, below: Ref) -> Layer:
    return Layer(
        id=LayerId(f"{kind.value}:{name}"),
        kind=kind,
        provides=(super_block_ref(*number),),
        rests_on=(below,),
        failure=Failure.ENOSPC,
        reclaimable=True,
        device=device,
        details={"hidden": True},
    )


def _is_stacked(view: KernelView, ref: Ref) -> bool:
    return ref.startswith("block:") and lies_on_others(view, _device(ref.removeprefix("block:")))


def _device(text: str) -> Device:
    major, _, minor = text.partition(":")
    return int(major), int(minor)
