# SPDX-License-Identifier: Apache-2.0
"""AUFS: a view of its first branch's file system, or of all of them.

Must not know what the branches are. aufs_statfs answers with the figures of the first branch, which is the writable one
in every live system; with the option `sum`, with those of all branches together. With several writable branches no
single statvfs can tell: the first of them to be full ends it, so all must be seen, or nothing is claimed. A branch's
path is a hint only: live-boot of Debian 8 left an empty tmpfs of the same size over the real one.
"""

import errno
from dataclasses import dataclass, replace
from typing import Final

from overlaywatch.kernel.aufs import Branch, parse_options, parse_si
from overlaywatch.kernel.mountinfo import MountInfo
from overlaywatch.kernel.statfs import StatVfs
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import Failure, Layer, LayerId, LayerKind, LayerState, Reading, Ref, super_block_ref
from overlaywatch.ports import Found
from overlaywatch.sources.shared import (
    Device,
    Memo,
    best_known,
    by_super_block,
    paths,
    peek_by_statvfs,
    reachable,
    unreadable,
)
from overlaywatch.sources.uppers import Shown, Union, Upper, Uppers, union_reading

ROOT: Final = "/"
SUM: Final = "sum"
POLICY: Final = "create="
"""Shown if it is not the default (tdp: a new file goes to the first writable branch that has its folder)."""

Branches = tuple[Branch, ...] | None
"""Top first; None: not known."""


@dataclass(frozen=True, slots=True)
class Aufs:
    """One union as the mount table has it."""

    union: Union
    mount_points: tuple[str, ...]
    branches: Branches
    summed: bool
    policy: str

    @property
    def writable(self) -> tuple[Branch, ...]:
        """The branches that take data; empty if none does, or if they are not known."""
        return tuple(branch for branch in self.branches or () if branch.writable)

    @property
    def is_read_only(self) -> bool:
        """Whether no branch takes data. The mount goes on saying `rw` then."""
        return self.branches is not None and not self.writable

    @property
    def is_plain(self) -> bool:
        """Whether the first branch takes all new data, as far as can be known."""
        if self.branches is None:
            return not self.policy
        return len(self.writable) == 1 and self.branches[0].writable


class AufsSource:
    """`aufs:/`, one per union that is not mounted read-only."""

    name = "aufs"
    kinds = frozenset({LayerKind.AUFS})

    def __init__(self) -> None:
        self._table: object = None
        self._unions: list[Aufs] = []
        self._of_root: tuple[Device, Branches] | None = None
        self._uppers = Uppers()
        self._memo = Memo()

    def survey(self, view: KernelView, now: float) -> Found:
        """Figures by statvfs of the union itself, which is right however its branches were moved or covered."""
        if view.mounts is not self._table:
            self._table = view.mounts
            groups = by_super_block(view, frozenset({"aufs"}))
            self._ask_root_once(view, groups)
            self._unions = [self._aufs(device, mounts) for device, mounts in groups.items()]
        layers, readings, shown = [], [], []
        for aufs in self._unions:
            stat, reading = self._look(view, aufs)
            below = self._below(view, aufs, stat, now)
            layers.append(_layer(aufs, below))
            readings.append(_read_only(reading, below))
            shown += [Shown(upper, stat, exact=not aufs.summed) for upper in below if stat]
        hidden = self._uppers.hidden(view, shown)
        return Found([*layers, *hidden.layers], [*readings, *hidden.readings], stacked=hidden.stacked)

    def peek(self, view: KernelView, layer: Layer, before: Reading) -> Reading | None:
        """statvfs alone, where that is the whole truth."""
        return peek_by_statvfs(view, layer, before)

    def _ask_root_once(self, view: KernelView, groups: dict[Device, list[MountInfo]]) -> None:
        """The branches of the union on `/`, from sysfs. Once, and never of another: that may end the kernel."""
        if self._of_root is not None:
            return
        self._of_root = ((-1, -1), None)
        for device, mounts in groups.items():
            si = parse_si(mounts[0].super_options)
            if any(info.mount_point == ROOT for info in mounts) and si is not None:
                self._of_root = (device, view.aufs_branches(si))

    def _aufs(self, device: Device, mounts: list[MountInfo]) -> Aufs:
        options = mounts[0].super_options
        of_root = self._of_root[1] if self._of_root and self._of_root[0] == device else None
        branches = parse_options(options) or of_root
        path = best_known(mounts)
        hint = branches[0].path if branches and branches[0].writable else ""
        policy = next((one.removeprefix(POLICY) for one in options if one.startswith(POLICY)), "")
        others = (other for other in paths(mounts) if other != path)
        return Aufs(Union(device, path, hint), (path, *others), branches, SUM in options, policy)

    def _look(self, view: KernelView, aufs: Aufs) -> tuple[StatVfs | None, Reading]:
        layer = _id(aufs)
        try:
            stat = view.statvfs(aufs.union.path)
        except OSError as error:
            if error.errno == errno.ESTALE:
                reason = "the folder of a branch was removed: every path on the union is stale"
                return None, Reading(layer, LayerState.FAILED, reason=reason)
            return None, unreadable(layer, f"statvfs: {error.strerror}")
        return stat, self._memo.reading(layer, (stat, aufs), lambda: _reading(layer, aufs, stat))

    def _below(self, view: KernelView, aufs: Aufs, stat: StatVfs | None, now: float) -> tuple[Upper, ...]:
        unknown = Upper(Ref(f"unknown:{aufs.union.path}"))
        if stat is None or aufs.is_read_only:
            return ()
        if aufs.branches is not None and not aufs.is_plain:
            return tuple(_by_path(view, aufs, branch) or unknown for branch in aufs.writable)
        if not aufs.is_plain or (aufs.branches is None and shows_an_image(stat)):
            return (unknown,)
        found = self._uppers.of(view, aufs.union, stat, now)
        return (unknown,) if aufs.summed and not found.is_known else (found,)


