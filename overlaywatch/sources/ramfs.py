# SPDX-License-Identifier: Apache-2.0
"""ramfs: no limit of its own and no swap; the limit is what RAM is available.

Must not know who uses it. The initramfs itself is a ramfs whenever the kernel was told a root= (or
rootfstype= without tmpfs): init/do_mounts.c, init_rootfs. It is hidden after switch_root, but the
COW file of a dracut live system lives in it.
"""

from collections.abc import Iterator
from typing import Final

from overlaywatch.kernel import cmdline
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import RAM, Failure, Layer, LayerId, LayerKind, LayerState, Reading, super_block_ref
from overlaywatch.ports import Found
from overlaywatch.sources.shared import Device, best_known, by_super_block, found, hidden_super_blocks, paths

ROOTFS: Final[tuple[Device, ...]] = ((0, 2), (0, 1))
"""The anonymous device numbers that the initramfs may have: mnt_init() mounts it right after shmem's own (Linux 5.1 and
later, and before if it is a tmpfs), or first of all that are not 0:0."""


class RamfsSource:
    """`ramfs:rootfs` for the initramfs, `ramfs:/path` for the others."""

    name = "ramfs"

    def __init__(self) -> None:
        self._seen: tuple[object, object] = (None, None)
        self._found = Found()

    def survey(self, view: KernelView, now: float) -> Found:
        """Layers without figures: statvfs of a ramfs answers zeros, which mean "no limit"."""
        del now
        seen = (view.mounts, view.loops)
        if seen[0] is not self._seen[0] or seen[1] is not self._seen[1]:
            self._seen, self._found = seen, found(_look(view))
        return self._found


def _look(view: KernelView) -> Iterator[tuple[Layer, Reading]]:
    for device, mounts in by_super_block(view, frozenset({"ramfs", "rootfs"})).items():
        yield _unlimited(device, best_known(mounts), paths(mounts))
    hidden = hidden_super_blocks(view)
    rootfs = next((number for number in ROOTFS if number in hidden), None)
    if rootfs is not None and rootfs_is_ramfs(view, rootfs):
        yield _unlimited(rootfs, "rootfs", ())


def rootfs_is_ramfs(view: KernelView, rootfs: Device) -> bool:
    """Whether the initramfs is a ramfs (else it is a tmpfs, and ustat tells its room)."""
    ustat = view.ustat(*rootfs)
    if ustat is not None and (ustat.blocks_free or ustat.files_free):
        return False
    fstypes = cmdline.get(view.cmdline, "rootfstype")
    return "tmpfs" not in fstypes if fstypes is not None else cmdline.get(view.cmdline, "root") is not None


def _unlimited(device: Device, name: str, mount_points: tuple[str, ...]) -> tuple[Layer, Reading]:
    layer = Layer(
        id=LayerId(f"ramfs:{name}"),
        kind=LayerKind.RAMFS,
        provides=(super_block_ref(*device),),
        rests_on=(RAM,),
        failure=Failure.OOM,
        reclaimable=True,
        device=f"{device[0]}:{device[1]}",
        mount_points=mount_points,
    )
    return layer, Reading(layer=layer.id, state=LayerState.OK, cannot_overflow=True)
