# SPDX-License-Identifier: Apache-2.0
"""What purge would delete: on real tmpfs mounts, with everything in the tree that must not go."""

import os
import re
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from overlaywatch.actions.purge import PurgeAction, PurgePlan
from overlaywatch.model import LayerState
from tests.actions.facts import Desk, decision, surroundings, table
from tests.actions.private_mounts import in_private_mounts, mount, mount_tmpfs
from tests.actions.trees import KIB, MIB, everything_below, looks, plan_for, planned, purge, put


@in_private_mounts
def test_files_that_match_and_are_old_enough_are_planned(tmp_path: Path) -> None:
    """Below the patterns, at any depth, and nothing beside them."""
    root = mount_tmpfs(tmp_path / "m")
    for name in ("cache/a", "cache/d/e/b", "cache/.hidden/c", "other/d", "cachet"):
        put(root / name)
    assert sorted(planned(plan_for(root))) == ["cache/.hidden/c", "cache/a", "cache/d/e/b"]


@in_private_mounts
def test_planning_changes_nothing(tmp_path: Path) -> None:
    """Not a file, not a time, not even the access time of a folder: on a snapshot that would cost room."""
    root = mount_tmpfs(tmp_path / "m")
    mount("-o", "remount,strictatime", root)
    for index in range(20):
        put(root / f"cache/{index % 4}/{index}", age=5000)
    paths = everything_below(root)
    before = looks(paths)
    assert len(planned(plan_for(root))) == 20
    assert looks(paths) == before
    os.listdir(root / "cache/1")
    assert looks(paths) != before, "this mount would not have told"


@in_private_mounts
def test_old_before_young_and_large_before_small(tmp_path: Path) -> None:
    """Ages within a factor of two count as one, so that few large files go rather than many small ones."""
    root = mount_tmpfs(tmp_path / "m")
    action = purge(root)
    small, large = put(root / "cache/small", 4 * KIB), put(root / "cache/large", MIB)
    plan = action.plan(decision(str(root)), surroundings())
    assert planned(plan) == ["cache/large", "cache/small"]
    assert isinstance(plan.payload, PurgePlan)
    assert [file.room_bytes for file in plan.payload.files] == [MIB, 4 * KIB]
    assert all(f"{path} (" in step for path, step in zip((large, small), plan.steps, strict=True))


@in_private_mounts
def test_only_as_much_as_is_needed_is_planned(tmp_path: Path) -> None:
    """The sum covers what is missing to until_headroom, and the next file stays."""
    root = mount_tmpfs(tmp_path / "m", "16m")
    for index in range(10):
        put(root / f"cache/{index}", MIB)
    headroom = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
    plan = plan_for(root, until_headroom=headroom + 2 * MIB + 1)
    assert (plan.needs_bytes, len(planned(plan))) == (2 * MIB + 1, 3)


@in_private_mounts
def test_bounds_of_the_configuration_hold(tmp_path: Path) -> None:
    """max_files and max_bytes bound each run; a file that is too large is passed over for smaller ones."""
    root = mount_tmpfs(tmp_path / "m")
    put(root / "cache/large", 2 * MIB)
    for index in range(5):
        put(root / f"cache/{index}", 64 * KIB)
    assert planned(plan_for(root, max_files=1)) == ["cache/large"]
    assert planned(plan_for(root, max_bytes=130 * KIB)) == ["cache/0", "cache/1"]


@in_private_mounts
def test_young_files_stay(tmp_path: Path) -> None:
    """The newest of all times counts: an old mtime does not make a file old that was put there just now."""
    root = mount_tmpfs(tmp_path / "m")
    put(root / "cache/copied-with-old-mtime", age=400 * 86400)
    plan = plan_for(root, older_than="3h")
    assert planned(plan) == []
    assert "1 too young" in plan.refusal


@in_private_mounts
def test_file_that_was_read_is_young(tmp_path: Path) -> None:
    """A recent access time protects a file; one of the future does, too."""
    root = mount_tmpfs(tmp_path / "m")
    put(root / "cache/of-the-future", age=-10 * 86400)
    put(root / "cache/old")
    assert planned(plan_for(root)) == ["cache/old"]


