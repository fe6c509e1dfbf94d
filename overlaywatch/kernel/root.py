# SPDX-License-Identifier: Apache-2.0
"""Where the kernel's interfaces are mounted. Every path under /proc, /sys and /dev begins here.

This file must not know what is read there. A captured machine, unpacked into a folder, is another root.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LIVE_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class KernelRoot:
    """The three trees of one machine: the live one by default. `dm` is of captured machines only."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    dm: Path = Path("/nonexistent")

    @classmethod
    def below(cls, folder: Path) -> "KernelRoot":
        """The trees of a machine that was captured into `folder`."""
        return cls(proc=folder / "proc", sys=folder / "sys", dev=folder / "dev", dm=folder / "dm")

    @property
    def is_live(self) -> bool:
        """Whether this is the running machine, so that system calls and ioctls speak of the same one."""
        return self.proc == _LIVE_PROC
