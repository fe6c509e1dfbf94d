# SPDX-License-Identifier: Apache-2.0
"""Which live system this is, and what helps on it when the room ends.

This file must not know how mounts or layers were read. A system is recognised by what it leaves
behind in the mount table and in device-mapper, first match wins; the words of the kernel command
line are never asked, because they outlive what they set up. The name of a device is no proof: `/`
must rest on it, and it must be of the right target. An empty remedy is never given: where nothing
helps before the next boot, that is what it says.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from overlaywatch.model import Failure, LayerId, LayerKind, Mount

CONTAINER_DIRS: Final = ("/docker/", "/containers/", "/containerd/", "/kubelet/", "/lxc/")


@dataclass(frozen=True, slots=True)
class Seen:
    """What recognition looks at: the mount on `/`, and all mount points."""

    root: Mount
    mount_points: frozenset[str]

    def on(self, target: str, name: str) -> bool:
        """Whether `/` rests on a device-mapper device of that target whose name matches, as in a shell."""
        carrier = self.root.carrier
        return carrier is not None and carrier.type == target and fnmatchcase(carrier.name, name)

    def union(self, *sources: str) -> bool:
        """Whether `/` is an overlay or AUFS; with `sources`: and mounted from one of them."""
        return self.root.fstype in {"overlay", "overlayfs", "aufs"} and (not sources or self.root.source in sources)

    def upper(self, prefix: str) -> bool:
        """Whether the upper directory of `/` was given as a path below `prefix`."""
        return self.root.upperdir.startswith(prefix)

    def mounted_below(self, *prefixes: str) -> bool:
        """Whether something is mounted on or below one of the folders."""
        return any(f"{point}/".startswith(f"{prefix}/") for point in self.mount_points for prefix in prefixes)


SYSTEMS: Final[tuple[tuple[str, Callable[[Seen], bool]], ...]] = (
    ("dracut-dmsquash-live", lambda seen: seen.on("snapshot", "live-rw")),
    ("dracut-dmsquash-live-thin", lambda seen: seen.on("thin", "live-rw")),
    ("kiwi-live", lambda seen: seen.union("LiveOS_rootfs") and seen.upper("/run/overlay/")),
    ("kiwi-overlay", lambda seen: seen.union("OverlayOS_rootfs")),
    ("dracut-dmsquash-live-overlayfs", lambda seen: seen.union("LiveOS_rootfs")),
    ("overlayroot", lambda seen: seen.union("overlayroot")),
    ("archiso", lambda seen: seen.union("airootfs") or seen.on("snapshot", "arch_*")),
    ("live-boot", lambda seen: seen.union() and seen.mounted_below("/run/live", "/lib/live/mount")),
    ("casper", lambda seen: seen.union() and {"/cdrom", "/rofs"} <= seen.mount_points),
    ("systemd-volatile", lambda seen: seen.union() and seen.upper("/run/systemd/overlay-sysroot/")),
)


def recognise(mounts: Sequence[Mount]) -> str | None:
    """The name of the live system, or None: an ordinary host, or a container."""
    root = next((mount for mount in reversed(mounts) if mount.mount_point == "/"), None)
    if root is None or is_container(root):
        return None
    seen = Seen(root, frozenset(mount.mount_point for mount in mounts))
    return next((name for name, matches in SYSTEMS if matches(seen)), None)


def is_container(root: Mount) -> bool:
    """Whether `/` is the overlay of a container engine: its upper lies in that engine's store."""
    return any(part in f"{root.upperdir}/" for part in CONTAINER_DIRS)


_NEXT_BOOT: Final = {
    "dracut-dmsquash-live": "boot with a larger rd.live.overlay.size= (MiB)",
    "dracut-dmsquash-live-thin": "boot with a larger rd.live.overlay.size= (MiB)",
    "live-boot": "boot with a larger overlay-size=",
    "archiso": "boot with a larger cow_spacesize=",
    "kiwi-live": "boot with a larger rd.live.overlay.size= (a tmpfs size, such as 2G)",
}


@dataclass(frozen=True, slots=True)
class End:
    """How the room of a mount point will end: what a remedy depends on."""

    mount_point: str
    limit: LayerId | None
    failure: Failure | None
    reclaimable: bool


def remedy(end: End, system: str | None) -> str:
    """One line for the operator of this machine: what gives room back, now or at the next boot.

    A larger overlay does not help where the file system in the image, or RAM, is what ends.
    """
    if end.limit is None:
        return "cannot say: part of the chain could not be read"
    kind, _, name = end.limit.partition(":")
    if kind == LayerKind.TMPFS and name.startswith("/"):
        return _for_visible_tmpfs(end, name)
    if kind == LayerKind.RAM:
        return "free memory or add swap: stop what uses RAM"
    if kind in {LayerKind.DM_SNAPSHOT, LayerKind.RAMFS} or end.failure is Failure.DEAD_ROOT:
        return "none until reboot: deleting files gives nothing back here" + _also_next_boot(system)
    if end.reclaimable:
        return f"delete files on {end.mount_point}" + ("" if kind == LayerKind.FILESYSTEM else _also_next_boot(system))
    return "none until reboot" + _also_next_boot(system)


def _for_visible_tmpfs(end: End, mount_point: str) -> str:
    grow = f"mount -o remount,size=SIZE {mount_point}"
    if end.reclaimable:
        return f"delete files on {end.mount_point}, or {grow} while RAM lasts"
    return f"{grow} while RAM lasts; deleting files gives nothing back here"


def _also_next_boot(system: str | None) -> str:
    hint = _NEXT_BOOT.get(system or "")
    return f"; {hint}" if hint else ""
