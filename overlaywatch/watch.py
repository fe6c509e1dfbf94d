# SPDX-License-Identifier: Apache-2.0
"""Which of the mounted file systems are watched.

This file must not know how the mount table is read. Without a configuration every writable file
system that can fill is watched, once per super block: a bind mount or a second mount of the same
tmpfs is the same room. `include` replaces that choice, `exclude` takes away from either.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from overlaywatch.livesystem import CONTAINER_DIRS
from overlaywatch.model import Mount, StageStatus, Verdict

STORES: Final = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "reiserfs", "vfat", "exfat", "ntfs3", "jffs2", "ubifs"}
    | {"overlay", "overlayfs", "aufs", "tmpfs", "ramfs", "rootfs"}
)
"""File system types that hold data of their own. Network file systems are left out: statvfs of one
whose server is gone hangs, and their room is somebody else's."""

NOT_BY_DEFAULT: Final = ("/dev", "/proc", "/sys", "/run/user", "/run/credentials", "/run/lock", "/run/netns", "/snap")


def choose(
    mounts: Sequence[Mount], include: Sequence[str] = (), exclude: Sequence[str] = (), static: Sequence[str] = ()
) -> tuple[Mount, ...]:
    """The watched mounts in the order of the mount table. The last mount on a mount point wins.

    On and below the `static` folders nothing is watched by default: what the live system keeps there is full by design.
    """
    visible = {mount.mount_point: mount for mount in mounts}
    if include:
        return tuple(m for m in visible.values() if m.mount_point in include and m.mount_point not in exclude)
    hidden = (*NOT_BY_DEFAULT, *static)
    candidates = [
        mount for mount in visible.values() if _by_default(mount, hidden) and mount.mount_point not in exclude
    ]
    best: dict[str, Mount] = {}
    for mount in candidates:
        other = best.get(mount.rests_on)
        if other is None or _prominence(mount) < _prominence(other):
            best[mount.rests_on] = mount
    chosen = set(best.values())
    return tuple(mount for mount in candidates if mount in chosen)


def unseen(stages: Iterable[StageStatus], verdicts: Iterable[Verdict]) -> tuple[tuple[str, str], ...]:
    """The policies, with their mount points, that do nothing because no such mount point is watched."""
    watched = {verdict.mount.mount_point for verdict in verdicts}
    return tuple(dict.fromkeys((one.policy, one.mount_point) for one in stages if one.mount_point not in watched))


def say_unseen(policy: str, mount_point: str) -> str:
    """That in a sentence. A folder is no mount point: on a live system most of them lie on `/`."""
    return (
        f"policy {policy} does nothing: no watched file system is mounted on {mount_point}; "
        "'overlaywatch status' lists what is watched"
    )


def _by_default(mount: Mount, hidden: Sequence[str]) -> bool:
    if mount.read_only or mount.fstype not in STORES:
        return False
    path = f"{mount.mount_point}/"
    return not any(path.startswith(f"{folder}/") for folder in hidden) and not _of_a_container(mount)


def _of_a_container(mount: Mount) -> bool:
    return mount.mount_point != "/" and any(part in f"{mount.mount_point}/" for part in CONTAINER_DIRS)


def _prominence(mount: Mount) -> tuple[int, str]:
    """The shortest path is the one that people know a file system by."""
    return (len(mount.mount_point), mount.mount_point)
