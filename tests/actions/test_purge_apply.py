# SPDX-License-Identifier: Apache-2.0
"""What purge deletes: exactly the plan, until there is room, and nothing that has become something else."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from overlaywatch.actions.purge import PurgePlan
from overlaywatch.model import OutcomeKind
from tests.actions.facts import FakeClock, decision, statvfs_headroom, surroundings
from tests.actions.private_mounts import in_private_mounts, mount, mount_tmpfs
from tests.actions.trees import KIB, MIB, carry_out, planned, purge, put


def names(root: Path) -> set[str]:
    """The files that are in the cache."""
    return set(os.listdir(root / "cache"))


@in_private_mounts
def test_exactly_the_plan_is_deleted(tmp_path: Path) -> None:
    """The files of the plan go, all others stay, and the gain is the measured one."""
    root = mount_tmpfs(tmp_path / "m")
    for index in range(8):
        put(root / f"cache/{index}", MIB)
    put(root / "keep")
    before = statvfs_headroom(str(root))
    plan, outcome = carry_out(purge(root, until_headroom=before + 3 * MIB), decision(str(root)))
    assert names(root) == {str(index) for index in range(8)} - {Path(path).name for path in planned(plan)}
    assert len(planned(plan)) == 3
    assert (root / "keep").exists()
    assert outcome.kind is OutcomeKind.APPLIED
    assert (outcome.freed_bytes, outcome.reusable_bytes) == (3 * MIB, 0)
    assert statvfs_headroom(str(root)) == before + 3 * MIB
    assert (outcome.action, outcome.type, outcome.policy, outcome.stage) == ("it", "purge", "root", "last-resort")


@in_private_mounts
def test_it_stops_as_soon_as_there_is_room(tmp_path: Path) -> None:
    """When somebody else made room meanwhile, the rest of the plan stays."""
    root = mount_tmpfs(tmp_path / "m")
    for index in range(8):
        put(root / f"cache/{index}", MIB)
    ballast = put(root / "ballast", 3 * MIB)
    action = purge(root, until_headroom=statvfs_headroom(str(root)) + 4 * MIB)
    plan = action.plan(decision(str(root)), surroundings())
    assert len(planned(plan)) == 4
    ballast.unlink()
    outcome = action.apply(plan, surroundings())
    assert len(names(root)) == 7
    assert "there is room enough" in outcome.reason
    assert outcome.freed_bytes == MIB


@in_private_mounts
def test_many_small_files_are_not_overdone(tmp_path: Path) -> None:
    """With small files it measures often enough to stop within one of them."""
    root = mount_tmpfs(tmp_path / "m")
    for index in range(300):
        put(root / f"cache/{index}", 4 * KIB)
    ballast = put(root / "ballast", 200 * 4 * KIB)
    action = purge(root, until_headroom=statvfs_headroom(str(root)) + 250 * 4 * KIB)
    plan = action.plan(decision(str(root)), surroundings())
    ballast.unlink()
    action.apply(plan, surroundings())
    assert len(names(root)) in {250, 249, 248, 247, 246, 245, 244}


@in_private_mounts
def test_without_a_goal_everything_that_matches_goes(tmp_path: Path) -> None:
    """No until_headroom: the patterns alone decide."""
    root = mount_tmpfs(tmp_path / "m")
    for index in range(50):
        put(root / f"cache/{index}")
    _, outcome = carry_out(purge(root), decision(str(root)))
    assert names(root) == set()
    assert outcome.reason.startswith("deleted 50 of 50 files, 3.1 MiB; headroom now 16.0 MiB")


@in_private_mounts
def test_it_stops_when_the_time_is_up(tmp_path: Path) -> None:
    """What is left waits for the next time; what was done counts."""
    root = mount_tmpfs(tmp_path / "m")
    for index in range(100):
        put(root / f"cache/{index}")
    action = purge(root, timeout="1s", until_headroom="1GiB")
    plan = action.plan(decision(str(root)), surroundings())
    clock = FakeClock()

    def slowly(mount_point: str) -> int:
        clock.wait(0.4)
        return statvfs_headroom(mount_point)

    outcome = action.apply(plan, surroundings(slowly, monotonic=clock))
    assert len(names(root)) == 36
    assert outcome.kind is OutcomeKind.APPLIED
    assert "the time is up" in outcome.reason


@in_private_mounts
def test_over_a_snapshot_room_is_reusable_and_not_freed(tmp_path: Path) -> None:
    """Deleting gives the file system room again, while the layer below does not shrink."""
    root = mount_tmpfs(tmp_path / "m")
    put(root / "cache/a", MIB)
    here = decision(str(root), reclaimable=False)
    _, outcome = carry_out(purge(root), here)
    assert (outcome.kind, outcome.freed_bytes, outcome.reusable_bytes) == (OutcomeKind.APPLIED, 0, MIB)
    assert "does not shrink" in outcome.reason


@in_private_mounts
def test_over_a_snapshot_files_of_the_image_stay(tmp_path: Path) -> None:
    """What was there before boot lies in the origin: its blocks cost new chunks, so removing it is no use."""
    root = mount_tmpfs(tmp_path / "m")
    put(root / "cache/a", MIB)
    here = decision(str(root), reclaimable=False)
    plan, outcome = carry_out(purge(root), here, surroundings(uptime=60))
    assert (outcome.kind, names(root)) == (OutcomeKind.REFUSED, {"a"})
    assert "of the image below" in plan.refusal


def rewrite(path: Path) -> None:
    """The same inode with other content."""
    path.write_bytes(b"precious")


def touch(path: Path) -> None:
    """The same inode, just used."""
    os.utime(path)


def replace(path: Path) -> None:
    """Another file of the same name."""
    put(path.with_name("new"))
    path.with_name("new").rename(path)


def link(path: Path) -> None:
    """The same inode with a second name."""
    os.link(path, path.parent.parent / "second")


def swap_for_link(path: Path) -> None:
    """A symbolic link to the very same inode, elsewhere."""
    path.rename(path.parent.parent / "moved")
    path.symlink_to("../moved")


def swap_for_fifo(path: Path) -> None:
    """A FIFO, which would hang whoever opens it."""
    path.unlink()
    os.mkfifo(path)


def swap_for_folder(path: Path) -> None:
    """A folder."""
    path.unlink()
    path.mkdir()


def swap_folder_for_link(path: Path) -> None:
    """The whole folder moves, and a link to it takes its place: inode and name are still the same."""
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.symlink_to("moved")


def cover_by_mount(path: Path) -> None:
    """Another file system over the folder."""
    mount("-t", "tmpfs", "none", path.parent)
    put(path)


CHANGES = [rewrite, touch, replace, link, swap_for_link, swap_for_fifo, swap_for_folder, swap_folder_for_link]


@pytest.mark.parametrize("change", [*CHANGES, cover_by_mount])
@in_private_mounts
def test_what_changed_since_the_plan_stays(change: Callable[[Path], None], tmp_path: Path) -> None:
    """Between plan and deletion a file may become anything: then it is not the file that was planned."""
    root = mount_tmpfs(tmp_path / "m")
    victim = put(root / "cache/a")
    action = purge(root)
    plan = action.plan(decision(str(root)), surroundings())
    assert planned(plan) == ["cache/a"]
    _wait_for_the_clock_of(root)
    change(victim)
    before = sorted(os.walk(root))
    outcome = action.apply(plan, surroundings())
    assert sorted(os.walk(root)) == before
    assert outcome.kind is not OutcomeKind.APPLIED, outcome.reason
    assert outcome.reason.startswith("deleted 0 of 1 files")


def _wait_for_the_clock_of(root: Path) -> None:
    """Times of files move in steps of the kernel's clock tick; until then a change cannot be seen in them."""
    probe = put(root / "probe", 0)
    first = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == first:
        os.utime(probe)


