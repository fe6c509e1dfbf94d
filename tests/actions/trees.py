# SPDX-License-Identifier: Apache-2.0
"""Trees of files for purge, and what it says about them. The wall clock of these tests is two hours ahead."""

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from overlaywatch.actions.purge import PurgeAction, PurgePlan
from overlaywatch.model import Decision, Outcome
from overlaywatch.ports import Plan, Surroundings
from tests.actions.facts import Desk, FakeClock, decision, surroundings, table

KIB: Final = 1024
MIB: Final = 1024 * KIB
AHEAD: Final = 7200.0
PATTERNS: Final = ("cache/**",)


def in_two_hours() -> float:
    """A wall clock by which everything that was made just now is two hours old; st_ctime cannot be set."""
    return time.time() + AHEAD


def put(path: Path, size: int = 64 * KIB, age: float = 0.0) -> Path:
    """A file of so many bytes; `age` seconds older than now by its mtime and atime."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def purge(root: Path, patterns: Sequence[str] = PATTERNS, **values: object) -> PurgeAction:
    """The action with patterns below a mount point, for files that are an hour old."""
    paths = [f"{root}/{pattern}" for pattern in patterns]
    return PurgeAction.from_table(table(paths=paths, **values), Desk().context(in_two_hours))


def planned(plan: Plan) -> list[str]:
    """The paths below the mount point that a plan would delete, in its order."""
    return [file.below for file in plan.payload.files] if isinstance(plan.payload, PurgePlan) else []


def plan_for(root: Path, patterns: Sequence[str] = PATTERNS, **values: object) -> Plan:
    """The plan for a mount point where everything is well but the room."""
    # On a clock that stands still a busy machine cannot cut the look short.
    return purge(root, patterns, **values).plan(decision(str(root)), surroundings(monotonic=FakeClock()))


def carry_out(action: PurgeAction, for_decision: Decision, around: Surroundings | None = None) -> tuple[Plan, Outcome]:
    """Plan and apply at once."""
    around = around or surroundings()
    plan = action.plan(for_decision, around)
    return plan, action.apply(plan, around)


def everything_below(root: Path) -> list[str]:
    """All paths below a folder, itself included. Reading folders may set their access times."""
    return [os.path.join(folder, name) for folder, _, files in os.walk(root) for name in (".", *files)]


def looks(paths: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """All that stat(2) tells of these paths, the access time included; it changes nothing itself."""
    found: dict[str, tuple[int, ...]] = {}
    for path in paths:
        status = os.lstat(path)
        times = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
        found[path] = (status.st_ino, status.st_mode, status.st_nlink, status.st_size, *times)
    return found
