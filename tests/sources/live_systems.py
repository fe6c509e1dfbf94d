# SPDX-License-Identifier: Apache-2.0
"""One machine for each row of the table of live systems: its mount table, and where its upper is.

The lines are those of real hosts where such were found, otherwise what the system's own boot scripts make; ids and
minor numbers are invented then.
"""

from dataclasses import dataclass, replace
from typing import Final

from overlaywatch.kernel.devmapper import DmDevice, DmTarget
from overlaywatch.kernel.loop import LoopDevice
from overlaywatch.kernel.mountinfo import parse_mountinfo
from overlaywatch.kernel.statfs import StatVfs, Ustat
from overlaywatch.units import GIB, MIB
from tests.sources.test_live_machines import live_rw, memory
from tests.sources.views import Number, StaticView, figures, loop

HALF_FULL: Final = figures(512 * MIB, 200 * MIB, files=5000, files_free=4000)


@dataclass(frozen=True)
class Machine:
    """`upper` is the mount point of the upper's file system, or its number where it is hidden; empty: `/` itself.

    `limit` is what ends first there; empty where the chain needs a source that is tested elsewhere.
    """

    lines: str
    upper: str = ""
    limit: str = ""
    dm: str = ""
    loops: tuple[LoopDevice, ...] = ()
    stat: StatVfs = HALF_FULL

    def view(self) -> StaticView:
        """The machine; everything but the upper, and what is stacked on it, is of another size."""
        mounts = parse_mountinfo(self.lines)
        statvfs = {info.mount_point: figures(GIB, 900 * MIB) for info in mounts}
        unions = {one.mount_point for one in mounts if one.fstype in {"overlay", "overlayfs", "aufs"}} - {"/etc"}
        top = unions or {"/"}
        statvfs.update(dict.fromkeys({*top, *([self.upper] if self.upper.startswith("/") else [])}, self.stat))
        numbers = {number_of(self.upper): Ustat(*self.stat.room)} if ":" in self.upper else {}
        numbers.update({one.device: Ustat(*self.stat.room) for one in mounts if one.mount_point == self.upper})
        names = {(7, minor): f"loop{minor}" for minor in range(4)} | {
            (253, 0): "dm-0",
            (254, 0): "dm-0",
            (8, 1): "sda1",
        }
        return StaticView(
            self.lines,
            dm=mapped(self.dm),
            loops=self.loops,
            statvfs=statvfs,
            ustat=numbers,
            names={**names, (1, 1): "ram1"},
            memory=memory(4 * GIB, 3 * GIB),
        )


def number_of(text: str) -> Number:
    """`0:31`"""
    major, _, minor = text.partition(":")
    return int(major), int(minor)


def mapped(text: str) -> dict[Number, DmDevice]:
    """`NAME TARGET`: the device under `/`."""
    if not text:
        return {}
    name, target = text.split()
    if target == "snapshot":
        return {(254, 0): replace(live_rw("2448/131072 24")[254, 0], name=name)}
    line = (DmTarget(0, 3072000, target, "7:1 0"),)
    return {(254, 0): DmDevice(name, "", 254, 0, False, False, 0, 1, line, line)}


RUN: Final = "26 25 0:24 / /run rw - tmpfs tmpfs rw,mode=755\n"
EXT4: Final = "25 1 254:0 / / rw,relatime - ext4 {} rw\n"
MEDIUM: Final = "64 26 253:0 / /run/initramfs/live ro - iso9660 /dev/vda ro\n"
RAMFS_COW: Final = (loop(2, "/overlay (deleted)", (0, 2)), loop(1, "/LiveOS/rootfs.img", (0, 29), read_only=True))

