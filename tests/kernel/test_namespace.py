# SPDX-License-Identifier: Apache-2.0
"""The mount table that counts is the machine's, or one's own where that is meant."""

from pathlib import Path

import pytest

from overlaywatch.kernel.namespace import MountWorld, choose_world, read_world
from overlaywatch.kernel.root import KernelRoot

FIRST = MountWorld(Path("/proc/1/mountinfo"))
THROUGH_FIRST = MountWorld(Path("/proc/1/mountinfo"), prefix="/proc/1/root")
OWN = MountWorld(Path("/proc/self/mountinfo"))


@pytest.mark.parametrize(
    ("same_namespace", "started_by_init", "world"),
    [
        (True, False, FIRST),
        (True, True, FIRST),
        (False, True, THROUGH_FIRST),
        (False, False, OWN),
        (None, True, OWN),
        (None, False, OWN),
    ],
)
def test_rule(same_namespace: bool | None, started_by_init: bool, world: MountWorld) -> None:
    """A hardened service looks through process 1; who made a namespace, or may not ask, looks at its own."""
    assert choose_world(KernelRoot(), same_namespace, started_by_init) == world


def test_paths_are_seen_through_process_1() -> None:
    """A path of the table is found below the prefix."""
    assert THROUGH_FIRST.path("/run") == "/proc/1/root/run"
    assert OWN.path("/run") == "/run"


def test_captured_machine_has_whichever_table_was_captured(tmp_path: Path) -> None:
    """That of process 1 if it is there."""
    root = KernelRoot.below(tmp_path)
    assert read_world(root).table == tmp_path / "proc/self/mountinfo"
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/mountinfo").touch()
    assert read_world(root).table == tmp_path / "proc/1/mountinfo"
