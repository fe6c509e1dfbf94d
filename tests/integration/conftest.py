# SPDX-License-Identifier: Apache-2.0
"""What every test on a real kernel may use, and what none of them may leave behind."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def devices() -> frozenset[str]:
    """Device-mapper devices, and loops with a file, by the kernel's own list."""
    block = Path("/sys/block")
    mapped = {f"device-mapper device {(dm / 'dm/name').read_text().strip()}" for dm in block.glob("dm-*")}
    loops = {f"loop device {file.parts[3]}" for file in block.glob("loop*/loop/backing_file")}
    return frozenset(mapped | loops)


def mounts() -> frozenset[str]:
    """Mount points with their mount ids: a second mount on the same place is another one."""
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return frozenset(f"mount {fields[4]} ({fields[0]})" for fields in lines)


@pytest.fixture(autouse=True)
def kernel_left_clean() -> Iterator[None]:
    """A test that leaves a device or a mount behind fails."""
    before = devices() | mounts()
    yield
    left = (devices() | mounts()) - before
    if left:
        pytest.fail(f"left behind in the kernel: {', '.join(sorted(left))}", pytrace=False)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of its own, 512 MiB at most and as empty as can be: for backing files of loops, say."""
    place = tmp_path / "scratch"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


ModuleLoader = Callable[..., None]


@pytest.fixture
def kernel_module() -> Iterator[ModuleLoader]:
    """Load a kernel module, with parameters, for this test: `kernel_module("zram", "num_devices=1")`."""
    loaded: list[str] = []

    def load(name: str, *parameters: str) -> None:
        if os.path.exists(f"/sys/module/{name}"):
            return
        subprocess.run(["modprobe", name, *parameters], check=True)
        loaded.append(name)

    yield load
    for name in reversed(loaded):
        subprocess.run(["modprobe", "-r", name], check=True)
