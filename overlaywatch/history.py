# SPDX-License-Identifier: Apache-2.0
"""What the headroom of one mount point was: a bounded window of looks.

This file must not know which mount point it is, what is concluded from it, or what time it is.

A sample is (monotonic seconds, headroom in bytes). Headroom and not use, because headroom is what
the contract promises and what a forecast divides: whichever layer sets it.

* Looks come every 10 s or every 10 ms, forecasts want the last two seconds and the last six hours.
  So samples are kept the more sparsely the older they are: two that are kept stand no further apart
  than a fraction of their age, and there are never more than MAX_SAMPLES.
* Looks that change nothing cost one comparison: a level stretch is kept as its two ends.
* Nothing is forecast across a change of what is measured. split() begins anew; push() does so itself
  when the limit has another size, when another layer is the limit and the headroom jumped with it
  (two layers that have equally much left may take turns), and when the clock went backwards.
* Room that comes back by itself (files deleted, memory freed) does not split: windows that hold such
  a jump are honest about it. But it is counted, for a forecast that would cry wolf at each tooth of
  a saw: see believable_rate().
* Of a layer that only grows (a dm-snapshot) nothing comes back. Where its headroom rises all the same, dirty
  pages that were taken for new data were rewrites of what it held: what came back had never been taken, and the
  past is put right. So its history is a staircase. That it happened is still counted: it may happen again.
* Holes (a suspended guest, a source that failed) stay holes: see widest_hole().
"""

from bisect import bisect_left
from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

from overlaywatch.units import MIB

MAX_SAMPLES: Final = 160
MAX_SAVED: Final = 40
MAX_SPAN: Final = 21600.0
"""Seconds that are worth keeping: the widest window of forecast.py."""

_SPARSE: Final = (32, 16, 8, 6, 4, 2, 1)
"""Gaps may be this fraction of a sample's age; the first that leaves room enough is taken."""
_AFTER_THINNING: Final = 110
_OTHER_CLOCK: Final = 1.0
_PEAK_HALF_LIFE: Final = 2.0
"""Seconds in which the memory of a burst is halved: after ten of them it is forgotten."""
_SHORTEST: Final = 0.010
"""Two looks closer than this say nothing about a rate: the clock is not the writer's."""

_TEETH: Final = 2
"""So many recoveries are a saw; a single one can be somebody who tidied up."""
_TEETH_KEPT: Final = 8
_TOOTH_LENGTH: Final = 10.0


class Tooth(NamedTuple):
    """A fall that was made good: when, from which lowest point, and how deep it was."""

    at: float
    low: int
    depth: int


