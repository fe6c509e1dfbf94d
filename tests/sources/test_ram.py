# SPDX-License-Identifier: Apache-2.0
"""RAM: what is available, what a cgroup leaves of it, and whom swap helps."""

from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.cgroup import MemoryLimit
from overlaywatch.kernel.meminfo import MemInfo
from overlaywatch.model import Failure, Reading
from overlaywatch.sources.ram import RamSource
from overlaywatch.units import GIB, MIB
from tests.sources.test_live_machines import memory, root
from tests.sources.views import StaticView, figures


def look(info: MemInfo, *limits: MemoryLimit) -> Reading:
    """RAM in one look."""
    return RamSource().survey(StaticView(memory=info, limits=limits), 0.0).readings[0]


def test_a_reserve_is_kept_and_the_ratio_is_1_without_it() -> None:
    """A 64th of what is available."""
    seen = look(memory(GIB, 640 * MIB))

    assert (seen.headroom_bytes, seen.reserved_bytes) == (630 * MIB, 10 * MIB)
    assert seen.used_bytes == GIB - 640 * MIB
    assert seen.details == {"available_bytes": 640 * MIB}


def test_the_least_that_a_cgroup_has_left_counts() -> None:
    """64 MiB of a limit of 200, though the machine has 640."""
    seen = look(memory(GIB, 640 * MIB), MemoryLimit("/user.slice", 200 * MIB, 64 * MIB, None))

    assert (seen.size_bytes, seen.used_bytes, seen.headroom_bytes) == (200 * MIB, 136 * MIB, 62 * MIB)
    assert seen.details["limited_by_cgroup"] == "/user.slice"


def test_a_cgroup_with_more_than_the_machine_is_no_limit() -> None:
    """It is only a number."""
    assert look(memory(GIB, 64 * MIB), MemoryLimit("/user.slice", 8 * GIB, 7 * GIB, None)).size_bytes == GIB


def test_swap_helps_a_cgroup_as_far_as_it_may_use_it() -> None:
    """Its own limit, or that of the machine."""
    info = memory(GIB, 640 * MIB, swap_free=GIB)

    assert look(info).swap_bytes == GIB
    assert look(info, MemoryLimit("/a.slice", 200 * MIB, 64 * MIB, 10 * MIB)).swap_bytes == 10 * MIB
    assert look(info, MemoryLimit("/a.slice", 200 * MIB, 64 * MIB, None)).swap_bytes == GIB
    assert look(info, MemoryLimit("/a.slice", GIB, 700 * MIB, 0)).swap_bytes == 60 * MIB


def test_a_tmpfs_in_a_container_ends_with_the_memory_of_the_container() -> None:
    """Its size is half of the machine's RAM; its cgroup has less."""
    view = StaticView(
        "20 1 0:30 / / rw - tmpfs tmpfs rw\n",
        statvfs={"/": figures(4 * GIB, 3 * GIB)},
        memory=memory(8 * GIB, 6 * GIB),
        limits=[MemoryLimit("/", 512 * MIB, 128 * MIB, 0)],
    )

    found = root(view)

    assert (found.limit, found.failure, found.headroom_bytes) == ("ram", Failure.OOM, 126 * MIB)


@given(
    available=st.integers(0, GIB),
    swap=st.integers(0, GIB),
    limits=st.lists(st.tuples(st.integers(0, GIB), st.none() | st.integers(0, GIB)), max_size=3),
)
def test_room_is_never_more_than_machine_or_cgroup_have(
    available: int, swap: int, limits: list[tuple[int, int | None]]
) -> None:
    """Neither for those who can be swapped nor for those who cannot."""
    cgroups = [MemoryLimit(f"/{index}.slice", GIB, *one) for index, one in enumerate(limits)]

    seen = look(memory(GIB, available, swap_free=swap), *cgroups)

    assert seen.headroom_bytes is not None
    assert 0 <= seen.headroom_bytes <= min([available, *(room for room, _ in limits)])
    assert seen.swap_bytes >= 0
    for room, own in [(available, swap), *((room, swap if own is None else min(swap, own)) for room, own in limits)]:
        assert seen.headroom_bytes + seen.swap_bytes <= room + own
