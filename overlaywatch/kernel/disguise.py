# SPDX-License-Identifier: Apache-2.0
"""Names that are nobody's business, replaced so that everything that fits together still does.

This file must not know the files that the names stand in (capture.py). Private are: what lies below home folders,
/media, /mnt and /run/user; files behind loop devices with names of their own; where remote file systems come from; the
name of the host; device-mapper's UUIDs and keys; and all words of the kernel command line but those that say how the
machine was booted. A name is replaced component by component and the same everywhere, so paths that are equal, or lie
below one another, still are and do.
"""

import itertools
import re
from collections.abc import Callable, Iterable
from typing import Final

from overlaywatch.kernel.devmapper import DmTarget

HOST: Final = "host"

COMMON: Final = frozenset(
    {"bin", "boot", "data", "dev", "etc", "home", "host", "lib", "localhost", "media", "mnt", "opt", "proc", "root"}
    | {"run", "sbin", "srv", "sys", "tmp", "user", "users", "usr", "var", "disk", "image", "images", "iso", "ro", "rw"}
    | {"live", "liveos", "liveuser", "guest", "casper", "cow", "medium", "memory", "changes", "overlay", "overlayroot"}
    | {"persistence", "rootfs", "upper", "work", "workdir", "initramfs", "airootfs", "archiso", "cowspace", "isolinux"}
    | {"debian", "fedora", "ubuntu", "arch", "opensuse", "kiwi", "knoppix", "alpine", "slax", "porteus", "antix"}
    | {"nixos", "core", "pi", "tc", "puppy", "x86_64", "aarch64", "i686", "new", "old", "store"}
)
"""Names that tell nothing of anybody, and that a live system may be recognised by."""

_KEPT_MEDIA: Final = frozenset({"root-rw", "root-ro", "cdrom", "realroot", "ephemeral", "live", "rw", "ro"})
_KEPT_MNT: Final = frozenset({"live"})
_HOMES: Final = frozenset({"home", "@home"})

_IMAGE: Final = re.compile(
    r"overlay.*|rootfs\..*|squashfs.*|.*squashfs|ext3fs\.img|loopfs|.*airootfs\..*|casper-rw|writable|persistence|"
    r"meta-overlay|initrd.*|.*\.sfs|.*\.cow|home-rw|root\.btrfs|virtual\.dat|changes\.dat|fsdata\.ext4|.*\.xzm|image",
    re.IGNORECASE,
)
"""Files that live systems put behind loop devices."""

_SUFFIX: Final = re.compile(r"(\.[a-z0-9]{1,5})?$")
_OURS: Final = re.compile(r"private[0-9]+(\.[a-z0-9]{1,5})?$")
_PATH: Final = re.compile(r"[^\s=,:]*/[^\s=,:]*")


class Disguise:
    """First learns all names of a machine, then replaces the private ones among them."""

    def __init__(self, hostname: str) -> None:
        self._host = _host_pattern(hostname)
        self._private: dict[str, str] = {}
        self._seen: set[str] = set()
        self._names: dict[str, str] | None = None

    def learn(self, path: str) -> None:
        """Take the private components of a path for private wherever they stand."""
        parts = path.split("/")
        self._seen.update(parts)
        for part in parts[_first_private(parts) :]:
            self.learn_name(part)

    def learn_file(self, path: str) -> None:
        """Learn a path whose last component is private as well, unless it is a file of a live system."""
        name = path.rpartition("/")[2]
        if not _IMAGE.fullmatch(name):
            self.learn_name(name, _extension(name))
        self.learn(path)

    def learn_name(self, name: str, extension: str = "") -> None:
        """Take a name for private: a component of paths, or all of a word that name() is given."""
        self._seen.add(name)
        if name and name.lower() not in COMMON and not _OURS.match(name):
            self._private.setdefault(name, extension)

    def name(self, name: str) -> str:
        """A name, or what stands for it."""
        return self._without_host(self._replacements().get(name, name))

    def path(self, path: str) -> str:
        """The path without anything private."""
        names = self._replacements()
        return self._without_host("/".join(names.get(part, part) for part in path.split("/")))

    def text(self, text: str) -> str:
        """Any text: what looks like a path in it is treated as one."""
        return self._without_host(_PATH.sub(lambda match: self.path(match[0]), text))

    def _replacements(self) -> dict[str, str]:
        """Numbered in the order in which they were learned, once everything is known: no number is taken twice."""
        if self._names is None:
            taken = {name.partition(".")[0] for name in self._seen if _OURS.match(name)}
            free = (name for name in map("private{}".format, itertools.count(1)) if name not in taken)
            self._names = {name: next(free) + extension for name, extension in self._private.items()}
        return self._names

    def _without_host(self, text: str) -> str:
        return self._host.sub(HOST, text) if self._host else text