class History:
    """The window of one mount point. Only push() and split() change it; times must be of one clock."""

    __slots__ = (
        "_high", "_limit", "_low", "_peak", "_peak_at", "_rooms", "_size", "_teeth", "_times", "_tooth_began",
        "moved_bytes",
    )  # fmt: skip

    def __init__(self) -> None:
        self._times: list[float] = []
        self._rooms: list[int] = []
        self._limit: str | None = None
        self._size: int | None = None
        self._high = self._low = 0
        self._teeth: list[Tooth] = []
        self._tooth_began = 0.0
        self._peak = self._peak_at = 0.0
        self.moved_bytes = 0
        """How much the last look found consumed; 0 if room came back."""

    def __len__(self) -> int:
        return len(self._times)

    def push(
        self, at: float, headroom: int, limit: str | None = None, size: int | None = None, *, monotone: bool = False
    ) -> None:
        """One look: bytes left, the layer that limits and its size. Looks not newer than the last are ignored.

        `monotone` says of the limit that it only grows.
        """
        times, rooms = self._times, self._rooms
        self.moved_bytes = 0
        if times:
            if at <= times[-1]:
                if at >= times[-1] - _OTHER_CLOCK:
                    return
                self.split()
            elif self._is_something_else(headroom, limit, size):
                self.split()
        if monotone and limit == self._limit and times and headroom > rooms[-1]:
            self._put_right(at, headroom)
        self._limit, self._size = limit, size if size is not None else self._size
        if len(rooms) >= 2 and rooms[-1] == headroom == rooms[-2]:
            times[-1] = at
            return
        self._note(at, headroom)
        times.append(at)
        rooms.append(headroom)
        if len(times) > MAX_SAMPLES:
            self._thin(at)

    def still(self, at: float) -> None:
        """A cheap look at what the headroom is made of found nothing new: as if the last look were repeated."""
        if self._rooms:
            self.push(at, self._rooms[-1], self._limit, self._size)

    def split(self) -> None:
        """Forget the past: what follows is not its continuation (a purge, a growth, another layer)."""
        self._times.clear()
        self._rooms.clear()
        self._teeth.clear()
        self._limit = self._size = None
        self._peak = 0.0

    @property
    def headroom(self) -> int | None:
        """Bytes left at the last look; None before the first."""
        return self._rooms[-1] if self._rooms else None

    @property
    def started(self) -> float | None:
        """When the first look that still counts was taken."""
        return self._times[0] if self._times else None

    @property
    def latest(self) -> float | None:
        """When the last look was taken."""
        return self._times[-1] if self._times else None

    @property
    def level_since(self) -> float | None:
        """Since when the headroom has been what it is; None before the first look."""
        if not self._rooms:
            return None
        first = len(self._rooms) - 1
        while first and self._rooms[first - 1] == self._rooms[-1]:
            first -= 1
        return self._times[first]

    def is_warm(self, now: float, span: float) -> bool:
        """Whether looks were taken at least since `span` seconds before `now`."""
        return bool(self._times) and self._times[0] <= now - span

    def room_at(self, time: float) -> float:
        """Headroom at `time`: a straight line between two looks, level outside of them. ValueError without looks."""
        times, rooms = self._times, self._rooms
        if not times:
            raise ValueError("no look has been taken")
        after = bisect_left(times, time)
        if after == len(times):
            return rooms[-1]
        if after == 0 or times[after] == time:
            return rooms[after]
        share = (time - times[after - 1]) / (times[after] - times[after - 1])
        return rooms[after - 1] + share * (rooms[after] - rooms[after - 1])

    def rooms(self, begin: float, step: float, count: int) -> list[float]:
        """room_at() at so many times in equal steps; in one pass, as this is what forecasts spend their time on."""
        times, rooms, last = self._times, self._rooms, len(self._times) - 1
        found, after = [], 0
        for i in range(count):
            time = begin + i * step
            after = bisect_left(times, time, after)
            if after > last:
                found.append(float(rooms[last]))
            elif after == 0 or times[after] == time:
                found.append(float(rooms[after]))
            else:
                share = (time - times[after - 1]) / (times[after] - times[after - 1])
                found.append(rooms[after - 1] + share * (rooms[after] - rooms[after - 1]))
        return found

    def widest_hole(self, since: float) -> float:
        """The longest time without a look, since `since`, across which the headroom changed.

        What happened within a hole is not known, only its sum: no slope may be drawn through it.
        """
        times, rooms = self._times, self._rooms
        first = max(bisect_left(times, since), 1)
        return max(
            (times[i] - times[i - 1] for i in range(first, len(times)) if rooms[i] != rooms[i - 1]),
            default=0.0,
        )

    def believable_rate(self, now: float, span: float) -> float:
        """Bytes/s that a fall seen in the last `span` seconds can have at most, after all the times it was made good.

        Infinite, unless the room came back by itself twice: that is a saw, not a slope. A saw falls as fast as
        its lowest points do, if the window holds two of them. A window that lies within a tooth says
        something new only if this one is a quarter deeper than any before, or half as much is left: else 0.
        """
        teeth = self._saw(now, MAX_SPAN)
        if not teeth:
            return inf
        within, left = self._saw(now, span), self._rooms[-1]
        if within:
            return max(0.0, (within[0].low - min(within[-1].low, left)) / (now - within[0].at))
        deepest, lowest = max(tooth.depth for tooth in teeth), min(tooth.low for tooth in teeth)
        return inf if self._high - left > deepest * 5 / 4 or left < lowest / 2 else 0.0

    def room_to_fill(self, now: float, span: float, rate: float) -> float:
        """Bytes that a fill at `rate` has left: the headroom; of a saw that sinks, what its lowest points have left.

        A saw is full when its lowest points are at 0, not when the teeth are gone.
        """
        teeth, headroom = self._saw(now, span), self._rooms[-1]
        if not teeth:
            return headroom
        left = teeth[-1].low - rate * (now - teeth[-1].at)
        return min(headroom, max(left, headroom / 8))

    def _saw(self, now: float, span: float) -> Sequence[Tooth]:
        """The teeth of the last `span` seconds; none if they are too few."""
        teeth = [tooth for tooth in self._teeth if tooth.at > now - span]
        return teeth if len(teeth) >= _TEETH else ()

    def peak_rate(self, now: float) -> float:
        """Bytes/s of the fastest fill between two looks, its memory halved every two seconds."""
        return self._peak * 0.5 ** (max(0.0, now - self._peak_at) / _PEAK_HALF_LIFE) if self._peak else 0.0

    def to_json(self) -> dict[str, object]:
        """Plain values of about 1 KiB, for the state that outlives the process; see from_json."""
        kept = self._chosen(self._times, MAX_SAVED) if self._times else []
        samples = [[round(self._times[i], 3), self._rooms[i]] for i in kept]
        teeth = [[round(at, 3), low, depth] for at, low, depth in self._teeth]
        return {"limit": self._limit, "size": self._size, "samples": samples, "teeth": teeth}

    @classmethod
    def from_json(cls, document: object, now: float) -> "History":
        """What to_json gave; an empty history if it is anything else, or from another clock."""
        history = cls()
        if not isinstance(document, dict):
            return history
        samples, teeth = _rows(document.get("samples"), 2, now), _rows(document.get("teeth"), 3, now)
        limit, size = document.get("limit"), document.get("size")
        if samples is None or teeth is None or not _is_limit(limit, size):
            return history
        for at, (room,) in samples[-MAX_SAMPLES:]:
            history.push(at, room, limit, size)
        history._teeth = [Tooth(at, low, depth) for at, (low, depth) in teeth[-_TEETH_KEPT:]]
        history._peak, history.moved_bytes = 0.0, 0
        return history

    def _put_right(self, at: float, headroom: int) -> None:
        """A layer that only grows has more room than was thought: what came back had never been taken."""
        self._note_tooth(at, headroom)
        i = len(self._rooms)
        while i and self._rooms[i - 1] < headroom:
            i -= 1
            self._rooms[i] = headroom

    def _is_something_else(self, headroom: int, limit: str | None, size: int | None) -> bool:
        if limit == self._limit:
            return size is not None and self._size is not None and size != self._size
        return abs(headroom - self._rooms[-1]) >= _step(self._rooms[-1])

    def _note(self, at: float, headroom: int) -> None:
        """What push() remembers of a change besides the sample itself."""
        if not self._rooms:
            self._high = self._low = headroom
            return
        drop = self._rooms[-1] - headroom
        if drop > 0:
            self.moved_bytes = drop
            rate = drop / max(at - self._times[-1], _SHORTEST)
            if rate > self.peak_rate(at):
                self._peak, self._peak_at = rate, at
        self._note_tooth(at, headroom)

    def _note_tooth(self, at: float, headroom: int) -> None:
        step = _step(self._high)
        if headroom - self._low >= step:
            if self._high - self._low >= step:
                self._add_tooth(at)
            self._high = self._low = headroom
        elif headroom > self._high:
            self._high = self._low = headroom
        else:
            self._low = min(self._low, headroom)

    def _add_tooth(self, at: float) -> None:
        """Recoveries within ten seconds are one: noise at a fast pace must not push the real ones out."""
        tooth = Tooth(at, self._low, self._high - self._low)
        if self._teeth and at - self._tooth_began < _TOOTH_LENGTH:
            if tooth.low < self._teeth[-1].low:
                self._teeth[-1] = tooth
        else:
            self._teeth = [*self._teeth[1 - _TEETH_KEPT :], tooth]
            self._tooth_began = at

    def _thin(self, now: float) -> None:
        """Drop what is too old, then every sample without which no gap gets wider than its age allows."""
        begin = max(0, bisect_left(self._times, now - MAX_SPAN) - 1)  # one older, so that the whole span is known
        times, rooms = self._times[begin:], self._rooms[begin:]
        kept = self._chosen(times, _AFTER_THINNING)
        self._times = [times[i] for i in kept]
        self._rooms = [rooms[i] for i in kept]

    @staticmethod
    def _chosen(times: Sequence[float], at_most: int) -> Sequence[int]:
        """Indices of at most so many samples, the newest among them, the gaps in proportion to the age."""
        kept: Sequence[int] = range(len(times))
        for fraction in _SPARSE:
            if len(kept) <= at_most:
                break
            kept = _sparse(times, times[-1], fraction)
        return kept[-at_most:]


