# SPDX-License-Identifier: Apache-2.0
"""Decisions and surroundings made by hand, with real measurements where a test wants them."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from overlaywatch.config.errors import ConfigErrors
from overlaywatch.config.table import Table
from overlaywatch.model import (
    Decision,
    Failure,
    Forecast,
    LayerId,
    LayerState,
    Mount,
    Verdict,
    super_block_ref,
)
from overlaywatch.ports import Action, ActionContext, Surroundings

DAY: Final = 86400.0
NO_BYTES: Final = 0


def decision(
    mount_point: str = "/",
    *,
    headroom: int | None = 50 * 1024 * 1024,
    states: frozenset[LayerState] = frozenset({LayerState.OK}),
    chain: Sequence[str] = ("filesystem:/",),
    reclaimable: bool = True,
    fstype: str = "tmpfs",
    upperdir: str = "",
    reason: str = "headroom is 50.0 MiB, below 64.0 MiB",
    failure: Failure | None = Failure.ENOSPC,
    forecast: Forecast | None = None,
) -> Decision:
    """That the stage `purge` of the policy `root` calls for the action `it`."""
    verdict = Verdict(
        mount=Mount(mount_point, fstype, "none", super_block_ref(0, 99), upperdir=upperdir),
        chain=tuple(map(LayerId, chain)),
        headroom_bytes=headroom,
        headroom_at_most_bytes=headroom,
        limit=LayerId(chain[0]),
        failure=failure,
        states=states,
        used_ratio=0.8,
        inodes_ratio=None,
        reclaimable=reclaimable,
        remedy="delete files",
    )
    return Decision("root", "last-resort", mount_point, "it", reason, 1000.0, verdict, forecast or Forecast())


def statvfs_headroom(mount_point: str) -> int:
    """What can still be written, as statvfs(3) has it."""
    found = os.statvfs(mount_point)
    return found.f_bavail * found.f_frsize


def surroundings(
    headroom: Callable[[str], int | None] = statvfs_headroom,
    *,
    uptime: float = 30 * DAY,
    past: Sequence[float] = (),
    monotonic: Callable[[], float] = time.monotonic,
    no_process: bool = False,
) -> Surroundings:
    """By default the real clock, and statvfs for headroom."""
    return Surroundings(headroom, uptime, lambda name: past if name == "it" else (), monotonic, no_process=no_process)


@dataclass(slots=True)
class FakeClock:
    """A clock that moves when it is told, and by `step` each time it is read."""

    now: float = 1000.0
    step: float = 0.0
    waits: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        self.now += self.step
        return self.now

    def wait(self, seconds: float) -> None:
        """Sleep, without sleeping."""
        self.waits.append(seconds)
        self.now += seconds


@dataclass(slots=True)
class Desk:
    """Where actions hand in what they have to say."""

    sent: list[Mapping[str, object]] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)

    def context(self, unix_time: Callable[[], float] = time.time, *, captured: bool = False) -> ActionContext:
        """The context of the action `it` on the host `live-7`."""
        return ActionContext("it", "live-7", self.sent.append, self.announced.append, unix_time, captured)


def table(**values: object) -> Table:
    """The table `[action.it]` of the file `x.toml`."""
    return Table(values, path="action.it", file="x.toml")


def errors(factory: Callable[[Table, ActionContext], Action], **values: object) -> list[str]:
    """What a factory has to say against these keys, one line per error."""
    try:
        factory(table(**values), Desk().context())
    except ConfigErrors as found:
        return str(found).splitlines()
    return []
