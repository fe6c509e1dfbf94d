# SPDX-License-Identifier: Apache-2.0
"""Which live system is recognised, from the mount on `/` as real ones have it, and what is said to help there."""

import pytest

from overlaywatch.livesystem import End, recognise, remedy
from overlaywatch.model import Carrier, Failure, LayerId, Mount, Ref


def root(fstype: str, source: str, upperdir: str = "", carrier: Carrier | None = None) -> Mount:
    """A mount on `/`."""
    return Mount("/", fstype, source, Ref("super:0:24"), upperdir=upperdir, carrier=carrier)


OVERLAYS = {
    "dracut-dmsquash-live-overlayfs": root("overlay", "LiveOS_rootfs", "/run/overlayfs"),
    "kiwi-live": root("overlay", "LiveOS_rootfs", "/run/overlay/overlayfs/rw"),
    "kiwi-overlay": root("overlay", "OverlayOS_rootfs", "/run/overlay/rw"),
    "overlayroot": root("overlay", "overlayroot", "/media/root-rw/overlay"),
    "archiso": root("overlay", "airootfs", "/run/archiso/cowspace/persistent_/x86_64/upperdir"),
    "systemd-volatile": root("overlay", "overlay", "/run/systemd/overlay-sysroot/upper"),
}


@pytest.mark.parametrize("system", OVERLAYS)
def test_overlay_tells_by_source_and_upper_directory(system: str) -> None:
    """One mount line is enough."""
    assert recognise([OVERLAYS[system]]) == system


def test_live_boot_tells_by_what_is_mounted_beside() -> None:
    """The overlay of Debian's live-boot has no name of its own."""
    mounts = [root("overlay", "overlay", "/run/live/overlay/rw")]
    mounts.append(Mount("/run/live/overlay", "tmpfs", "tmpfs", Ref("super:0:23")))
    assert recognise(mounts) == "live-boot"


def test_casper_tells_by_its_two_mounts() -> None:
    """An overlay on /cow alone could be anybody's."""
    mounts = [root("overlay", "/cow", "/cow/upper")]
    assert recognise(mounts) is None
    mounts += [
        Mount(point, "squashfs", "/dev/loop0", Ref("block:7:0"), read_only=True) for point in ("/cdrom", "/rofs")
    ]
    assert recognise(mounts) == "casper"


@pytest.mark.parametrize(
    ("target", "name", "system"),
    [
        ("snapshot", "live-rw", "dracut-dmsquash-live"),
        ("thin", "live-rw", "dracut-dmsquash-live-thin"),
        ("snapshot", "arch_airootfs", "archiso"),
        ("snapshot", "vg-lv", None),
        ("crypt", "live-rw", None),
    ],
)
def test_device_mapper_tells_by_target_and_name_of_what_the_root_is_on(
    target: str, name: str, system: str | None
) -> None:
    """The root itself is an ordinary ext4 then."""
    assert recognise([root("ext4", f"/dev/mapper/{name}", carrier=Carrier(target, name))]) == system


@pytest.mark.parametrize(
    "mount",
    [
        root("ext4", "/dev/sda1"),
        root("overlay", "overlay", "/var/lib/docker/overlay2/0af3/diff"),
        root("overlay", "overlay", "/var/lib/containers/storage/overlay/0af3/diff"),
    ],
    ids=["disk", "docker", "podman"],
)
def test_ordinary_hosts_and_containers_are_none(mount: Mount) -> None:
    """What is no live system is not called one."""
    assert recognise([mount]) is None


def test_remedy_is_one_that_works_there() -> None:
    """Deleting helps on a tmpfs that can be seen, as making it larger does; over a snapshot only the next boot does."""
    snapshot = End("/", LayerId("dm-snapshot:live-rw"), Failure.READ_ONLY, reclaimable=False)
    assert remedy(snapshot, "dracut-dmsquash-live").startswith("none until reboot")
    assert "rd.live.overlay.size=" in remedy(snapshot, "dracut-dmsquash-live")
    assert "rd.live.overlay.size=" not in remedy(snapshot, None)
    tmpfs = End("/", LayerId("tmpfs:/run/live/overlay"), Failure.ENOSPC, reclaimable=True)
    assert "delete files on /" in remedy(tmpfs, "live-boot")
    assert "remount,size=SIZE /run/live/overlay" in remedy(tmpfs, "live-boot")
    assert remedy(End("/", None, None, reclaimable=False), None).startswith("cannot say")