def _host_pattern(hostname: str) -> re.Pattern[str] | None:
    """The host's name, in full and short, also as LVM spells it in names of device-mapper; None if it tells nothing."""
    names = {one for one in (hostname, hostname.partition(".")[0]) if one and one.lower() not in COMMON}
    words = sorted(names | {one.replace("-", "--") for one in names}, key=len, reverse=True)
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, words))})(?![A-Za-z0-9])") if words else None


def _extension(name: str) -> str:
    match = _SUFFIX.search(name)
    return match[0] if match and match.start() > 0 else ""


def _first_private(parts: list[str]) -> int:
    """The index of the first component that is somebody's own; their number if none is."""
    for index, part in enumerate(parts):
        if part in _HOMES:
            return index + 1
    if len(parts) < 3 or parts[0]:
        return len(parts)
    top, second = parts[1], parts[2]
    if top == "root" or (top == "media" and second not in _KEPT_MEDIA) or (top == "mnt" and second not in _KEPT_MNT):
        return 2
    if (top, second) in {("run", "user"), ("run", "media"), ("dev", "disk")}:
        return 4 if top == "dev" else 3
    return len(parts)


# --- the kernel command line ----------------------------------------------------------------------------------------

_KEPT_WORDS: Final = re.compile(
    r"(root|rootfstype|rootflags|ro|rw|quiet|init|boot|live-media|live-media-path|union|overlay-size|toram|copytoram|"
    r"persistent|persistence|components|nopersistence|ramdisk_size|rootlimit|mem|memmap|zram|swap|cow_\w+|copytoram_size|"
    r"archiso\w*|img_loop|perch|from|changes|ramsize|showmounts|modules|alpine_dev|overlaytmpfs|overlaytmpfsflags|"
    r"boot_from|flatcar\.\w+|coreos\.liveiso|ignition\.platform\.id|kiwi\w*|ramonly|splash|noswap|"
    r"brd\.\w+|ramdisk\.\w+|cgroup\w*|swapaccount|systemd\.volatile|systemd\.unified_cgroup_hierarchy|selinux|enforcing|"
    r"wwinit\.tmpfs\.size|initramfs\.runsize|rd\.live\.\w[\w.]*|rd\.overlay[\w.]*|rd\.writable\.\w+|rd\.root\.overlay[\w.]*|"
    r"overlayroot|overlaywatch\.actions|transparent_hugepage\w*|tmpfs_size|zswap\.\w+)"
)
_SECRET: Final = re.compile(r"pass|secret|token|key|cred|auth|@|://|\?", re.IGNORECASE)
_NETWORK: Final = "nfs4?|nbd|iscsi|aoe|fcoe|cifs|smb|https?|ftp|tftp"
_ADDRESS: Final = re.compile(
    rf"(?:^|:)(?:{_NETWORK}):|[0-9]+(?:\.[0-9]+){{3}}|\[|::|^(?!(?:live|block|overlay):)[\w.-]+:/", re.IGNORECASE
)
"""A way over the network, an address of IPv4 or IPv6, or `SERVER:/PATH`."""
_SERVER: Final = re.compile(r"\w*(?:srv|server)")
_SCHEMES: Final = re.compile(rf"(?:(?:live|crypt|{_NETWORK}):(?!//))*")
REMOVED: Final = "removed"


def disguise_cmdline(words: Iterable[str], text: Callable[[str], str]) -> tuple[str, ...]:
    """The words that say how the machine was booted; a value that may hold a secret or an address is cut away."""
    return tuple(_word(word, text) for word in words if _KEPT_WORDS.fullmatch(word.partition("=")[0]))


def _word(word: str, text: Callable[[str], str]) -> str:
    name, equals, value = word.partition("=")
    if not value or not (_SECRET.search(value) or _ADDRESS.search(value) or _SERVER.fullmatch(name)):
        return name + equals + text(value)
    schemes = _SCHEMES.match(value)
    return f"{name}={schemes[0] if schemes else ''}{REMOVED}"


# --- device-mapper --------------------------------------------------------------------------------------------------

_OPEN_TARGETS: Final = frozenset(
    {
        "snapshot",
        "snapshot-merge",
        "snapshot-origin",
        "linear",
        "striped",
        "thin",
        "thin-pool",
        "error",
        "zero",
        "delay",
    }
)
"""Targets whose parameters are device numbers, sizes and words of the kernel."""

_HARMLESS: Final = re.compile(r"[0-9]{1,18}(:[0-9]{1,9})?|-", re.ASCII)


def disguise_target(target: DmTarget) -> DmTarget:
    """The target; of one that may hold a key (crypt, integrity) or is not known here, only numbers stay."""
    if target.type in _OPEN_TARGETS:
        return target
    words = (word if _HARMLESS.fullmatch(word) else "-" for word in target.params.split(" "))
    return DmTarget(target.start, target.length, target.type, " ".join(words))
