# SPDX-License-Identifier: Apache-2.0
"""What the engine does before its first tick so that it outlives the root file system and the RAM.

Must not know anything of ticks. After `Invalid` no page of the program can be read again from its
file, and the OOM killer takes whom it likes: so everything is locked into memory, and the score is
the lowest. Each step that is not allowed is reported in words, and the daemon goes on without it.
"""

import ctypes
import gc
import os
from collections.abc import Callable, Iterator
from typing import Final

MCL_CURRENT: Final = 1
MCL_FUTURE: Final = 2
MCL_ONFAULT: Final = 4

_libc: Final = ctypes.CDLL(None, use_errno=True)


def prepare() -> list[str]:
    """Lock memory, lower the OOM score, leave the guarded file system. Returns what was refused."""
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("memory is not locked", lock_memory),
        ("the OOM score is not lowered", _lower_oom_score),
    )
    # What is there now stays: the collector need not touch it again, so a forked frontend shares it.
    gc.collect()
    gc.freeze()
    # The table load of a grown snapshot looks up paths relative to the cwd: never on the guarded root.
    os.chdir("/run" if os.path.isdir("/run") else "/")
    return list(_refusals(steps))


def _refusals(steps: tuple[tuple[str, Callable[[], None]], ...]) -> Iterator[str]:
    for what, step in steps:
        try:
            step()
        except OSError as error:
            yield f"{what}: {error.strerror}"


def lock_memory() -> None:
    """mlockall(2) in two steps: all that is mapped now is read in; what comes later, when it is touched.

    With MCL_FUTURE alone every thread stack would be filled at once. The pages of the interpreter
    and of the modules must be in memory before the file they come from is gone.
    """
    _mlockall(MCL_CURRENT)
    _mlockall(MCL_FUTURE | MCL_ONFAULT)


def _mlockall(flags: int) -> None:
    if _libc.mlockall(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _lower_oom_score(score: int = -1000) -> None:
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(score))
