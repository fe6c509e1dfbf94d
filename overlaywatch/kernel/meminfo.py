# SPDX-License-Identifier: Apache-2.0
"""Memory: /proc/meminfo and /proc/swaps, as proc_meminfo(5) and proc_swaps(5) describe them.

This file must not know which layers live in memory. Everything is in bytes.

psutil is not used for this: its virtual_memory() takes 48 µs and three system calls, swap_memory() 99 µs, and neither
tells Dirty, Writeback, Unevictable or which swap is zram. One pread of a file that is kept open, and this parser, take
21 µs for all of it, from one moment, and need no descriptor when there are none left. (Measured with psutil 7.2 on
Linux 6.18.) For what psutil is best at see writers.py.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from overlaywatch.kernel.digits import NUMBER
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.mountinfo import unescape
from overlaywatch.units import KIB

_WANTED: Final = re.compile(
    rf"^(MemTotal|MemFree|MemAvailable|SwapTotal|SwapFree|Dirty|Writeback|Shmem|Unevictable|Mlocked|"
    rf"Active\(file\)|Inactive\(file\)|SReclaimable): +({NUMBER}) kB$",
    re.MULTILINE,
)

# Only blanks and tabs separate; other white space in a file's name is not escaped.
_SWAP: Final = re.compile(rf"([^ \t]+)[ \t]+([a-z]+)[ \t]+({NUMBER})[ \t]+({NUMBER})[ \t]+(-?{NUMBER})")


@dataclass(frozen=True, slots=True)
class MemInfo:
    """What the daemon asks of /proc/meminfo, in bytes.

    `available` is MemAvailable, which leaves out tmpfs and ramfs pages already. `swap_free` counts swap on zram too;
    see swap_free_real. A field that this kernel does not print is None.
    """

    total: int
    free: int
    available: int | None
    swap_total: int
    swap_free: int
    dirty: int
    writeback: int
    shmem: int | None
    unevictable: int | None
    mlocked: int | None
    active_file: int | None = None
    inactive_file: int | None = None
    slab_reclaimable: int | None = None

    @property
    def available_at_least(self) -> int:
        """`available`, or what it would surely be where the kernel does not tell it (before Linux 3.14).

        si_mem_available() in mm/page_alloc.c adds to the free memory what can be dropped of the page cache and of the
        slabs, but for less than half of each, and takes off what the zones keep for themselves: 14 % of 1 GiB on 6.1,
        less of more.
        """
        if self.available is not None:
            return self.available
        cache = (self.active_file or 0) + (self.inactive_file or 0)
        return max(0, self.free + cache // 2 + (self.slab_reclaimable or 0) // 2 - self.total // 6)


@dataclass(frozen=True, slots=True)
class Swap:
    """One line of /proc/swaps, sizes in bytes."""

    name: str
    type: str
    size: int
    used: int
    priority: int

    @property
    def in_ram(self) -> bool:
        """Whether what is swapped out to it stays in memory, compressed: no room beyond RAM."""
        return self.name.startswith("/dev/zram")


def parse_meminfo(text: str) -> MemInfo:
    """The fields of MemInfo; raises KernelTextError if one is missing that every kernel since 2.6 prints."""
    values = {name: int(figure) * KIB for name, figure in _WANTED.findall(text)}
    try:
        return MemInfo(
            total=values["MemTotal"],
            free=values["MemFree"],
            available=values.get("MemAvailable"),
            swap_total=values["SwapTotal"],
            swap_free=values["SwapFree"],
            dirty=values["Dirty"],
            writeback=values["Writeback"],
            shmem=values.get("Shmem"),
            unevictable=values.get("Unevictable"),
            mlocked=values.get("Mlocked"),
            active_file=values.get("Active(file)"),
            inactive_file=values.get("Inactive(file)"),
            slab_reclaimable=values.get("SReclaimable"),
        )
    except KeyError as missing:
        raise KernelTextError("meminfo", f"a line '{missing.args[0]}: NUMBER kB'", text) from None


def parse_swaps(text: str) -> tuple[Swap, ...]:
    """The areas of /proc/swaps; its first line is a heading. Raises KernelTextError naming the line."""
    return tuple(_parse_swap(line, number) for number, line in enumerate(text.split("\n")[1:], 2) if line)


def _parse_swap(line: str, number: int) -> Swap:
    match = _SWAP.fullmatch(line)
    if match is None:
        raise KernelTextError("swaps", "FILENAME TYPE SIZE USED PRIORITY", line, number)
    return Swap(unescape(match[1]), match[2], int(match[3]) * KIB, int(match[4]) * KIB, int(match[5]))


def swap_free_real(swaps: Sequence[Swap]) -> int:
    """Bytes that can still be swapped out of RAM: swap on zram is RAM itself and does not count."""
    return sum(max(0, swap.size - swap.used) for swap in swaps if not swap.in_ram)
