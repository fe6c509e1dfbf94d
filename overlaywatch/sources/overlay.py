# SPDX-License-Identifier: Apache-2.0
"""overlayfs: a view of its upper directory's file system, whose bytes it shows.

Must not know what the upper file system is. `upperdir=` is the string of mount time: it may be a
symbolic link, relative, moved, or gone. It is believed only if statvfs of that path agrees with
statvfs of the overlay; otherwise the overlay's own figures stand, over RAM, as in all live systems
that leave their upper behind in the initramfs.
"""

from collections.abc import Iterator
from typing import Final

from overlaywatch.kernel.mountinfo import MountInfo
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import SWAPPABLE_RAM, Failure, Layer, LayerId, LayerKind, Reading, Ref, super_block_ref
from overlaywatch.ports import Found
from overlaywatch.sources.mounts import upperdir
from overlaywatch.sources.shared import (
    Device,
    Memo,
    best_known,
    by_super_block,
    found,
    paths,
    peek_by_statvfs,
    reachable,
    statvfs_reading,
    unreadable,
)

FSTYPES: Final = frozenset({"overlay", "overlayfs"})


class OverlaySource:
    """`overlay:/`, one per writable overlay."""

    name = "overlay"
    kinds = frozenset({LayerKind.OVERLAY})

    def __init__(self) -> None:
        self._table: object = None
        self._layers: list[Layer] = []
        self._memo = Memo()

    def survey(self, view: KernelView, now: float) -> Found:
        """Figures by statvfs of the mount itself, which reaches the upper even where no path does."""
        del now
        if view.mounts is not self._table:
            self._table = view.mounts
            groups = by_super_block(view, FSTYPES)
            self._layers = [
                _layer(view, device, mounts) for device, mounts in groups.items() if upperdir(mounts[0].super_options)
            ]
        return found(self._look(view))

    def peek(self, view: KernelView, layer: Layer, before: Reading) -> Reading | None:
        """statvfs alone."""
        return peek_by_statvfs(view, layer, before)

    def _look(self, view: KernelView) -> Iterator[tuple[Layer, Reading]]:
        for layer in self._layers:
            yield layer, self._reading(view, layer.id, layer.mount_points[0])

    def _reading(self, view: KernelView, layer: LayerId, path: str) -> Reading:
        try:
            stat = view.statvfs(path)
        except OSError as error:
            return unreadable(layer, f"statvfs: {error.strerror}")
        return self._memo.reading(layer, stat, lambda: statvfs_reading(layer, stat))


def _layer(view: KernelView, device: Device, mounts: list[MountInfo]) -> Layer:
    path, upper = best_known(mounts), upperdir(mounts[0].super_options)
    backing = _upper_super_block(view, path, upper)
    return Layer(
        id=LayerId(f"overlay:{path}"),
        kind=LayerKind.OVERLAY,
        provides=(super_block_ref(*device),),
        rests_on=(backing or SWAPPABLE_RAM,),
        failure=Failure.ENOSPC,
        reclaimable=True,
        device=f"{device[0]}:{device[1]}",
        mount_points=(path, *(other for other in paths(mounts) if other != path)),
        details={"upperdir": upper, "upper_hidden": backing is None},
    )


def _upper_super_block(view: KernelView, mount_point: str, upper: str) -> Ref | None:
    """The super block of the upper directory if its path leads there and the figures agree, else None."""
    try:
        device = view.stat_device(upper)
        own, below = view.statvfs(mount_point), view.statvfs(upper)
    except PermissionError:
        return _by_the_table(view, mount_point, upper)
    except OSError:
        return None
    agree = (own.blocks, own.files) == (below.blocks, below.files)
    visible = any((info.major, info.minor) == device for info in view.mounts)
    return super_block_ref(*device) if agree and visible and upper.startswith("/") else None


def _by_the_table(view: KernelView, mount_point: str, upper: str) -> Ref | None:
    """Without the privilege to look into its folder: the file system that the mount table has on the upper's path.

    It cannot be compared with the overlay, but to take RAM for what lies below would promise more than there is.
    """
    above = [info for info in reachable(view.mounts) if f"{upper}/".startswith(f"{info.mount_point.rstrip('/')}/")]
    deepest = max(above, key=lambda info: len(info.mount_point), default=None)
    return None if deepest is None or deepest.mount_point == mount_point else super_block_ref(*deepest.device)