def shows_an_image(stat: StatVfs) -> bool:
    """Whether the figures may be those of a read-only image on top (squashfs), which is full to the last inode."""
    return stat.blocks > 0 and stat.blocks_free == 0 and stat.files_free == 0


def _by_path(view: KernelView, aufs: Aufs, branch: Branch) -> Upper | None:
    """The file system at a branch's path, if no other mount is covered there, and it is not the union itself."""
    try:
        device = view.stat_device(branch.path)
    except OSError:
        return None
    seen = [info for info in reachable(view.mounts) if info.device == device and info.device != aufs.union.device]
    places = [info.mount_point for info in view.mounts]
    if not any(places.count(info.mount_point) == 1 for info in seen):
        return None
    return Upper(super_block_ref(*device), read_only=all("ro" in info.super_options for info in seen))


def _reading(layer: LayerId, aufs: Aufs, stat: StatVfs) -> Reading:
    if aufs.is_read_only:
        return Reading(layer, LayerState.READ_ONLY, reason="all its branches are read-only")
    reading = union_reading(layer, stat)
    if shows_an_image(stat) and not (aufs.branches and aufs.branches[0].writable):
        return replace(reading, size_bytes=None, used_bytes=None, headroom_bytes=None, inodes=None, inodes_free=None)
    if aufs.summed:  # the images are in the size, and always full
        return replace(reading, size_bytes=None, used_bytes=None, inodes=None)
    return reading


def _read_only(reading: Reading, below: tuple[Upper, ...]) -> Reading:
    if not below or not all(upper.read_only for upper in below):
        return reading
    return replace(reading, state=LayerState.READ_ONLY, reason="the file system of its writable branch is read-only")


def _id(aufs: Aufs) -> LayerId:
    return LayerId(f"aufs:{aufs.union.path}")


def _layer(aufs: Aufs, below: tuple[Upper, ...]) -> Layer:
    branches = {"branches": tuple(f"{one.path}={one.permission}" for one in aufs.branches)} if aufs.branches else {}
    return Layer(
        id=_id(aufs),
        kind=LayerKind.AUFS,
        provides=(super_block_ref(*aufs.union.device),),
        rests_on=tuple(dict.fromkeys(upper.rests_on for upper in below)),
        failure=Failure.ENOSPC,
        reclaimable=True,
        device=f"{aufs.union.device[0]}:{aufs.union.device[1]}",
        mount_points=aufs.mount_points,
        details=branches,
    )
