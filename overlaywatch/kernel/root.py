# SPDX-License-Identifier: Apache-2.0
"""Where the kernel's interfaces are mounted. Every path under /proc, /sys and /dev begins here.

This file must not know what is read there. A captured machine, unpacked into a folder, is another root.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LIVE_PROC: Final = Path("/proc")


@functools.lru_cache(maxsize=8192)
def _below(folder: Path, names: tuple[str, ...]) -> Path:
    return folder.joinpath(*names)


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

    def in_sys(self, *names: str) -> Path:
        """A path below /sys; made once, as many are asked for in each look."""
        return _below(self.sys, names)

    @property
    def is_live(self) -> bool:
        """Whether this is the running machine, so that system calls and ioctls speak of the same one."""
        return self.proc == _LIVE_PROC
