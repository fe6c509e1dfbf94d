# SPDX-License-Identifier: Apache-2.0
"""Which live system this is: one table that a person can read, in the order in which it is tried.

This file must not know how mounts were read, or what they hold. A system is recognised by what it leaves behind in the
mount table and by what `/` rests on; first match wins. Words of the kernel command line are never asked: they outlive
what they set up. The name of a device is no proof: `/` must rest on it, and it must be of the right target. Where each
row is from, and what the layers look like, is in docs/live-systems.md; a test compares the two.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from overlaywatch.model import Mount

CONTAINER_DIRS: Final = ("/docker/", "/containers/", "/containerd/", "/kubelet/", "/lxc/")
UNIONS: Final = frozenset({"overlay", "overlayfs", "aufs"})


@dataclass(frozen=True, slots=True)
class Seen:
    """What recognition looks at: the mount on `/`, and all mounts by their mount points."""

    root: Mount
    mounts: dict[str, Mount]

    def union(self, *sources: str, on: str = "/") -> bool:
        """Whether an overlay or AUFS is mounted there; with `sources`: and was mounted from one of them."""
        mount = self.mounts.get(on)
        return mount is not None and mount.fstype in UNIONS and (not sources or mount.source in sources)

    def upper(self, prefix: str, on: str = "/") -> bool:
        """Whether the upper directory was given as a path below `prefix`."""
        return on in self.mounts and self.mounts[on].upperdir.startswith(prefix)

    def on(self, target: str, name: str) -> bool:
        """Whether `/` rests on a device of that target whose name matches, as in a shell; `loop`: a file."""
        carrier = self.root.carrier
        return carrier is not None and carrier.type == target and fnmatchcase(carrier.name, name)

    def has(self, *points: str) -> bool:
        """Whether something is mounted on each of the folders."""
        return all(point in self.mounts for point in points)

    def below(self, *prefixes: str) -> bool:
        """Whether something is mounted on or below one of the folders."""
        return any(f"{point}/".startswith(f"{prefix}/") for point in self.mounts for prefix in prefixes)

    def is_a(self, fstype: str, on: str = "/") -> bool:
        """Whether a file system of that type is mounted there."""
        return on in self.mounts and self.mounts[on].fstype == fstype

    def keeps(self, point: str) -> bool:
        """Whether something read-only is mounted there."""
        return point in self.mounts and self.mounts[point].read_only


class Now(StrEnum):
    """What gives room on `/` before the next boot."""

    GROW = "remount larger, or delete files"
    DELETE = "delete files"
    TRIM = "delete files, then fstrim"
    MEMORY = "free memory"
    NONE = "none until reboot"


@dataclass(frozen=True, slots=True)
class LiveSystem:
    """One row: how it is recognised, what helps now, the kernel parameter of the next boot, and what never fills.

    `next_boot` is empty where no parameter has an influence; `sizes_tmpfs` says whether it is one that makes a tmpfs
    larger, or only the device-mapper store on it. Nothing on or below a `static` folder is watched unless it is asked
    for: images, media, and tmpfs that are made to measure for them.
    """

    name: str
    test: Callable[[Seen], bool]
    now: Now
    next_boot: str = ""
    static: tuple[str, ...] = ()
    sizes_tmpfs: bool = True


MIB_OVERLAY: Final = "rd.live.overlay.size=N (in MiB; dracut 041 or later)"
DRACUT: Final = ("/run/initramfs/live", "/run/initramfs/squashfs", "/run/rootfsbase")
LIVE_BOOT: Final = tuple(
    f"{folder}/{name}"
    for folder in ("/run/live", "/lib/live/mount", "/usr/lib/live/mount")
    for name in ("medium", "rootfs", "findiso", "fromiso")
)

SYSTEMS: Final = (
    # on device-mapper
    LiveSystem("dracut-dmsquash-live", lambda s: s.on("snapshot", "live-rw"), Now.NONE, MIB_OVERLAY, DRACUT, False),
    LiveSystem("dracut-dmsquash-live-thin", lambda s: s.on("thin", "live-rw"), Now.TRIM, MIB_OVERLAY, DRACUT, False),
    LiveSystem("dracut-dmsquash-live-writable", lambda s: s.on("linear", "live-rw"), Now.DELETE, "", DRACUT),
    LiveSystem(
        "archiso-snapshot",
        lambda s: s.on("snapshot", "arch_*"),
        Now.NONE,
        "cow_spacesize=SIZE (until 2014: cowspace_size= and cowfile_size=)",
        ("/run/archiso/copytoram", "/run/archiso/bootmnt"),
    ),
    LiveSystem(
        "kiwi-legacy-clicfs", lambda s: s.on("loop", "*/fsdata.ext4*"), Now.DELETE, "", ("/read-only", "/livecd")
    ),
    # unions with a name of their own
    LiveSystem(
        "kiwi-live",
        lambda s: s.union("LiveOS_rootfs") and s.upper("/run/overlay/"),
        Now.GROW,
        "rd.live.overlay.size=SIZE (of tmpfs: 2G or 60%; a plain number is bytes)",
        ("/run/initramfs/live", "/run/overlay/live", "/run/overlay/rootfsbase", "/run/overlay/squashfs_container"),
    ),
    LiveSystem(
        "kiwi-overlay",
        lambda s: s.union("OverlayOS_rootfs"),
        Now.GROW,
        "rd.root.overlay.size=SIZE (of tmpfs: 2G or 60%)",
        ("/run/overlay/rootfsbase",),
    ),
    LiveSystem(
        "dracut-dmsquash-live-overlayfs",
        lambda s: s.union("LiveOS_rootfs"),
        Now.GROW,
        "rd.overlay=tmpfs:size=SIZE (dracut 111 or later; rd.live.overlay.size= is not read in this mode)",
        DRACUT,
    ),
    LiveSystem(
        "archiso",
        lambda s: s.union("airootfs"),
        Now.GROW,
        "cow_spacesize=SIZE (such as 1G)",
        ("/run/archiso/copytoram", "/run/archiso/bootmnt", "/run/archiso/airootfs"),
    ),
    LiveSystem("overlayroot", lambda s: s.union("overlayroot"), Now.GROW, "", ("/media/root-ro",)),
    LiveSystem("ltsp", lambda s: s.union("/run/initramfs/ltsp"), Now.GROW, "", ("/run/initramfs/ltsp/0/looproot",)),
    LiveSystem("xcat", lambda s: s.union("mergedroot"), Now.DELETE),
    LiveSystem("openwrt", lambda s: s.union("overlayfs:/overlay"), Now.DELETE, "", ("/rom",)),
    LiveSystem("openwrt-ram", lambda s: s.union("overlayfs:/tmp/root"), Now.GROW, "", ("/rom",)),
    LiveSystem("systemd-volatile-overlay", lambda s: s.upper("/run/systemd/overlay-sysroot/"), Now.DELETE),
    LiveSystem("raspberrypi-overlay", lambda s: s.union() and s.upper("/upper/"), Now.DELETE),
    LiveSystem(
        "alpine-overlay",
        lambda s: s.union() and s.upper("/media/root-rw/"),
        Now.GROW,
        "overlaytmpfsflags=size=SIZE",
        ("/.modloop", "/media/root-ro"),
    ),
    # unions that are known by what is mounted beside them
    LiveSystem(
        "live-boot",
        lambda s: s.union() and s.below("/run/live"),
        Now.GROW,
        "overlay-size=SIZE (such as 2G or 60%)",
        LIVE_BOOT,
    ),
    LiveSystem("live-boot-2017", lambda s: s.union() and s.below("/lib/live/mount"), Now.DELETE, "", LIVE_BOOT),
    LiveSystem("casper", lambda s: s.union() and s.has("/cdrom", "/rofs"), Now.DELETE, "", ("/cdrom", "/rofs")),
    LiveSystem("larch", lambda s: s.union() and s.below("/.livesys"), Now.GROW, "", ("/.livesys/medium",)),
    LiveSystem(
        "kiwi-legacy",
        lambda s: s.union() and s.has("/read-only", "/read-write"),
        Now.DELETE,
        "ramdisk_size=N (in KiB)",
        ("/read-only", "/livecd"),
    ),
    LiveSystem(
        "knoppix",
        lambda s: s.union(on="/UNIONFS") or (s.union() and s.below("/KNOPPIX", "/ramdisk", "/mnt-system")),
        Now.GROW,
        "",
        ("/KNOPPIX", "/KNOPPIX2", "/mnt-system", "/cdrom"),
    ),
    LiveSystem(
        "porteus",
        lambda s: s.union() and s.below("/mnt/live"),
        Now.GROW,
        "ramsize=SIZE (such as 75%)",
        ("/mnt/live/memory/images", "/mnt/live/memory/data", "/mnt/live/memory/copy2ram"),
    ),
    LiveSystem(
        "linux-live-kit",
        lambda s: s.union() and (s.below("/run/initramfs/memory") or s.upper("/memory/changes/")),
        Now.MEMORY,
        "",
        ("/run/initramfs/memory/data", "/run/initramfs/memory/bundles"),
    ),
    LiveSystem(
        "antix",
        lambda s: s.union() and s.below("/live/aufs-ram", "/live/linux"),
        Now.GROW,
        "",
        ("/live/linux", "/live/boot-dev", "/live/to-ram"),
    ),
    # `/` itself is memory, or read-only
    LiveSystem(
        "coreos-live",
        lambda s: s.below("/run/ephemeral_base", "/run/ephemeral") and s.is_a("xfs", on="/var"),
        Now.DELETE,
        "",
        ("/run/ephemeral_base", "/run/media/iso"),
    ),
    LiveSystem(
        "warewulf",
        lambda s: s.is_a("tmpfs") and s.root.source == "wwroot",
        Now.GROW,
        "wwinit.tmpfs.size=SIZE (such as 25% or 1G)",
    ),
    LiveSystem("xcat-statelite", lambda s: s.has("/.statelite"), Now.GROW),
    LiveSystem(
        "nixos-netboot",
        lambda s: s.is_a("tmpfs") and s.below("/nix/.rw-store", "/nix/.ro-store"),
        Now.GROW,
        "",
        ("/nix/.ro-store", "/iso"),
    ),
    LiveSystem("alpine-diskless", lambda s: s.is_a("tmpfs") and s.has("/.modloop"), Now.GROW, "rootflags=size=SIZE"),
    LiveSystem(
        "flatcar-pxe",
        lambda s: s.is_a("tmpfs") and s.is_a("squashfs", on="/usr"),
        Now.GROW,
        "rootflags=size=SIZE",
    ),
    LiveSystem("systemd-volatile-yes", lambda s: s.is_a("tmpfs") and s.keeps("/usr"), Now.GROW),
    LiveSystem(
        "xcat-tmpfs", lambda s: s.is_a("tmpfs") and s.root.source == "rootfs", Now.GROW, "rootlimit=SIZE (of tmpfs)"
    ),
    LiveSystem("initramfs", lambda s: s.is_a("rootfs") or s.is_a("ramfs"), Now.MEMORY),
    LiveSystem("bootc-usr-overlay", lambda s: s.union(on="/usr") and s.has("/sysroot"), Now.DELETE),
    LiveSystem("systemd-volatile-state", lambda s: s.is_a("tmpfs", on="/var") and s.keeps("/"), Now.GROW),
)

BY_NAME: Final = {system.name: system for system in SYSTEMS}


def recognise(mounts: Sequence[Mount]) -> str | None:
    """The name of the live system, or None: an ordinary host, or a container."""
    points = {mount.mount_point: mount for mount in mounts}
    root = points.get("/")
    if root is None or is_container(root):
        return None
    seen = Seen(root, points)
    return next((system.name for system in SYSTEMS if system.test(seen)), None)


def is_container(root: Mount) -> bool:
    """Whether `/` is the overlay of a container engine: its upper lies in that engine's store."""
    return any(part in f"{root.upperdir}/" for part in CONTAINER_DIRS)


def static_folders(system: str | None) -> tuple[str, ...]:
    """Where this system mounts what is full by design."""
    return BY_NAME[system].static if system in BY_NAME else ()
