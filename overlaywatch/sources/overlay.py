# SPDX-License-Identifier: Apache-2.0
"""overlayfs: a view of its upper directory's file system, whose bytes it shows.

Must not know what the upper file system is. statvfs of an overlay answers with the figures of the upper even where no
path leads there any more (ovl_statfs in fs/overlayfs/super.c); which file system that is, sources/uppers.py finds out.
`overlayfs` is the type's name before it came into the kernel, on Ubuntu until 14.10 and openSUSE.
"""

from dataclasses import replace
from typing import Final

from overlaywatch.kernel.mountinfo import MountInfo
from overlaywatch.kernel.statfs import StatVfs
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import SWAPPABLE_RAM, Failure, Layer, LayerId, LayerKind, LayerState, Reading, super_block_ref
from overlaywatch.ports import Found
from overlaywatch.sources.mounts import upperdir
from overlaywatch.sources.shared import (
    Device,
    Memo,
    best_known,
    by_super_block,
    paths,
    peek_by_statvfs,
    unreadable,
)
from overlaywatch.sources.uppers import Shown, Union, Upper, Uppers, union_reading

FSTYPES: Final = frozenset({"overlay", "overlayfs"})


class OverlaySource:
    """`overlay:/`, one per writable overlay, and the upper's file system where no other source can see it."""

    name = "overlay"
    kinds = frozenset({LayerKind.OVERLAY})

    def __init__(self) -> None:
        self._table: object = None
        self._unions: list[tuple[Union, tuple[str, ...]]] = []
        self._layers: dict[Device, tuple[Upper, Layer]] = {}
        self._uppers = Uppers()
        self._memo = Memo()

    def survey(self, view: KernelView, now: float) -> Found:
        """Figures by statvfs of the mount itself, which reaches the upper even where no path does."""
        if view.mounts is not self._table:
            self._table = view.mounts
            groups = by_super_block(view, FSTYPES)
            self._unions = [_union(*group) for group in groups.items() if upperdir(group[1][0].super_options)]
            self._layers.clear()
        layers, readings, shown = [], [], []
        for union, mount_points in self._unions:
            stat, reading = self._look(view, union)
            layer, upper = self._layer(view, union, mount_points, stat, now)
            layers.append(layer)
            readings.append(_read_only(reading) if upper.read_only else reading)
            shown += [Shown(upper, stat)] if stat else []
        below = self._uppers.hidden(view, shown)
        return Found([*layers, *below.layers], [*readings, *below.readings], stacked=below.stacked)

    def peek(self, view: KernelView, layer: Layer, before: Reading) -> Reading | None:
        """statvfs alone."""
        return peek_by_statvfs(view, layer, before)

    def _look(self, view: KernelView, union: Union) -> tuple[StatVfs | None, Reading]:
        layer = _id(union)
        try:
            stat = view.statvfs(union.path)
        except OSError as error:
            return None, unreadable(layer, f"statvfs: {error.strerror}")
        return stat, self._memo.reading(layer, stat, lambda: union_reading(layer, stat))

    def _layer(
        self, view: KernelView, union: Union, mount_points: tuple[str, ...], stat: StatVfs | None, now: float
    ) -> tuple[Layer, Upper]:
        kept = self._layers.get(union.device)
        upper = self._uppers.of(view, union, stat, now) if stat else kept[0] if kept else Upper(SWAPPABLE_RAM)
        if kept is None or kept[0] != upper:
            kept = (upper, _layer(union, mount_points, upper))
            self._layers[union.device] = kept
        return kept[1], upper


def _union(device: Device, mounts: list[MountInfo]) -> tuple[Union, tuple[str, ...]]:
    path = best_known(mounts)
    others = (other for other in paths(mounts) if other != path)
    return Union(device, path, upperdir(mounts[0].super_options)), (path, *others)


def _read_only(reading: Reading) -> Reading:
    return replace(reading, state=LayerState.READ_ONLY, reason="the file system of its upper directory is read-only")


def _id(union: Union) -> LayerId:
    return LayerId(f"overlay:{union.path}")


def _layer(union: Union, mount_points: tuple[str, ...], upper: Upper) -> Layer:
    return Layer(
        id=_id(union),
        kind=LayerKind.OVERLAY,
        provides=(super_block_ref(*union.device),),
        rests_on=(upper.rests_on,),
        failure=Failure.ENOSPC,
        reclaimable=True,
        device=f"{union.device[0]}:{union.device[1]}",
        mount_points=mount_points,
        details={
            "upperdir": union.upper,
            "upper_hidden": upper.hidden is not None or not upper.is_known,
        },
    )
