# SPDX-License-Identifier: Apache-2.0
"""Opening below a directory: the kernel's openat2 and the fallback of old kernels lead to the same places."""

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from overlaywatch.kernel import beneath
from overlaywatch.kernel.openfiles import identity, mapped_paths, read_in_use
from overlaywatch.kernel.root import KernelRoot
from tests.actions.private_mounts import in_private_mounts, mount, mount_tmpfs

Opener = Callable[[int, str, int, int], int]
OPENERS: list[Opener] = [beneath.open_by_openat2, beneath.open_by_steps]
HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
STAY = beneath.RESOLVE_BENEATH | beneath.RESOLVE_NO_SYMLINKS | beneath.RESOLVE_NO_MAGICLINKS | beneath.RESOLVE_NO_XDEV


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of a folder."""
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def tree(folder: Path) -> Path:
    """Every kind of step that a path can take, on a tmpfs."""
    root = mount_tmpfs(folder / "m")
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/file").write_text("x")
    (root / "link").symlink_to("a")
    (root / "a/up").symlink_to("..")
    (root / "a/out").symlink_to("/etc")
    (root / "dangling").symlink_to("nowhere")
    mount_tmpfs(root / "other")
    (root / "other/file").write_text("x")
    (root / "bind").mkdir()
    mount("--bind", root / "a", root / "bind")
    (root / "bound").write_text("x")
    mount("--bind", root / "a/b/file", root / "bound")
    return root


def outcome(opener: Opener, root: int, path: str) -> int | str:
    """The inode that is reached, or the error."""
    try:
        fd = opener(root, path, HANDLE, STAY)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    try:
        return os.fstat(fd).st_ino
    finally:
        os.close(fd)


@in_private_mounts
def test_both_ways_come_to_the_same_place(tmp_path: Path) -> None:
    """For each kind of path, either both reach the same inode, or neither reaches any."""
    root = tree(tmp_path)
    inside = ["a", "a/b", "a/b/file", "a//b/./file", ".", "link", "dangling"]
    outside = ["other", "other/file", "bind", "bind/b", "bound", "link/b", "a/up", "a/up/a", "a/out/passwd"]
    outside += ["..", "../m/a", "/etc", "nothing", "a/b/file/x"]
    with opened(root) as fd:
        for path in inside:
            expected = os.stat(root / path, follow_symlinks=False).st_ino
            assert [outcome(opener, fd, path) for opener in OPENERS] == [expected, expected], path
        for path in [*outside, "dangling/x"]:
            found = [outcome(opener, fd, path) for opener in OPENERS]
            reached = [inode for inode in found if isinstance(inode, int)]
            # A link at the very end is opened as itself by both.
            assert reached == [] or (path == "a/up" and len(set(reached)) == 1), (path, found)


@in_private_mounts
def test_crossing_is_said_to_be_crossing(tmp_path: Path) -> None:
    """EXDEV, so that the summary can say `on another mount`."""
    root = tree(tmp_path)
    with opened(root) as fd:
        for path in ("other", "bind", "bound", "other/file"):
            assert [outcome(opener, fd, path) for opener in OPENERS] == ["EXDEV", "EXDEV"], path


@in_private_mounts
def test_mount_roots_are_recognised(tmp_path: Path) -> None:
    """A mount point, a bind mount and `/` are; a folder within is not."""
    root = tree(tmp_path)
    answers = {}
    for path in (Path("/"), root, root / "bind", root / "other", root / "a"):
        with opened(path) as fd:
            answers[path.name] = beneath.is_mount_root(fd)
    assert answers == {"": True, "m": True, "bind": True, "other": True, "a": False}


@pytest.mark.parametrize("opener", OPENERS)
def test_nothing_stays_open_after_an_error(opener: Opener, tmp_path: Path) -> None:
    """Thousands of files that cannot be opened do not use up the descriptors."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/link").symlink_to("/etc")
    with opened(tmp_path) as fd:
        before = len(os.listdir("/proc/self/fd"))
        for path in ("a/none", "a/link/passwd", "none/x", ".."):
            assert isinstance(outcome(opener, fd, path), str)
        assert len(os.listdir("/proc/self/fd")) == before


def test_identity_is_that_of_stat(tmp_path: Path) -> None:
    """statx and stat agree on device and inode."""
    for path in (tmp_path, Path("/proc/self/status"), Path("/dev/null")):
        assert identity(str(path)) == (path.stat().st_dev, path.stat().st_ino)


def test_files_in_use_are_found(tmp_path: Path) -> None:
    """What this very process has open is in use, and what it has closed is not."""
    file, other = tmp_path / "open", tmp_path / "closed"
    other.write_text("x")
    with open(file, "w", encoding="ascii"):
        in_use = read_in_use(KernelRoot(), lambda: False)
    assert (file.stat().st_dev, file.stat().st_ino, "") in in_use
    assert (other.stat().st_dev, other.stat().st_ino, str(other)) not in in_use


def test_look_for_users_is_bounded() -> None:
    """Told that it is enough, it comes back with what it has."""
    assert read_in_use(KernelRoot(), lambda: True).identities == frozenset()


def test_paths_of_mappings() -> None:
    """The sixth field of /proc/PID/maps, with its escapes; pseudo names are no paths."""
    text = (
        "7f00-7f01 r--p 00000000 fe:00 1234                       /usr/lib/x.so\n"
        "7f01-7f02 r--p 00000000 fe:00 1235                       /var/tmp/with blank\\012and newline\n"
        "7f02-7f03 rw-p 00000000 00:00 0                          [heap]\n"
        "7f03-7f04 rw-p 00000000 00:00 0 \n"
    )
    assert list(mapped_paths(text)) == ["/usr/lib/x.so", "/var/tmp/with blank\nand newline"]


def test_backing_files_of_loops_are_in_use(tmp_path: Path) -> None:
    """A file under a loop device is open in no process; sysfs names it."""
    for name, file in (("loop0", "/var/tmp/image\n"), ("loop1", "/overlay (deleted)\n")):
        (tmp_path / "sys/block" / name / "loop").mkdir(parents=True)
        (tmp_path / "sys/block" / name / "loop/backing_file").write_text(file)
    (tmp_path / "proc").mkdir()
    in_use = read_in_use(KernelRoot.below(tmp_path), lambda: False)
    assert in_use.paths == {"/var/tmp/image", "/overlay (deleted)"}


def test_processes_that_end_meanwhile_do_no_harm() -> None:
    """Processes come and go during the look; it raises nothing."""
    with subprocess.Popen(["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do true | true; done"]) as churner:
        while churner.poll() is None:
            read_in_use(KernelRoot(), lambda: False)