def _step(headroom: int) -> int:
    """What is more than noise: a flutter below 1/32 comes and goes, and cannot become a forecast."""
    return max(MIB, headroom // 32)


def _sparse(times: Sequence[float], now: float, fraction: int) -> list[int]:
    """Indices to keep so that no gap is wider than the age of its newer end / fraction, if it was not before."""
    kept = [0]
    for i in range(1, len(times) - 1):
        if times[i + 1] - times[kept[-1]] > (now - times[i + 1]) / fraction:
            kept.append(i)
    return [*kept, len(times) - 1]


def _rows(document: object, width: int, now: float) -> list[tuple[float, list[int]]] | None:
    """Rows of a rising time, none later than now, and of bytes; None if it is anything else."""
    latest = now + 0.001  # they are saved to the millisecond
    if not isinstance(document, list):
        return None
    rows: list[tuple[float, list[int]]] = []
    for row in document:
        if not isinstance(row, list) or len(row) != width or type(row[0]) not in (int, float):
            return None
        earliest = rows[-1][0] if rows else 0.0
        if not earliest <= row[0] <= latest or not all(map(_is_size, row[1:])):
            return None
        rows.append((float(row[0]), row[1:]))
    return rows


def _is_limit(limit: object, size: object) -> bool:
    return (limit is None or isinstance(limit, str)) and (size is None or _is_size(size))


def _is_size(value: object) -> bool:
    """Bytes of what a machine can have."""
    return type(value) is int and 0 <= value < 2**63
