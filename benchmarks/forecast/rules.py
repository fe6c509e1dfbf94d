# SPDX-License-Identifier: Apache-2.0
"""What pages somebody: our forecast with the daemon's own looks or Prometheus' samples, and predict_linear.

Each rule goes along a trace once and says at which moments it was asked, what time to full it gave, and
whether it was paging. It must not know what is true.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Final, Protocol

from benchmarks.forecast.predict_linear import Window
from benchmarks.forecast.traces import Trace
from overlaywatch import pace
from overlaywatch.conditions import Truth
from overlaywatch.forecast import forecast, only_grows
from overlaywatch.history import History
from overlaywatch.model import Forecast
from overlaywatch.pace import Room
from overlaywatch.phases import ENGAGED, IDLE, advance

SCRAPE: Final = 15.0
INTERVAL: Final = 10.0
MINUTE: Final = 60.0
HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a rule said at one moment: seconds to full (None: nothing), and whether it pages."""

    at: float
    to_full: float | None
    pages: bool


class Rule(Protocol):
    """A way to be paged. A page says that the room ends within `horizon` seconds."""

    @property
    def name(self) -> str:
        """Its column."""
        ...

    @property
    def horizon(self) -> float:
        """Seconds ahead of which it warns."""
        ...

    def answers(self, trace: Trace) -> Iterable[Answer]:
        """Along the trace."""
        ...


# --- ours -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ours:
    """`time_to_full_below` with a `hold`, as a policy has it; by the daemon's own looks, or by samples of 15 s."""

    name: str
    horizon: float
    hold: float
    by_samples: bool = False

    def answers(self, trace: Trace) -> Iterator[Answer]:
        """What the daemon would have done."""
        state = IDLE
        for at, seen, found in by_samples(trace) if self.by_samples else _looks(trace):
            state, _ = advance(state, self._truth(found), self.hold, None, seen)
            yield Answer(at, found.time_to_full_seconds, state.phase in ENGAGED)

    def _truth(self, found: Forecast) -> Truth:
        """As conditions.time_to_full_below."""
        if found.time_to_full_seconds is None:
            return Truth.UNKNOWN if found.fill_bytes_per_second is None else Truth.FALSE
        return Truth.TRUE if found.time_to_full_seconds < self.horizon else Truth.FALSE


def push(history: History, trace: Trace, at: float, seen: float, since: float) -> None:
    """One look; `since` is when the one before was taken."""
    if any(since < split <= at for split in trace.splits):
        history.split()
    history.push(seen, trace.room(at), trace.limit, trace.size_at(at), monotone=only_grows(trace.limit))


def by_samples(trace: Trace) -> Iterator[tuple[float, float, Forecast]]:
    """(moment, monotonic clock, forecast) with no other looks than the scrapes of 15 s."""
    history, since = History(), -inf
    for at in scrapes(trace):
        seen = trace.seen(at)
        assert seen is not None
        push(history, trace, at, seen, since)
        since = at
        yield at, seen, forecast(history, seen)


def own_looks(trace: Trace) -> Iterator[tuple[float, float, Forecast]]:
    """(moment, monotonic clock, forecast) with the daemon's rhythm: ticks, and peeks that call for one."""
    history, at, since = History(), 0.0, -inf
    while at <= trace.seconds:
        at = trace.after_hole(at)
        seen = trace.seen(at)
        assert seen is not None
        push(history, trace, at, seen, since)
        since = at
        yield at, seen, forecast(history, seen)
        left = trace.room(at)
        room = Room(left, history.peak_rate(seen), history.moved_bytes, peekable=True, ended=left == 0)
        pause = pace.next_tick([room], INTERVAL)
        at += _first_news(trace, at, pause, pace.next_peek([room], pause))


@lru_cache(maxsize=1)
def _looks(trace: Trace) -> Sequence[tuple[float, float, Forecast]]:
    """own_looks(), once for the rules that ask one after the other."""
    return list(own_looks(trace))


def _first_news(trace: Trace, at: float, pause: float, every: float | None) -> float:
    """Seconds until the next tick: the pause, or the first peek that finds news."""
    if every is None:
        return pause
    before, peek = trace.room(at), every
    if not any(pace.is_news(now, before - now) for now in trace.extremes(at, at + pause)):
        return pause  # a shortcut: no peek can find any
    while peek < pause:
        now = trace.room(at + peek)
        if pace.is_news(now, before - now):
            return peek
        peek += every
    return pause


# --- theirs ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PredictLinear:
    """`predict_linear(v[window], horizon) < 0`, for `hold` seconds, and less than `level` of the size left."""

    name: str
    window: float
    horizon: float
    hold: float
    level: float = inf

    def answers(self, trace: Trace) -> Iterator[Answer]:
        """Evaluated at each sample, the best case: a rule is usually evaluated some time after one."""
        window, pending = Window(self.window), inf
        for at in scrapes(trace):
            now, room = round(at * 1000), trace.room(at)
            window.push(now, room)
            line = window.line(now)
            slope, here = line if line is not None else (0.0, float(room))
            below = line is not None and slope * self.horizon + here < 0 and room < self.level * trace.size_at(at)
            pending = min(pending, at) if below else inf
            yield Answer(at, max(0.0, -here / slope) if slope < 0 else None, at - pending >= self.hold)


def scrapes(trace: Trace) -> Iterator[float]:
    """Every 15 s, where there is somebody to answer."""
    for number in range(int(trace.seconds / SCRAPE) + 1):
        if trace.seen(number * SCRAPE) is not None:
            yield number * SCRAPE


RULES: Final[list[Rule]] = [
    Ours("ours 30m", 30 * MINUTE, 30),
    Ours("ours 1m", MINUTE, 0),
    Ours("ours 30m, 15 s samples", 30 * MINUTE, 30, by_samples=True),
    PredictLinear("[5m] 30m", 5 * MINUTE, 30 * MINUTE, 30),
    PredictLinear("[10m] 30m", 10 * MINUTE, 30 * MINUTE, 30),
    PredictLinear("[30m] 30m", 30 * MINUTE, 30 * MINUTE, 30),
    PredictLinear("[1h] 30m", HOUR, 30 * MINUTE, 30),
    PredictLinear("[1h] 24h", HOUR, 24 * HOUR, 2 * MINUTE, 0.10),
    PredictLinear("[6h] 4h", 6 * HOUR, 4 * HOUR, HOUR, 0.20),
    PredictLinear("[6h] 24h", 6 * HOUR, 24 * HOUR, HOUR, 0.40),
]
