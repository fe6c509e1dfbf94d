# SPDX-License-Identifier: Apache-2.0
"""Memory and swap are read in bytes; swap that is RAM itself does not count as room."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.meminfo import Swap, parse_meminfo, parse_swaps, swap_free_real
from tests.kernel.printed import SWAPS_HEADING, swap_line

DATA = Path(__file__).with_name("data")
SIZES = st.integers(0, 2**40).map(lambda size: size * 1024)
SWAPS = st.builds(
    Swap,
    name=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
    type=st.sampled_from(["partition", "file"]),
    size=SIZES,
    used=SIZES,
    priority=st.integers(-2, 32767),
)


def test_real_meminfo() -> None:
    """The figures of a real live system, in bytes."""
    memory = parse_meminfo((DATA / "meminfo.txt").read_text())
    assert (memory.total, memory.available) == (996368 * 1024, 766144 * 1024)
    assert (memory.dirty, memory.writeback) == (464 * 1024, 0)
    assert (memory.unevictable, memory.mlocked, memory.shmem) == (28404 * 1024, 26700 * 1024, 2816 * 1024)
    assert (memory.swap_total, memory.swap_free) == (0, 0)


def test_field_that_the_kernel_does_not_print_is_unknown() -> None:
    """Kernels before 3.14 do not estimate what is available: that is None, not 0."""
    text = (DATA / "meminfo.txt").read_text().replace("MemAvailable", "MemImaginable")
    assert parse_meminfo(text).available is None


def test_available_is_at_least() -> None:
    """Without the kernel's word half of what can be dropped counts: never more than the kernel itself would say."""
    text = (DATA / "meminfo.txt").read_text()
    told, guessed = parse_meminfo(text), parse_meminfo(text.replace("MemAvailable", "MemImaginable"))
    assert told.available_at_least == told.available
    assert guessed.available_at_least == (725952 + (22300 + 137704) // 2 + 15552 // 2) * 1024 - 996368 * 1024 // 6
    assert told.available is not None
    assert told.available * 0.8 < guessed.available_at_least <= told.available


def test_field_that_every_kernel_prints_is_missed() -> None:
    """Without MemTotal it is no meminfo, and the error says what is missing."""
    with pytest.raises(KernelTextError, match="meminfo: expected a line 'MemTotal: NUMBER kB'"):
        parse_meminfo("MemFree: 1 kB\n")


@given(st.text() | st.text("MemTotal:0123456789 kB\n"))
def test_garbage_is_a_kernel_text_error(text: str) -> None:
    """Anything else is refused in one way."""
    for parse in (parse_meminfo, parse_swaps):
        try:
            parse(text)
        except KernelTextError:
            continue


@given(st.lists(SWAPS))
def test_swaps_round_trip(swaps: list[Swap]) -> None:
    """Areas under any name are read back."""
    assert parse_swaps(SWAPS_HEADING + "".join(map(swap_line, swaps))) == tuple(swaps)


def test_swap_on_zram_is_no_room() -> None:
    """What is swapped out to zram stays in memory."""
    disk = Swap("/dev/vda2", "partition", 1000, 400, -2)
    zram = Swap("/dev/zram0", "partition", 5000, 0, 100)
    assert swap_free_real([disk, zram]) == 600
    assert swap_free_real([zram]) == 0
