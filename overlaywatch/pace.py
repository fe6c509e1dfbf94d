# SPDX-License-Identifier: Apache-2.0
"""When to look next: from the room that is left and the worst plausible fill rate.

This file must not know what a look reads or what is decided from it, and reads no clock.

The dilemma. A store in RAM fills at about 1 GiB/s (measured: 0.8 to 1.4): a COW of 64 MiB can be gone
in 60 ms, from complete calm, with direct I/O even without a dirty page before. To be sure, one would
have to look every 10 ms for ever, which costs some percent of a core. A calm host must cost 0.2 %.

The way out is two kinds of looks.

* A **tick** reads everything and decides; about 0.3 ms. A calm host gets one every `interval` (10 s).
* A **peek** asks only the limits that can run dry between two ticks how much they have used: one ioctl
  or statvfs each, about 40 µs. If it finds news (a status word, or MOVE of the room gone), a tick
  follows at once. Peeks come in a quarter of the time in which the room would be gone at full speed,
  but not faster than every 75 ms: 13 a second are 0.05 % of a core. So also the end of a store that
  goes without an event (dm-snapshot `Overflow` raises none) is seen within 75 ms of happening, and of a
  gigabyte that begins to fill at full speed at most the first quarter goes unseen. All peeks
  together get at most 0.15 % of a core: three small stores are peeked at every 107 ms, a hundred every 2.7 s.
  That is the price of many stores on one calm host; of a fill, not of calm, see below.

Once something moves, ticks follow the fill:

* News bring a second look after 20 ms: it tells a step from a slope.
* After that, the worst plausible rate is four times the fastest fill between two looks, the memory of
  which is halved every two seconds (History.peak_rate); and ticks come so that a fill at that rate is
  looked at four times before the end, down to 10 ms. Since the time shrinks with the room, a fill
  from 64 MiB to nothing takes some hundred ticks whatever its speed: cheap if slow, fast if fast.
* Dirty data that is not yet counted in the headroom is a fill that waits for the flusher: it is
  taken as gone, and as written within half a second. If it is more than the room, looks come every
  50 ms, not 10: rewriting what is already copied makes dirty pages too, and does so for ever.

What cannot be peeked at (the free memory, a network file system) gets ticks every second if it could be
gone by then. Where nothing is left to lose (`Invalid`, full for good) nothing is hurried.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import Final

from overlaywatch.units import GIB

FULL_SPEED: Final = float(GIB)
"""Bytes/s at which a store in RAM can fill."""
LOOKS_BEFORE_END: Final = 4
SHORTEST_TICK: Final = 0.010
SECOND_LOOK: Final = 0.020
DIRTY_TICK: Final = 0.050
UNPEEKED_TICK: Final = 1.0
SHORTEST_PEEK: Final = 0.075
PEEK_SECONDS: Final = 40e-6
"""What it costs to peek at one store, and to wake up for it at all, on a machine of today."""
PEEK_SHARE: Final = 0.0015
MOVE: Final = 128
"""News is when this part of the room is gone since the last tick."""
_SURGE: Final = 4.0
_FLUSH_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Room:
    """A limit that can run dry, as pace needs it: of a mount point, or of one layer.

    `headroom_bytes` None: unknown. `peak_fill_bytes_per_second` and `moved_bytes` as History has them.
    `pending_bytes` is dirty data that the headroom does not yet count. `peekable`: a peek sees this very
    limit. `silent`: its end raises no event (dm-snapshot with `PO`). `ended`: nothing is left to lose.
    """

    headroom_bytes: int | None
    peak_fill_bytes_per_second: float = 0.0
    moved_bytes: int = 0
    pending_bytes: int = 0
    peekable: bool = False
    silent: bool = False
    ended: bool = False


def is_news(headroom_bytes: int | None, moved_bytes: int) -> bool:
    """Whether so much consumed since the last tick (either way) is worth a tick now. 0 never is."""
    return moved_bytes != 0 and abs(moved_bytes) * MOVE >= (headroom_bytes or 0)


def next_tick(rooms: Iterable[Room], interval: float, until_due: float | None = None, cost: float = 0.0) -> float:
    """Seconds until the next tick: at most `interval`, the slowest pace, at least 10 ms.

    `until_due` is the time until something is due by itself (policy.next_due), `cost` what the last tick
    took: no more than half of a core is spent on looking, however slow the machine.
    """
    seconds = min((_until_tick(room) for room in rooms), default=interval)
    seconds = min(seconds, interval, interval if until_due is None else until_due)
    return max(seconds, cost, SHORTEST_TICK)


def next_peek(rooms: Iterable[Room], until_tick: float, peek_seconds: float = PEEK_SECONDS) -> float | None:
    """Seconds until the next peek at those of the rooms that needs_peek() names; None if the tick comes first.

    `peek_seconds` is the cost of one room. Give what a peek costs on common machines rather than a measure
    of this one, lest a slow machine goes blind; but the true cost where it is of another order (a process).
    """
    return next_of([until_peek(room) for room in rooms], until_tick, peek_seconds)


def next_of(times: Iterable[float], until_tick: float, peek_seconds: float = PEEK_SECONDS) -> float | None:
    """next_peek() for rooms whose until_peek() is known already."""
    wanted = [seconds for seconds in times if seconds < until_tick]
    if not wanted:
        return None
    affordable = (len(wanted) + 1) * peek_seconds / PEEK_SHARE
    seconds = max(min(wanted), affordable)
    return seconds if seconds < until_tick else None


def needs_peek(room: Room, until_tick: float) -> bool:
    """Whether this room could end before the next tick, and a peek would tell."""
    return until_peek(room) < until_tick


def until_peek(room: Room) -> float:
    """Seconds in which a peek at this room is wanted; infinite for one that cannot be peeked at, or has ended."""
    if room.headroom_bytes is None or room.ended or not room.peekable:
        return inf
    seconds = room.headroom_bytes / FULL_SPEED / LOOKS_BEFORE_END
    # What ends within a second, and silently, is peeked at as often as can be: its end is the news.
    return SHORTEST_PEEK if room.silent and seconds * LOOKS_BEFORE_END <= 1.0 else max(seconds, SHORTEST_PEEK)


def _until_tick(room: Room) -> float:
    if room.ended or room.headroom_bytes is None:
        return inf
    seconds = min(_moving(room), _pending(room), inf if room.peekable else _unpeeked(room))
    return min(seconds, SECOND_LOOK) if is_news(room.headroom_bytes, room.moved_bytes) else seconds


def _moving(room: Room) -> float:
    return _before_end(
        max(0, (room.headroom_bytes or 0) - room.pending_bytes), room.peak_fill_bytes_per_second * _SURGE
    )


def _pending(room: Room) -> float:
    left = (room.headroom_bytes or 0) - room.pending_bytes
    return max(DIRTY_TICK, _before_end(max(0, left), room.pending_bytes / _FLUSH_SECONDS))


def _unpeeked(room: Room) -> float:
    return max(UNPEEKED_TICK, _before_end(room.headroom_bytes or 0, FULL_SPEED))


def _before_end(left: int, rate: float) -> float:
    """Seconds in which a fill at this rate takes a quarter of what is left; never without a rate worth the name."""
    return left / rate / LOOKS_BEFORE_END if rate >= 1.0 else inf