@in_private_mounts
def test_opened_since_the_plan_stays(tmp_path: Path) -> None:
    """A file that somebody has begun to use meanwhile is left to him."""
    root = mount_tmpfs(tmp_path / "m")
    victim = put(root / "cache/a")
    action = purge(root)
    plan = action.plan(decision(str(root)), surroundings())
    with open(victim, "rb"):
        outcome = action.apply(plan, surroundings())
    assert victim.exists()
    assert (outcome.kind, "1 in use" in outcome.reason) == (OutcomeKind.REFUSED, True)


@in_private_mounts
def test_gone_meanwhile_is_no_failure(tmp_path: Path) -> None:
    """Somebody else deleted them: nothing is claimed for it."""
    root = mount_tmpfs(tmp_path / "m")
    put(root / "cache/a")
    action = purge(root)
    plan = action.plan(decision(str(root)), surroundings())
    (root / "cache/a").unlink()
    outcome = action.apply(plan, surroundings())
    assert (outcome.kind, outcome.freed_bytes) == (OutcomeKind.REFUSED, 0)


@in_private_mounts
def test_read_only_file_system_is_a_failure(tmp_path: Path) -> None:
    """It says why, and does not try each file in turn."""
    root = mount_tmpfs(tmp_path / "m")
    put(root / "cache/a")
    put(root / "cache/b")
    action = purge(root)
    plan = action.plan(decision(str(root)), surroundings())
    mount("-o", "remount,ro", root)
    outcome = action.apply(plan, surroundings())
    assert (outcome.kind, names(root)) == (OutcomeKind.FAILED, {"a", "b"})
    assert "1 refused by the file system; the file system refuses" in outcome.reason


def test_refused_plans_are_not_applied(tmp_path: Path) -> None:
    """The outcome carries the reason of the plan."""
    plan, outcome = carry_out(purge(tmp_path), decision(str(tmp_path)))
    assert plan.refusal
    assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, plan.refusal)


@in_private_mounts
def test_mount_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    """Files of the same name below an unmounted mount point are others."""
    root = mount_tmpfs(tmp_path / "m")
    put(root / "cache/a")
    action = purge(root)
    plan = action.plan(decision(str(root)), surroundings())
    subprocess.run(["umount", root], check=True)
    put(root / "cache/a")
    outcome = action.apply(plan, surroundings(lambda _: None))
    assert (outcome.kind, names(root)) == (OutcomeKind.FAILED, {"a"})
    assert "not a mount point any more" in outcome.reason


@in_private_mounts
def test_plan_is_all_that_apply_needs(tmp_path: Path) -> None:
    """It can be applied later, and by another process: nothing of it is in the action."""
    root = mount_tmpfs(tmp_path / "m")
    put(root / "cache/a")
    plan = purge(root).plan(decision(str(root)), surroundings())
    assert isinstance(plan.payload, PurgePlan)
    outcome = purge(root).apply(plan, surroundings(monotonic=time.monotonic))
    assert (outcome.kind, names(root)) == (OutcomeKind.APPLIED, set())
