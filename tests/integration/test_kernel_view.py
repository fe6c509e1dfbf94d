# SPDX-License-Identifier: Apache-2.0
"""The kernel view on a real kernel: loops and file systems in every state of being seen and hidden."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from overlaywatch.kernel.dm_open import open_dm_reader
from overlaywatch.kernel.loop import LoopDevice
from overlaywatch.kernel.machine import LiveMachine
from overlaywatch.kernel.uevent import Uevent, UeventSocket
from overlaywatch.kernel.view import KernelReader
from tests.integration import devices
from tests.integration.conftest import ModuleLoader
from tests.integration.devices import MIB, run

pytestmark = pytest.mark.kernel


@pytest.fixture
def reader() -> Iterator[KernelReader]:
    """A reader of this kernel, as the daemon has it."""
    machine = LiveMachine()
    with contextlib.closing(KernelReader(machine, open_dm_reader("auto", machine))) as opened:
        yield opened


def loop_at(reader: KernelReader, loop: devices.Loop) -> LoopDevice:
    """What a fresh look says about a loop."""
    reader.invalidate()
    number = loop.node.stat().st_rdev
    return reader.look().loops[os.major(number), os.minor(number)]


def number_at(path: Path) -> tuple[int, int]:
    """(major, minor) of the file system at a path."""
    device = path.stat().st_dev
    return os.major(device), os.minor(device)


def test_loop_over_a_file_that_is_there(reader: KernelReader, scratch: Path) -> None:
    """Path, identity, offset and allocation of the backing file."""
    with devices.loop(scratch / "cow", 4 * MIB, ["--offset", "4096", "--sizelimit", str(MIB)]) as loop:
        found = loop_at(reader, loop)
        assert (found.backing_file, found.deleted) == (str(scratch / "cow"), False)
        assert (found.backing_device, found.backing_inode) == (number_at(scratch), (scratch / "cow").stat().st_ino)
        assert (found.offset, found.sizelimit, found.size_bytes) == (4096, MIB, MIB)
        assert reader.look().file_allocation(found) == (4 * MIB, 0)
        devices.write(loop.node, 65536)
        assert reader.look().file_allocation(found) == (4 * MIB, 65536)


def test_loop_over_an_unlinked_file(reader: KernelReader, scratch: Path) -> None:
    """Its identity stays, its path is gone."""
    with devices.loop(scratch / "overlay", MIB) as loop:
        inode = (scratch / "overlay").stat().st_ino
        (scratch / "overlay").unlink()
        found = loop_at(reader, loop)
        assert (found.deleted, found.backing_inode) == (True, inode)
        assert found.backing_file == str(scratch / "overlay")
        assert reader.look().file_allocation(found) is None


def test_loop_over_a_file_on_a_hidden_tmpfs(reader: KernelReader, tmp_path: Path) -> None:
    """After a lazy unmount the path is cut, and only the device number leads to the file system."""
    place = tmp_path / "hidden"
    place.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place))
    with contextlib.ExitStack() as stack:
        try:
            loop = stack.enter_context(devices.loop(place / "cow", 4 * MIB))
            number, visible = number_at(place), reader.look().statvfs(str(place))
        finally:
            run("umount", "--lazy", str(place))
        found = loop_at(reader, loop)
        assert (found.backing_file, found.backing_device) == ("/cow", number)
        assert reader.look().file_allocation(found) is None
        assert number not in {mount.device for mount in reader.look().mounts}
        before = reader.look().ustat(*number)
        assert before is not None
        assert before.blocks_free == visible.blocks_free
        devices.write(loop.node, MIB)
        after = reader.look().ustat(*number)
        assert after is not None
        assert before.blocks_free - after.blocks_free == MIB // visible.block_size


def test_mount_table_follows(reader: KernelReader, scratch: Path) -> None:
    """A mount, a remount with another size and an unmount are seen at the next look, without a refresh."""
    place = scratch / "deep er"
    place.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place))
    try:
        first = reader.look().mounts
        (mount,) = [mount for mount in first if mount.mount_point == str(place)]
        assert mount.device == number_at(place) == reader.look().stat_device(str(place))
        assert "size=1024k" in mount.super_options
        assert reader.look().mounts is first
        run("mount", "-o", "remount,size=2m", str(place))
        (mount,) = [mount for mount in reader.look().mounts if mount.mount_point == str(place)]
        assert "size=2048k" in mount.super_options
    finally:
        run("umount", str(place))
    assert str(place) not in {mount.mount_point for mount in reader.look().mounts}


def test_ext4_and_its_device(reader: KernelReader, scratch: Path) -> None:
    """Name and size of the device, and how many errors the file system has counted."""
    with devices.loop(scratch / "image", 16 * MIB) as loop:
        run("mkfs.ext4", "-q", str(loop.node))
        place = scratch / "mounted"
        place.mkdir()
        run("mount", str(loop.node), str(place))
        try:
            number = number_at(place)
            view = reader.look()
            assert view.device_name(*number) == loop.node.name
            assert view.size_bytes(*number) == 16 * MIB
            assert view.errors_count(*number) == 0
            Path(f"/sys/fs/ext4/{loop.node.name}/trigger_fs_error").write_text("a test")
            # The count is taken down by a worker of the kernel, a little later.
            while reader.look().errors_count(*number) == 0:
                time.sleep(0.02)
            assert reader.look().errors_count(*number) == 1
        finally:
            run("umount", str(place))


def test_events_of_loops(scratch: Path) -> None:
    """A loop that gets a longer file is heard of at once."""
    with contextlib.closing(UeventSocket()) as events, devices.loop(scratch / "file", MIB) as loop:
        events.read()
        loop.grow(2 * MIB)
        number = loop.node.stat().st_rdev
        resized = Uevent("change", "block", loop.node.name, os.major(number), os.minor(number))
        assert resized in events.read()


@pytest.mark.kernel(lab=True)
def test_swap_on_zram_is_no_room(reader: KernelReader, kernel_module: ModuleLoader, scratch: Path) -> None:
    """Swap on a disk counts, swap on zram does not."""
    kernel_module("zram", "num_devices=1")
    Path("/sys/block/zram0/disksize").write_text(str(16 * MIB))
    with devices.loop(scratch / "swap", 8 * MIB) as loop:
        for node in ("/dev/zram0", str(loop.node)):
            run("mkswap", node)
            run("swapon", node)
        try:
            view = reader.look()
            assert view.meminfo.swap_total == 24 * MIB - 2 * 4096
            assert view.swap_free_bytes == 8 * MIB - 4096
        finally:
            for node in ("/dev/zram0", str(loop.node)):
                run("swapoff", node)


WORLD = """
import json, subprocess, sys
from pathlib import Path
from overlaywatch.kernel.machine import LiveMachine
from overlaywatch.kernel.view import KernelReader
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "private", sys.argv[1]], check=True)
view = KernelReader(LiveMachine(), None).look()
private = "private" in {mount.source for mount in view.mounts}
Path(sys.argv[2] + ".new").write_text(json.dumps([private, view.statvfs(sys.argv[1]).blocks]))
Path(sys.argv[2] + ".new").rename(sys.argv[2])
"""


@pytest.mark.kernel(lab=True)
@pytest.mark.parametrize("service", [True, False], ids=["as a service", "by a person"])
def test_private_mounts(scratch: Path, tmp_path: Path, service: bool) -> None:
    """A service in a mount namespace of its own sees the machine's file systems; a person sees their own."""
    place, answer = scratch / "place", tmp_path / "answer"
    place.mkdir()
    command = ["unshare", "--mount", sys.executable, "-c", WORLD, str(place), str(answer)]
    if service:
        # Left alone by its parent it becomes a child of process 1, as a service is.
        command = ["sh", "-c", '"$@" &', "sh", *command]
    subprocess.run(command, check=True)
    while not answer.exists():
        time.sleep(0.02)
    machine = os.statvfs(place).f_blocks
    assert json.loads(answer.read_text()) == ([False, machine] if service else [True, 16])
