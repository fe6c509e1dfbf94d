# SPDX-License-Identifier: Apache-2.0
"""The branches of an AUFS union: from its mount options, or from sysfs.

This file must not know how full a branch is.

**Never list /sys/fs/aufs, and never read there in a loop.** While a union is being mounted or unmounted, reading any
file of its folder ends the kernel: aufs_kill_sb() clears si_sb before the folder goes, sysaufs_si_show() follows it
(seen three times of three on 6.1.192; the code is the same in 3.10 and 4.0). Only the union on `/` neither comes nor
goes while the daemon runs: its folder, by the name that its mount options tell, may be read once, at the start.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from overlaywatch.kernel.machine import Machine
from overlaywatch.kernel.mountinfo import unescape

_SI: Final = re.compile(r"si=([0-9a-f]{1,16})")
# A path is absolute, so a colon that is followed by a slash after a permission ends a branch; in names neither `:` nor
# `=` nor `,` is escaped.
_BRANCH: Final = re.compile(r"(/.*?)=((?:rw|ro|rr)(?:\+[a-z_]+)*)(?=:/|\Z)", re.DOTALL)
_MOST_BRANCHES: Final = 1023
"""The most that any build of AUFS but one for tests takes (CONFIG_AUFS_BRANCH_MAX_1023)."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One branch, the first one on top. `path` is a hint: it may lead to another file system by now, or nowhere."""

    path: str
    permission: str

    @property
    def writable(self) -> bool:
        """`rw` with any attribute (`rw+nolwh`); `ro`, `rr` (read-only by nature) and whatever else there is are not."""
        return self.permission.partition("+")[0] == "rw"


def parse_branch(text: str) -> Branch | None:
    """One file `br<N>`: `/mnt/a\\040b=rw`. The last `=` counts, as names may have some. None for anything else."""
    path, equals, permission = text.rstrip("\n").rpartition("=")
    return Branch(unescape(path), permission) if equals and path.startswith("/") else None


def parse_options(options: Sequence[str]) -> tuple[Branch, ...] | None:
    """The branches in the unescaped options of a union mounted with aufs.brs=0, where `br:` is the last; else None."""
    at = next((index for index, option in enumerate(options) if option.startswith("br:/")), None)
    if at is None:
        return None
    text = ",".join(options[at:]).removeprefix("br:")
    found = tuple(Branch(match[1], match[2]) for match in _BRANCH.finditer(text))
    whole = ":".join(f"{branch.path}={branch.permission}" for branch in found)
    return found if found and whole == text else None


def parse_si(options: Sequence[str]) -> str | None:
    """The name of a union in sysfs: `si=` is not padded, changes at every boot, and is used again after an unmount."""
    found = (_SI.fullmatch(option) for option in options)
    return next((match[1] for match in found if match), None)


def read_branches(machine: Machine, si: str) -> tuple[Branch, ...] | None:
    """The branches of one union from sysfs; None if any of them cannot be read (E2BIG, EBUSY).

    For the union on `/`, once: see the top of this file.
    """
    folder = machine.root.sys / "fs" / "aufs" / f"si_{si}"
    found = []
    for index in range(_MOST_BRANCHES):
        try:
            branch = parse_branch(machine.read(folder / f"br{index}").decode("utf-8", "surrogateescape"))
        except FileNotFoundError:
            break
        except OSError:
            return None
        if branch is None:
            return None
        found.append(branch)
    return tuple(found) or None
