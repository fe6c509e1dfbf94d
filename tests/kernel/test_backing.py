# SPDX-License-Identifier: Apache-2.0
"""A loop's backing file counts only where a path leads to that very file."""

import os
from pathlib import Path

from overlaywatch.kernel.backing import BackingFiles, candidate_paths
from overlaywatch.kernel.loop import LoopDevice
from overlaywatch.kernel.machine import LiveMachine
from overlaywatch.kernel.mountinfo import MountInfo


def loop_over(file: Path, seen_as: str, deleted: bool = False) -> LoopDevice:
    """A loop that was set up when `file` was seen under another path."""
    found = file.stat()
    return LoopDevice(
        major=7,
        minor=0,
        name="loop0",
        backing_file=seen_as,
        deleted=deleted,
        offset=0,
        sizelimit=0,
        size_bytes=None,
        read_only=False,
        autoclear=False,
        backing_device=(os.major(found.st_dev), os.minor(found.st_dev)),
        backing_inode=found.st_ino,
    )


def mount_at(point: Path) -> MountInfo:
    """A mount of the file system that `point` lies on."""
    device = point.stat().st_dev
    return MountInfo(1, 0, os.major(device), os.minor(device), "/", str(point), ("rw",), "tmpfs", "tmpfs", ("rw",))


def sparse(file: Path) -> Path:
    """A file of 1 MiB, of which at most 8 KiB are there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as opened:
        opened.write(b"x" * 4096)
        opened.truncate(2**20)
    return file


def test_file_under_its_own_path(tmp_path: Path) -> None:
    """Size and allocation, as stat(2) has them."""
    file = sparse(tmp_path / "cow")
    size, allocated = BackingFiles(LiveMachine()).allocation(loop_over(file, str(file)), ()) or (0, 0)
    assert size == 2**20
    assert 4096 <= allocated < 2**20


def test_file_whose_mount_was_moved(tmp_path: Path) -> None:
    """Below another mount point the same end of the path leads to it."""
    file = sparse(tmp_path / "run/live/overlay/cow")
    loop = loop_over(file, "/live/overlay/cow")
    files = BackingFiles(LiveMachine())
    assert files.allocation(loop, [mount_at(tmp_path / "run/live")]) is not None
    assert files.allocation(loop, ()) is not None, "the path that was found is remembered"


def test_another_file_under_the_path_does_not_count(tmp_path: Path) -> None:
    """What was put in its place is not the backing file, also when the path was right before."""
    file = sparse(tmp_path / "cow")
    loop = loop_over(file, str(file))
    files = BackingFiles(LiveMachine())
    assert files.allocation(loop, ()) is not None
    file.rename(tmp_path / "moved")
    sparse(file)
    assert files.allocation(loop, ()) is None
    assert BackingFiles(LiveMachine()).allocation(loop, ()) is None


def test_file_that_cannot_be_found_is_looked_for_once(tmp_path: Path) -> None:
    """Until something changes; then again."""
    file = sparse(tmp_path / "cow")
    loop = loop_over(file, "/nowhere/cow")
    files = BackingFiles(LiveMachine())
    assert files.allocation(loop, ()) is None
    assert files.allocation(loop, [mount_at(tmp_path)]) is None
    files.forget()
    assert files.allocation(loop, [mount_at(tmp_path)]) is not None


def test_unlinked_file_has_no_path(tmp_path: Path) -> None:
    """No path is tried for a file that is known to have none, nor for one whose inode is not known."""
    file = sparse(tmp_path / "cow")
    assert list(candidate_paths(loop_over(file, str(file), deleted=True), [mount_at(tmp_path)])) == []