MACHINES: Final[dict[str, Machine]] = {
    "dracut-dmsquash-live": Machine(
        EXT4.format("/dev/mapper/live-rw") + RUN + MEDIUM,
        "",
        "dm-snapshot:live-rw",
        "live-rw snapshot",
        RAMFS_COW,
        figures(1500 * MIB, 1100 * MIB),
    ),
    "dracut-dmsquash-live-thin": Machine(EXT4.format("/dev/mapper/live-rw") + RUN + MEDIUM, dm="live-rw thin"),
    "dracut-dmsquash-live-writable": Machine(
        EXT4.format("/dev/mapper/live-rw") + RUN, "", "filesystem:/", "live-rw linear", (loop(1, "/run/x", (0, 24)),)
    ),
    "archiso-snapshot": Machine(
        EXT4.format("/dev/mapper/arch_airootfs")
        + RUN
        + "30 26 0:30 / /run/archiso/cowspace rw,relatime - tmpfs cowspace rw,size=786432k,mode=755\n",
        "",
        "dm-snapshot:arch_airootfs",
        "arch_airootfs snapshot",
        (loop(2, "/run/archiso/cowspace/x.cow", (0, 30)),),
        figures(32 * GIB, 30 * GIB),
    ),
    "kiwi-legacy-clicfs": Machine(
        "25 1 7:0 / / rw - ext4 /dev/loop0 rw,errors=remount-ro\n30 25 0:30 / /read-only ro - fuse.clicfs clicfs ro\n",
        loops=(loop(0, "/read-only/fsdata.ext4", (0, 30)),),
    ),
    "kiwi-live": Machine(
        "25 1 0:40 / / rw,relatime - overlay LiveOS_rootfs rw,lowerdir=/run/overlay/rootfsbase,"
        "upperdir=/run/overlay/overlayfs/rw,workdir=/run/overlay/overlayfs/work\n"
        + RUN
        + "30 26 0:30 / /run/overlay rw,relatime - tmpfs tmpfs rw,size=262144k\n",
        "/run/overlay",
        "tmpfs:/run/overlay",
    ),
    "kiwi-overlay": Machine(
        "25 1 0:40 / / rw,relatime - overlay OverlayOS_rootfs rw,lowerdir=/run/overlay/rootfsbase,"
        "upperdir=/run/overlay/rw,workdir=/run/overlay/work\n"
        + RUN
        + "30 26 0:30 / /run/overlay rw - tmpfs tmpfs rw\n",
        "/run/overlay",
        "tmpfs:/run/overlay",
    ),
    "dracut-dmsquash-live-overlayfs": Machine(
        "25 1 0:40 / / rw,relatime - overlay LiveOS_rootfs rw,lowerdir=/run/rootfsbase,upperdir=/run/overlayfs,"
        "workdir=/run/ovlwork,uuid=on\n"
        "26 25 0:24 / /run rw,nosuid,nodev - tmpfs tmpfs rw,size=401324k,nr_inodes=819200\n",
        "/run",
        "tmpfs:/run",
    ),
    "archiso": Machine(
        "25 1 0:40 / / rw,relatime - overlay airootfs rw,lowerdir=/run/archiso/airootfs,"
        "upperdir=/run/archiso/cowspace/persistent_/x86_64/upperdir,workdir=/run/archiso/cowspace/x,uuid=on\n"
        + RUN
        + "30 26 0:30 / /run/archiso/cowspace rw,relatime - tmpfs cowspace rw,size=262144k,mode=755\n"
        + "31 26 0:31 / /run/archiso/copytoram rw - tmpfs tmpfs rw,size=75%\n",
        "/run/archiso/cowspace",
        "tmpfs:/run/archiso/cowspace",
    ),
    "overlayroot": Machine(
        "25 1 0:40 / / rw,relatime - overlay overlayroot rw,lowerdir=/media/root-ro,upperdir=/media/root-rw/overlay,"
        "workdir=/media/root-rw/overlay-workdir/_\n30 25 0:30 / /media/root-rw rw,relatime - tmpfs tmpfs-root rw\n"
        "31 25 8:1 / /media/root-ro ro - ext4 /dev/sda1 ro\n",
        "/media/root-rw",
        "tmpfs:/media/root-rw",
    ),
    "ltsp": Machine(
        "25 1 0:40 / / rw - overlay /run/initramfs/ltsp rw,lowerdir=/run/initramfs/ltsp/0/looproot,"
        "upperdir=/run/initramfs/ltsp/0/up,workdir=/run/initramfs/ltsp/0/work\n"
        + RUN
        + "30 26 0:30 / /run/initramfs/ltsp rw - tmpfs tmpfs rw,mode=755\n",
        "/run/initramfs/ltsp",
        "tmpfs:/run/initramfs/ltsp",
    ),
    "xcat": Machine(
        "25 1 0:40 / / rw - overlay mergedroot rw,lowerdir=/ro,upperdir=/rw/upper\n",
        "0:30",
        "tmpfs:0:30",
    ),
    "openwrt": Machine(
        "25 1 0:40 / / rw,noatime - overlay overlayfs:/overlay rw,lowerdir=/,upperdir=/overlay/upper\n"
        "30 25 7:0 / /overlay rw,noatime - f2fs /dev/loop0 rw\n31 25 259:1 / /rom ro - squashfs /dev/root ro\n",
        "/overlay",
    ),
    "openwrt-ram": Machine(
        "25 1 0:40 / / rw,noatime - overlay overlayfs:/tmp/root rw,lowerdir=/,upperdir=/tmp/root/upper\n"
        "30 25 0:30 / /tmp rw - tmpfs tmpfs rw\n",
        "/tmp",
        "tmpfs:/tmp",
    ),
    "systemd-volatile-overlay": Machine(
        "25 1 0:40 / / rw,relatime - overlay overlay rw,lowerdir=/sysroot,"
        "upperdir=/run/systemd/overlay-sysroot/upper,workdir=/run/systemd/overlay-sysroot/work\n" + RUN,
        "0:30",
        "tmpfs:0:30",
    ),
    "raspberrypi-overlay": Machine(
        "25 1 0:40 / / rw,noatime - overlay overlay rw,lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work\n",
        "0:30",
        "tmpfs:0:30",
    ),
    "alpine-overlay": Machine(
        "25 1 0:40 / / rw - overlay overlayfs rw,lowerdir=/media/root-ro,upperdir=/media/root-rw/root,"
        "workdir=/media/root-rw/work\n30 25 0:30 / /media/root-rw rw - tmpfs root-tmpfs rw\n",
        "/media/root-rw",
        "tmpfs:/media/root-rw",
    ),
    "live-boot": Machine(
        "25 1 0:40 / / rw,noatime - overlay overlay rw,lowerdir=/run/live/rootfs/filesystem.squashfs/,"
        "upperdir=/run/live/overlay/rw,workdir=/run/live/overlay/work,redirect_dir=on\n"
        + RUN
        + "30 26 0:30 / /run/live/overlay rw,noatime - tmpfs tmpfs rw,size=512000k,mode=755\n"
        + "31 26 0:31 / /run/live/medium rw,noatime - tmpfs /dev/shm rw,size=98304k\n"
        + "32 25 0:30 / /usr/lib/live/mount/overlay rw,noatime - tmpfs tmpfs rw,size=512000k,mode=755\n",
        "/run/live/overlay",
        "tmpfs:/run/live/overlay",
    ),
    "live-boot-2017": Machine(
        "25 1 0:40 / / rw,noatime - aufs aufs rw,si=2ee3ddabcba612f0,noxino\n"
        "31 32 0:31 / /lib/live/mount/overlay rw,relatime - tmpfs tmpfs rw\n"
        "32 25 0:30 / /lib/live/mount/overlay rw,noatime - tmpfs tmpfs rw,mode=755\n"
        "33 25 7:0 / /lib/live/mount/rootfs/filesystem.squashfs ro,noatime - squashfs /dev/loop0 ro\n",
        "0:30",
        "tmpfs:0:30",
    ),
    "casper": Machine(
        "25 1 0:40 / / rw,relatime - overlay /cow rw,lowerdir=//filesystem.squashfs,upperdir=/cow/upper\n"
        "30 25 11:0 / /cdrom ro - iso9660 /dev/sr0 ro\n31 25 7:0 / /rofs ro - squashfs /dev/loop0 ro\n",
        "0:30",
        "tmpfs:0:30",
    ),
    "larch": Machine(
        "25 1 0:40 / / rw - aufs aufs rw,si=9af\n30 25 0:30 / /.livesys rw - tmpfs tmpfs rw\n"
        "31 30 11:0 / /.livesys/medium ro - iso9660 /dev/sr0 ro\n",
        "/.livesys",
        "tmpfs:/.livesys",
    ),
    "kiwi-legacy": Machine(
        "25 1 0:40 / / rw,relatime - overlayfs overlayfs rw,lowerdir=/read-only,upperdir=/read-write\n"
        "30 25 1:1 / /read-write rw - ext3 /dev/ram1 rw\n31 25 7:0 / /read-only ro - squashfs /dev/loop0 ro\n",
        "/read-write",
    ),
    "knoppix": Machine(
        "25 1 0:40 / / rw - aufs unionfs rw,si=9af\n30 25 0:30 / /ramdisk rw - tmpfs tmpfs rw,size=826612k,mode=755\n"
        "31 25 7:0 / /KNOPPIX ro - iso9660 /dev/cloop0 ro\n",
        "/ramdisk",
        "tmpfs:/ramdisk",
    ),
    "linux-live-kit": Machine(
        "25 1 0:40 / / rw,relatime - aufs aufs rw,si=9af,trunc_xino\n"
        + RUN
        + "30 26 0:30 / /run/initramfs rw - tmpfs tmpfs rw,size=100%\n"
        "31 30 7:0 / /run/initramfs/memory/bundles/01-core.sb ro - squashfs /dev/loop0 ro\n",
        "/run/initramfs",
        "ram",
        stat=figures(4 * GIB, 3900 * MIB, files=5000, files_free=4000),
    ),
    "porteus": Machine(
        "25 1 0:40 / / rw - aufs aufs rw,si=9af\n30 25 0:30 / /mnt/live rw - tmpfs tmpfs rw\n"
        "31 30 0:31 / /mnt/live/memory/changes rw - tmpfs tmpfs rw,size=60%\n",
        "/mnt/live/memory/changes",
        "tmpfs:/mnt/live/memory/changes",
    ),
    "antix": Machine(
        "25 1 0:40 / / rw,relatime - overlay overlay rw,lowerdir=/live/linux,upperdir=/live/aufs-ram/upper,"
        "workdir=/live/aufs-ram/work\n30 25 0:30 / /live/aufs-ram rw,noatime - tmpfs tmpfs rw,size=1589248k\n"
        "31 25 0:40 / /live/aufs rw,relatime - overlay overlay rw,lowerdir=/live/linux,upperdir=/live/aufs-ram/upper\n"
        "32 25 7:0 / /live/linux ro - squashfs /dev/loop0 ro\n",
        "/live/aufs-ram",
        "tmpfs:/live/aufs-ram",
    ),
    "coreos-live": Machine(
        "25 1 7:1 / / ro - squashfs /dev/loop1 ro\n"
        + RUN
        + "30 26 0:30 / /run/ephemeral_base rw - tmpfs tmpfs rw,size=50%\n"
        "31 25 7:0 /var /var rw - xfs /dev/loop0 rw,discard\n32 25 7:0 /etc /etc rw - xfs /dev/loop0 rw,discard\n",
        loops=(loop(0, "/run/ephemeral_base/loopfs", (0, 30)),),
    ),
    "warewulf": Machine("25 1 0:40 / / rw - tmpfs wwroot rw,mpol=interleave\n", "", "tmpfs:/"),
    "xcat-statelite": Machine(
        "25 1 0:41 / / ro - nfs 10.0.0.1:/install ro\n30 25 0:30 / /.statelite rw - tmpfs tmpfs rw\n"
        "31 25 0:30 /tmpfs/etc/hosts /etc/hosts rw - tmpfs tmpfs rw\n",
        "/.statelite",
    ),
    "nixos-netboot": Machine(
        "25 1 0:40 / / rw - tmpfs tmpfs rw,mode=755\n30 25 0:30 / /nix/.rw-store rw - tmpfs tmpfs rw,mode=755\n"
        "31 25 7:0 / /nix/.ro-store ro - squashfs /dev/loop0 ro\n"
        "32 25 0:41 / /nix/store rw - overlay overlay rw,lowerdir=/nix/.ro-store,upperdir=/nix/.rw-store/store\n",
        "/nix/.rw-store",
    ),
    "alpine-diskless": Machine(
        "25 1 0:40 / / rw,relatime - tmpfs tmpfs rw,mode=755\n31 25 7:0 / /.modloop ro - squashfs /dev/loop0 ro\n",
        "",
        "tmpfs:/",
    ),
    "flatcar-pxe": Machine(
        "25 1 0:40 / / rw,relatime - tmpfs tmpfs rw,mode=755\n31 25 7:0 / /usr ro - squashfs /dev/loop0 ro\n"
        "32 25 0:41 / /etc rw - overlay overlay rw,lowerdir=/usr/share/flatcar/etc,upperdir=/sysroot/etc\n",
        "",
        "tmpfs:/",
    ),
    "systemd-volatile-yes": Machine(
        "25 1 0:40 / / rw - tmpfs tmpfs rw,size=25%,nr_inodes=1m\n31 25 8:1 /usr /usr ro - ext4 /dev/sda1 rw\n",
        "",
        "tmpfs:/",
    ),
    "xcat-tmpfs": Machine("25 1 0:40 / / rw,relatime - tmpfs rootfs rw,mode=755\n", "", "tmpfs:/"),
    "initramfs": Machine("1 1 0:2 / / rw - rootfs rootfs rw\n", "", "ram", stat=figures(0, 0, 0, 0)),
    "bootc-usr-overlay": Machine(
        "25 1 8:1 / / rw - xfs /dev/sda1 rw\n30 25 8:1 / /sysroot ro - xfs /dev/sda1 rw\n"
        "31 25 0:41 / /usr rw - overlay overlay rw,lowerdir=usr,upperdir=/var/tmp/ostree-unlock-ovl.KZ4V50/upper\n",
        "0:30",
        "filesystem:/",
    ),
    "systemd-volatile-state": Machine(
        "25 1 8:1 / / ro - ext4 /dev/sda1 ro\n30 25 0:30 / /var rw - tmpfs tmpfs rw,size=25%\n", "/var"
    ),
}
"""By the name of the system."""
