# SPDX-License-Identifier: Apache-2.0
"""Memory limits of cgroups: which count, and what is left of them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.captured import CapturedMachine
from overlaywatch.kernel.cgroup import MemoryLimit, find_cgroups, parse_limit, parse_stat, read_limit
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.machine import Machine
from overlaywatch.units import MIB

STAT = (
    "anon 1048576\nfile 62914560\nshmem 52428800\n"
    "inactive_file 8388608\nactive_file 2097152\nslab_reclaimable 1048576\n"
)


def limits(machine: Machine) -> list[MemoryLimit | None]:
    """What a look finds."""
    return [read_limit(machine, *one, Path.read_bytes) for one in find_cgroups(machine)]


def write(folder: Path, **files: str) -> None:
    """A cgroup; `memory_max` is the file `memory.max`, and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{text}\n")


@pytest.fixture
def machine(tmp_path: Path) -> CapturedMachine:
    """A host with three slices; the root of its hierarchy has no limit, and no file for one."""
    machine = CapturedMachine(tmp_path)
    top = machine.root.sys / "fs" / "cgroup"
    write(top / "system.slice", memory_max="max", memory_current="1", memory_stat=STAT)
    write(top / "system.slice" / "db.service", memory_max="1", memory_current="1", memory_stat=STAT)
    write(top / "user.slice", memory_max=str(100 * MIB), memory_current=str(60 * MIB), memory_stat=STAT)
    write(top / "dev-hugepages.mount", memory_max="1", memory_current="1", memory_stat=STAT)
    return machine


def test_slices_right_below_the_root_count(machine: CapturedMachine) -> None:
    """Not services, nor mounts; file cache that can be dropped is not use, pages of tmpfs are."""
    assert limits(machine) == [None, MemoryLimit("/user.slice", 100 * MIB, 51 * MIB, None)]


def test_swap_has_a_limit_of_its_own(machine: CapturedMachine) -> None:
    """memory.swap.max less what is swapped out."""
    folder = machine.root.sys / "fs" / "cgroup" / "user.slice"
    (folder / "memory.swap.max").write_text(f"{30 * MIB}\n")
    (folder / "memory.swap.current").write_text(f"{10 * MIB}\n")

    found = limits(machine)[1]

    assert found is not None
    assert found.swap == 20 * MIB


def test_in_a_container_the_root_has_a_limit(tmp_path: Path) -> None:
    """Its own cgroup is the root that it sees."""
    machine = CapturedMachine(tmp_path)
    write(machine.root.sys / "fs" / "cgroup", memory_max=str(64 * MIB), memory_current="0", memory_stat="anon 0")

    assert limits(machine) == [MemoryLimit("/", 64 * MIB, 64 * MIB, None)]


def test_version_1(tmp_path: Path) -> None:
    """Other names, and a number where there is no limit."""
    machine = CapturedMachine(tmp_path)
    top = machine.root.sys / "fs" / "cgroup" / "memory"
    write(top, memory_limit_in_bytes="9223372036854771712", memory_usage_in_bytes="5", memory_stat="cache 5")
    write(
        top / "user.slice",
        memory_limit_in_bytes=str(90 * MIB),
        memory_usage_in_bytes=str(50 * MIB),
        memory_stat=f"total_inactive_file {5 * MIB}\ninactive_file 1",
    )

    assert limits(machine) == [None, MemoryLimit("/user.slice", 90 * MIB, 45 * MIB, None)]


def test_no_cgroups(tmp_path: Path) -> None:
    """Or not mounted."""
    assert find_cgroups(CapturedMachine(tmp_path)) == ()


def test_more_in_use_than_the_limit_is_no_room(machine: CapturedMachine) -> None:
    """The limit was lowered below the use."""
    (machine.root.sys / "fs" / "cgroup" / "user.slice" / "memory.current").write_text(f"{200 * MIB}\n")

    found = limits(machine)[1]

    assert found is not None
    assert found.available == 0


@given(st.binary())
def test_a_limit_is_a_number_or_refused(content: bytes) -> None:
    """Nothing is made up."""
    try:
        limit = parse_limit(content)
    except KernelTextError:
        return
    assert limit is None or limit >= 0


@given(st.text())
def test_statistics_are_never_negative(text: str) -> None:
    """Lines that are not understood are left out."""
    assert all(figure >= 0 for figure in parse_stat(text).values())