@in_private_mounts
def test_nothing_but_regular_files_is_planned(tmp_path: Path) -> None:
    """Devices, FIFOs, sockets, symbolic links and folders stay."""
    root = mount_tmpfs(tmp_path / "m")
    put(root / "cache/file")
    os.mkfifo(root / "cache/fifo")
    os.mknod(root / "cache/device", 0o600 | stat.S_IFBLK, os.makedev(7, 0))
    os.symlink("file", root / "cache/link")
    (root / "cache/folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{root}/cache/socket")
        plan = plan_for(root)
    assert planned(plan) == ["cache/file"]
    assert any("3 not a regular file" in step for step in plan.steps)


@in_private_mounts
def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    """Neither on the way nor at the beginning of a pattern; and the plan says so, or it would be a riddle."""
    root = mount_tmpfs(tmp_path / "m")
    put(root / "secrets/key")
    (root / "cache").mkdir()
    os.symlink("../secrets", root / "cache/down")
    os.symlink("secrets", root / "alias")
    plan = plan_for(root, ("cache/**", "alias/*", "cache/down/key"))
    assert planned(plan) == []
    assert f"{root}/alias is a symbolic link and is not followed" in plan.refusal


@in_private_mounts
def test_hard_links_stay(tmp_path: Path) -> None:
    """Removing one name of several gives nothing back."""
    root = mount_tmpfs(tmp_path / "m")
    os.link(put(root / "cache/one"), root / "cache/two")
    plan = plan_for(root)
    assert planned(plan) == []
    assert "2 has another name (hard link)" in plan.refusal


