# SPDX-License-Identifier: Apache-2.0
"""Makes the lab's kernel run on processors with AMX, see xstate.c: it is built here, once, where it is needed.

Must not know how a guest is booted.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("xstate.c")
BUILT: Final = Path(__file__).parents[2] / ".lab" / "xstate.so"
COMPILER: Final = "cc"


def is_needed(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the extended state of this processor is larger than what User Mode Linux keeps."""
    try:
        return " amx_tile" in cpuinfo.read_text()
    except OSError:
        return False


def missing() -> str:
    """What keeps it from being built; empty if nothing, or if it is not needed."""
    if not is_needed() or _is_built() or shutil.which(COMPILER):
        return ""
    return "a C compiler (this processor has AMX, see tests/lab/xstate.c): apt-get install gcc libc6-dev (Debian)"


def environment() -> list[str]:
    """`NAME=VALUE` words for the environment of the lab's kernel; none where it runs as it is."""
    return [f"LD_PRELOAD={_build()}"] if is_needed() else []


def _build() -> Path:
    """The library. Two runners may build it at the same time: each gets a whole one."""
    if not _is_built():
        BUILT.parent.mkdir(exist_ok=True)
        made = BUILT.with_suffix(f".{os.getpid()}")
        command = [COMPILER, "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(made), str(SOURCE)]
        subprocess.run(command, check=True)
        made.replace(BUILT)
    return BUILT


def _is_built() -> bool:
    return BUILT.exists() and BUILT.stat().st_mtime >= SOURCE.stat().st_mtime
