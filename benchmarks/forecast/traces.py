# SPDX-License-Identifier: Apache-2.0
"""How the room of one mount point went, and when it really ended: what every forecast is measured against.

A trace must not know who looks at it, or when.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Final

from overlaywatch.model import LayerId
from overlaywatch.trace import Look, parse_trace
from overlaywatch.units import GIB

SNAPSHOT: Final = LayerId("dm-snapshot:live-rw")
TMPFS: Final = LayerId("tmpfs:/run")
RECORDED: Final = Path(__file__).parents[2] / "tests" / "traces"
TIDIED_UP: Final = {"purge": 82.0}
"""Recorded traces in which somebody made room, and when it would have been full without him."""
AFTERWARDS: Final = 60.0
"""Seconds that a full store is still looked at."""


@dataclass(frozen=True, slots=True)
class Era:
    """From `start` to `stop` it is true that the room ends at `end` (inf: it does not) if nobody steps in.

    `fills_from` is when the fill began that ends then.
    """

    start: float
    stop: float
    end: float = inf
    fills_from: float = 0.0


@dataclass(frozen=True, slots=True)
class Hole:
    """Seconds in which nobody can look; whether the monotonic clock stands still in them (CLOCK_MONOTONIC
    does in a suspended guest, clock_gettime(2)), or leaps."""

    start: float
    stop: float
    clock_stands: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Headroom as straight lines between points. `splits` are moments at which an action of ours made room."""

    name: str
    times: Sequence[float]
    rooms: Sequence[float]
    size: int
    limit: LayerId
    eras: Sequence[Era]
    holes: Sequence[Hole] = ()
    splits: Sequence[float] = ()
    grown_at: float = inf

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.times[-1]

    def room(self, at: float) -> int:
        """Bytes left."""
        after = bisect_right(self.times, at)
        if after == len(self.times):
            return max(0, int(self.rooms[-1]))
        if after == 0:
            return max(0, int(self.rooms[0]))
        began, ended = self.times[after - 1], self.times[after]
        share = (at - began) / (ended - began)
        return max(0, int(self.rooms[after - 1] + share * (self.rooms[after] - self.rooms[after - 1])))

    def extremes(self, start: float, stop: float) -> tuple[int, int]:
        """The least and the most that is left meanwhile."""
        within = self.rooms[bisect_right(self.times, start) : bisect_right(self.times, stop)]
        rooms = [self.room(start), self.room(stop), *map(int, within)]
        return max(0, min(rooms)), max(rooms)

    def size_at(self, at: float) -> int:
        """The size of the limit: twice as much once it has grown."""
        return self.size * 2 if at >= self.grown_at else self.size

    def seen(self, at: float) -> float | None:
        """What the monotonic clock shows then; None if nobody can look."""
        stood = 0.0
        for hole in self.holes:
            if hole.start <= at < hole.stop:
                return None
            if hole.clock_stands and at >= hole.stop:
                stood += hole.stop - hole.start
        return at - stood

    def after_hole(self, at: float) -> float:
        """The first moment from `at` on at which somebody can look."""
        return next((hole.stop for hole in self.holes if hole.start <= at < hole.stop), at)

    def era(self, at: float) -> Era:
        """What is true at that moment."""
        return next((era for era in self.eras if at < era.stop), self.eras[-1])


class Pen:
    """Draws a trace: from a room of `room` bytes, onwards."""

    def __init__(self, room: float, size: int = 0, limit: LayerId = TMPFS) -> None:
        self.at, self.room = 0.0, float(room)
        self.limit, self.size = limit, size or int(room)
        self.times, self.rooms = [0.0], [self.room]
        self.fills_from = 0.0
        self.end = inf

    @property
    def is_full(self) -> bool:
        """Whether nothing is left."""
        return self.end < inf

    def mark(self) -> None:
        """Here the fill begins that will go to the end, if one does."""
        self.fills_from = self.at

    def calm(self, seconds: float) -> None:
        """Nothing happens."""
        self.take(0, seconds)

    def take(self, size: float, seconds: float) -> None:
        """So much is consumed (or given back, if negative), evenly; the trace ends where nothing is left."""
        if self.is_full:
            return
        if size >= self.room:
            seconds *= self.room / size
            size, self.end = self.room, self.at + seconds
        self.at, self.room = self.at + max(seconds, 0.001), self.room - size
        self.times.append(self.at)
        self.rooms.append(self.room)
        if self.end < inf:
            self.end = self.at
            self.times.append(self.at + AFTERWARDS)
            self.rooms.append(0.0)

    def trace(self, name: str) -> Trace:
        """What was drawn."""
        era = Era(0.0, inf, self.end, self.fills_from)
        return Trace(name, self.times, self.rooms, self.size, self.limit, (era,))


def recorded() -> list[Trace]:
    """The traces of real kernels, by name."""
    return [of_looks(path.stem, path) for path in sorted(RECORDED.glob("*.trace"))]


def of_looks(name: str, path: Path) -> Trace:
    """A recorded trace; a look between two others is on the straight line."""
    looks = [look for look in parse_trace(path.read_text("ascii"), str(path)) if look.headroom_bytes is not None]
    end = next((look.at for look in looks if look.headroom_bytes == 0), inf)
    began = next((after.at for before, after in pairwise(looks) if _moves(before, after)), 0.0)
    last = looks[-1]
    times, rooms = [look.at for look in looks], [float(look.headroom_bytes or 0) for look in looks]
    limit = last.limit or TMPFS
    trace = Trace(name, times, rooms, looks[0].size_bytes or GIB, limit, (Era(0.0, inf, end, began),))
    if end < inf:
        return replace(trace, times=[*times, last.at + AFTERWARDS], rooms=[*rooms, 0.0])
    if name in TIDIED_UP:
        tidied = max(pairwise(looks), key=lambda two: (two[1].headroom_bytes or 0) - (two[0].headroom_bytes or 0))[1].at
        trace = replace(trace, eras=(Era(0.0, tidied, TIDIED_UP[name], began), Era(tidied, inf)))
    # What is calm at its end stays so.
    return replace(trace, times=[*times, last.at + 1800.0], rooms=[*rooms, rooms[-1]])


def _moves(before: Look, after: Look) -> bool:
    """Whether more than a megabyte went."""
    return (before.headroom_bytes or 0) - (after.headroom_bytes or 0) > 1 << 20