@in_private_mounts
def test_files_in_use_stay(tmp_path: Path) -> None:
    """A file that another process has open, or mapped without a descriptor, gives nothing back until it ends."""
    root = mount_tmpfs(tmp_path / "m")
    opened, mapped = put(root / "cache/opened"), put(root / "cache/mapped")
    put(root / "cache/free")
    script = (
        "import mmap, sys; held = open(sys.argv[1]); file = open(sys.argv[2], 'rb')\n"
        "memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ); file.close()\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    command = ["python3", "-c", script, str(opened), str(mapped)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        assert planned(plan_for(root)) == ["cache/free"]
        holder.communicate()
    assert sorted(planned(plan_for(root))) == ["cache/free", "cache/mapped", "cache/opened"]


@in_private_mounts
def test_other_mounts_are_not_entered(tmp_path: Path) -> None:
    """A tmpfs below, a bind mount of the very same file system, a file that is a mount point: none is touched."""
    root = mount_tmpfs(tmp_path / "m")
    put(mount_tmpfs(root / "cache/tmpfs") / "a")
    put(root / "other/b")
    (root / "cache/bind").mkdir()
    mount("--bind", root / "other", root / "cache/bind")
    mount("--bind", root / "other/b", put(root / "cache/file"))
    put(root / "cache/own")
    plan = plan_for(root)
    assert planned(plan) == ["cache/own"]
    assert any("3 on another mount" in step for step in plan.steps)


@in_private_mounts
def test_mount_point_may_be_deeper_than_the_pattern(tmp_path: Path) -> None:
    """Of a pattern that spans mounts, the part on the mount in need is purged, and nothing elsewhere."""
    outer = mount_tmpfs(tmp_path / "m")
    inner = mount_tmpfs(outer / "a/deep")
    put(outer / "a/x")
    put(inner / "y")
    assert planned(purge(outer, ("a/**",)).plan(decision(str(inner)), surroundings())) == ["y"]
    assert planned(purge(outer, ("b/**",)).plan(decision(str(inner)), surroundings())) == []


@in_private_mounts
def test_names_may_hold_any_byte(tmp_path: Path) -> None:
    """Names that are no text are planned like others, and printed so that no terminal obeys them."""
    root = mount_tmpfs(tmp_path / "m")
    names = [b"\xff\xfe", b"a\nb", b"\x1b[2J", b"-rf", b" ", b"*", bytes(range(1, 47)) + bytes(range(48, 200))]
    (root / "cache").mkdir()
    for name in names:
        with open(os.fsencode(root / "cache") + b"/" + name, "wb") as file:
            file.write(b"x" * KIB)
    plan = plan_for(root)
    assert sorted(os.fsencode(path) for path in planned(plan)) == sorted(b"cache/" + name for name in names)
    assert all(step.isprintable() for step in plan.steps)
    assert any(r"\xff\xfe" in step for step in plan.steps)
    assert any(r"\x1b[2J" in step for step in plan.steps)


@in_private_mounts
def test_folders_named_lost_and_found_are_left_alone(tmp_path: Path) -> None:
    """What fsck puts there is somebody's data."""
    root = mount_tmpfs(tmp_path / "m")
    put(root / "cache/lost+found/#12")
    assert "1 protected folder" in plan_for(root).refusal


@in_private_mounts
def test_very_deep_trees_come_to_an_end(tmp_path: Path) -> None:
    """Nobody can use up our descriptors or our stack with folders in folders."""
    root = mount_tmpfs(tmp_path / "m")
    folder = os.open(root, os.O_RDONLY)
    for name in ["cache", *["d"] * 500]:
        os.mkdir(name, dir_fd=folder)
        deeper = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
    os.close(folder)
    assert "1 too deep" in plan_for(root).refusal


@in_private_mounts
def test_endless_trees_come_to_an_end(tmp_path: Path) -> None:
    """When the time to look is over, the plan is what was found until then, and says that there is more."""
    root = mount_tmpfs(tmp_path / "m")
    for index in range(300):
        put(root / f"cache/{index}", 16)
    clock = iter(range(10**6))
    around = surroundings(monotonic=lambda: next(clock) * 0.005)
    plan = purge(root).plan(decision(str(root)), around)
    assert 0 < len(planned(plan)) < 300
    assert plan.steps[-1] == "note: there was more to look at than the time allowed"


@in_private_mounts
def test_room_enough_means_nothing_to_do(tmp_path: Path) -> None:
    """The headroom is measured when the plan is made, not when the stage began."""
    root = mount_tmpfs(tmp_path / "m")
    put(root / "cache/a")
    plan = plan_for(root, until_headroom="1MiB")
    assert (planned(plan), plan.refusal.partition(":")[0]) == ([], "there is room enough")


@in_private_mounts
def test_unknown_headroom_deletes_nothing(tmp_path: Path) -> None:
    """Who cannot know when to stop does not start."""
    root = mount_tmpfs(tmp_path / "m")
    put(root / "cache/a")
    plan = purge(root, until_headroom="1GiB").plan(decision(str(root)), surroundings(lambda _: None))
    assert (planned(plan), "is unknown" in plan.refusal) == ([], True)


@pytest.mark.parametrize("state", [LayerState.OVERFLOW, LayerState.INVALID, LayerState.NEEDS_CHECK])
def test_broken_layers_are_not_purged(state: LayerState, tmp_path: Path) -> None:
    """Deleting writes, and nothing can be written any more."""
    broken = decision(str(tmp_path), states=frozenset({LayerState.OK, state}))
    plan = purge(tmp_path).plan(broken, surroundings())
    assert re.search(f"{state.value}: nothing can be deleted", plan.refusal)


def test_what_is_no_mount_point_any_more_is_not_purged(tmp_path: Path) -> None:
    """After umount the path leads to another file system, whose files are not meant."""
    put(tmp_path / "cache/a")
    plan = purge(tmp_path).plan(decision(str(tmp_path)), surroundings())
    assert (planned(plan), "not a mount point any more" in plan.refusal) == ([], True)


def test_captured_machines_have_no_files(tmp_path: Path) -> None:
    """`plan --root` of a recording never lists the files of the machine that it is shown on."""
    action = PurgeAction.from_table(table(paths=[f"{tmp_path}/*"]), Desk().context(captured=True))
    assert action.plan(decision("/"), surroundings()).refusal == "a captured machine has no files to look at"
