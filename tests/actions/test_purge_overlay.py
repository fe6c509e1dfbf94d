# SPDX-License-Identifier: Apache-2.0
"""Purge on real overlayfs mounts: only what lies in the upper layer gives anything back."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from overlaywatch.model import Decision
from overlaywatch.ports import Surroundings
from tests.actions.facts import decision, statvfs_headroom, surroundings
from tests.actions.private_mounts import in_private_mounts, mount, mount_tmpfs
from tests.actions.trees import AHEAD, KIB, MIB, carry_out, planned, purge, put


class Union:
    """An overlay of an image and a writable layer, each on a tmpfs; `booted` is when the image was complete."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.image = mount_tmpfs(folder / "image")
        self.writable = mount_tmpfs(folder / "writable")
        self.root = folder / "root"
        for path in (self.root, self.writable / "upper", self.writable / "work"):
            path.mkdir()
        self.upper = self.writable / "upper"
        for name in ("cache/of-the-image", "cache/to-be-copied-up", "cache/d/deep"):
            put(self.image / name, 256 * KIB)
        self.booted = self._tick()
        layers = f"lowerdir={self.image},upperdir={self.upper},workdir={self.writable}/work"
        mount("-t", "overlay", "-o", ",".join((layers, *options)), "live", self.root)
        put(self.root / "cache/created", MIB)
        put(self.root / "cache/d/created", 512 * KIB)
        with open(self.root / "cache/to-be-copied-up", "ab") as file:
            file.write(b"y")

    def _tick(self) -> float:
        """A moment that every later change is later than, by the clock that files are stamped with."""
        probe = put(self.image / "probe", 0)
        first = probe.stat().st_ctime
        while probe.stat().st_ctime == first:
            os.utime(probe)
        return first

    def decide(self, upperdir: str | None = None) -> Decision:
        """That this overlay needs room."""
        return decision(str(self.root), fstype="overlay", upperdir=str(self.upper) if upperdir is None else upperdir)

    def since_boot(self) -> Surroundings:
        """Surroundings in which the machine was booted when the image was complete."""
        return surroundings(uptime=time.time() + AHEAD - self.booted)


IN_UPPER = ["cache/created", "cache/d/created", "cache/to-be-copied-up"]


@pytest.mark.parametrize("options", [(), ("xino=off",), ("xino=on",), ("redirect_dir=on",)])
@in_private_mounts
def test_only_files_of_the_upper_layer_go(options: tuple[str, ...], tmp_path: Path) -> None:
    """Removing a file of the image would cost room; created and copied-up ones give theirs back."""
    union = Union(tmp_path, *options)
    before = statvfs_headroom(str(union.root))
    plan, outcome = carry_out(purge(union.root), union.decide())
    assert sorted(planned(plan)) == IN_UPPER
    assert (union.root / "cache/of-the-image").exists()
    assert (union.root / "cache/d/deep").exists()
    assert any("2 of the image below" in step for step in plan.steps)
    gain = statvfs_headroom(str(union.root)) - before
    assert outcome.freed_bytes == gain >= MIB + 512 * KIB + 256 * KIB


@in_private_mounts
def test_hidden_upper_layer_is_told_by_changes_since_boot(tmp_path: Path) -> None:
    """When the upper's file system was left behind in the initramfs, a change since boot must be in it."""
    union = Union(tmp_path)
    subprocess.run(["umount", "--lazy", union.writable], check=True)
    plan, outcome = carry_out(purge(union.root), union.decide(), union.since_boot())
    assert sorted(planned(plan)) == IN_UPPER
    assert outcome.freed_bytes >= MIB + 512 * KIB + 256 * KIB


@in_private_mounts
def test_without_upper_and_without_changes_nothing_goes(tmp_path: Path) -> None:
    """What was there before boot may be of the image: it stays."""
    union = Union(tmp_path)
    subprocess.run(["umount", "--lazy", union.writable], check=True)
    plan = purge(union.root).plan(union.decide(), surroundings(uptime=60))
    assert planned(plan) == []
    assert "5 of the image below" in plan.refusal


@in_private_mounts
def test_path_of_mount_time_may_lead_elsewhere(tmp_path: Path) -> None:
    """A folder of the same path on another file system, with files of the same names, is not believed."""
    union = Union(tmp_path)
    subprocess.run(["umount", "--lazy", union.writable], check=True)
    for name in ("cache/of-the-image", "cache/d/deep"):
        put(union.upper / name, 256 * KIB)
    assert sorted(planned(purge(union.root).plan(union.decide(), union.since_boot()))) == IN_UPPER


@in_private_mounts
def test_stale_files_at_the_upper_path_are_not_believed(tmp_path: Path) -> None:
    """Even on a file system with the same totals: a file must be the very same in all its figures."""
    union = Union(tmp_path)
    subprocess.run(["umount", "--lazy", union.writable], check=True)
    mount_tmpfs(union.writable)
    put(union.upper / "cache/of-the-image", 256 * KIB)
    assert planned(purge(union.root).plan(union.decide(), union.since_boot())) == []


@in_private_mounts
def test_relative_upperdir_is_not_followed(tmp_path: Path) -> None:
    """A relative upperdir was relative to who knows what."""
    union = Union(tmp_path)
    plan = purge(union.root).plan(union.decide("upper"), union.since_boot())
    assert sorted(planned(plan)) == IN_UPPER


@in_private_mounts
def test_layers_of_a_union_are_out_of_bounds(tmp_path: Path) -> None:
    """Whoever purges the tmpfs below must not reach into the root's upper directory behind its back."""
    union = Union(tmp_path)
    put(union.writable / "own")
    plan = purge(union.writable, ("**",)).plan(decision(str(union.writable)), surroundings())
    assert planned(plan) == ["own"]
    assert any("2 protected folder" in step for step in plan.steps)
