# SPDX-License-Identifier: Apache-2.0
"""What purge never deletes from, whatever the configuration says.

This file must not know how files are found. Two kinds: trees of which every file is out of bounds, and
folders that are too wide to be named as the beginning of a pattern. A pattern that begins in one of
them is an error of the configuration; a wider pattern is walked around them.
"""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from overlaywatch.actions.globs import Pattern
from overlaywatch.kernel.mountinfo import MountInfo

TREES: Final = (
    # the system
    "/bin",
    "/boot",
    "/efi",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix",
    "/ostree",
    "/sbin",
    "/sysroot",
    "/usr",
    # what belongs to people
    "/home",
    "/root",
    # package databases
    "/var/lib/apt",
    "/var/lib/dnf",
    "/var/lib/dpkg",
    "/var/lib/pacman",
    "/var/lib/rpm",
    "/var/lib/snapd",
    # the kernel's and the running system's own
    "/dev",
    "/proc",
    "/sys",
    "/run/dbus",
    "/run/systemd",
    "/run/udev",
    # where live systems keep the medium and the writable layer itself
    "/cdrom",
    "/cow",
    "/lib/live",
    "/media/root-ro",
    "/media/root-rw",
    "/rofs",
    "/run/archiso",
    "/run/initramfs",
    "/run/live",
    "/run/overlay",
    "/run/overlayfs",
    "/run/ovlwork",
    "/run/rootfsbase",
    # the daemon's own
    "/run/overlaywatch",
    "/var/lib/overlaywatch",
)
"""Nothing in these is ever deleted."""

TOO_WIDE: Final = ("/", "/mnt", "/media", "/opt", "/run", "/srv", "/var", "/var/lib")
"""No pattern may begin with a wildcard right here: `/var/**` is not a purge, it is an accident."""

FOLDERS: Final = frozenset({"lost+found"})
"""Names of folders that are left alone wherever they are."""

_UNION_OPTIONS: Final = ("upperdir=", "workdir=", "lowerdir=", "lowerdir+=")


def own_trees() -> tuple[str, ...]:
    """Where this daemon and its interpreter lie: in /usr when packaged, else a checkout, an environment, /opt."""
    places = {os.path.realpath(Path(__file__).parents[1]), os.path.realpath(sys.prefix)}
    return tuple(sorted(places - {"/"}))


def identities(paths: Iterable[str]) -> frozenset[tuple[int, int]]:
    """(st_dev, st_ino) of those folders that exist: a bind mount or a symbolic link gives them other names."""
    found = set()
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def refusal(pattern: Pattern, trees: Iterable[str]) -> str:
    """Why a pattern must not be used; empty if it may."""
    prefix = "/" + "/".join(pattern.prefix)
    if prefix in TOO_WIDE:
        return f"begins in {prefix}, which is too wide to purge from; name a folder in it"
    for tree in trees:
        if is_inside(prefix, tree) or pattern.literal == tree:
            return f"begins in {tree}, where nothing is ever purged; name a folder of caches elsewhere"
    return ""


def is_inside(path: str, tree: str) -> bool:
    """Whether a path is the tree itself or below it, by name."""
    return path == tree or path.startswith(tree + "/")


def layers_of_unions(mounts: Iterable[MountInfo]) -> Iterator[str]:
    """The folders that overlay file systems are made of: deleting there, behind their back, is undefined behaviour.

    Source: Documentation/filesystems/overlayfs.rst, "Changes to underlying filesystems".
    """
    for mount in mounts:
        if mount.fstype in {"overlay", "overlayfs"}:
            for option in mount.super_options:
                name, equals, value = option.partition("=")
                if name + equals in _UNION_OPTIONS:
                    yield from (part for part in value.split(":") if part.startswith("/"))
