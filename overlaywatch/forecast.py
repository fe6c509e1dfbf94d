# SPDX-License-Identifier: Apache-2.0
"""How fast a mount point fills and when it will be full, said only where it is justified.

This file must not know what is done about it, and reads no clock.

A straight line through the last hours (`predict_linear`) cries wolf after every package installation, and windows
of minutes are too slow for an overlay that fills in seconds. So there is a ladder of windows, from seconds
(bursts) to hours (trends), and a rule: **what went on for a while is believed to go on for twice as long, no
longer.** A fill is forecast if in some window it was

1. warm: looks were taken all through the window, none of its slopes is drawn through a hole;
2. material: continued, it fills the rest within twice the window. So whatever takes less than a third of the
   room and then ends, a package or a tooth of a saw or a flutter, is never forecast;
3. sustained: of the slopes over a quarter of the window three in four are within reach of the average, and so is
   the newest. One step, however large, is none; and within a quarter of the window after its end a fill is over;
4. new: not the next tooth of a saw, see History.believable_rate().

The longest of these windows is asked first: it has seen most. Its rate is the average over the window, but
not much more than without its largest piece (a step does not make a leak faster), and not less than the median of
its slopes (nor does the calm before it make it slower). A shorter window has its say only if it saw more than the
longer ones were ever restless by: then something has changed. Files of random size, or dirty pages that come and
go, do not make a slow fill a fast one.

What it costs: a fill is forecast only after a third of it. docs/forecast.md has it all measured, beside predict_linear.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from overlaywatch.history import MAX_SPAN, History
from overlaywatch.model import NO_FORECAST, Forecast, LayerId, LayerKind, Reading, Verdict

BURSTS: Final = (2.0, 4.0, 8.0, 15.0, 30.0)
TRENDS: Final = (60.0, 120.0, 240.0, 480.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, MAX_SPAN)
SPANS: Final = (*BURSTS, *TRENDS)
"""Seconds looked back."""
REACH: Final = 2.0
"""What went on for so long is believed to go on for so many times as long."""

GAUGE_SPAN: Final = 60.0
"""Seconds over which the fill rate is averaged where nothing is forecast, and what it takes to warm up."""

CALM: Final = Forecast(0.0, None)
MAX_SAVED_MOUNTS: Final = 16

_CELLS: Final = 16
_LAG: Final = 4
_SUSTAINED: Final = 0.25
"""What of the rate must be there in three of four slopes, and in the newest."""
_TRIMMED: Final = 1.25
"""The rate is at most so many times that without its largest cell."""
_REFINED: Final = 8.0
"""REACH of a shorter window, where a longer one has shown that it goes on: it only says how fast it goes now."""
_FASTER: Final = 1.25
"""What is not faster by so much is no news."""
_NEWS: Final = 1.5
"""A shorter window has seen more than the unrest of the longer ones if it is so many times as much."""
_FORGOTTEN: Final = 1800.0
"""Seconds after which a mount point that is gone is gone for good."""


class _Window(NamedTuple):
    """The headroom at 17 points in equal steps, oldest first."""

    span: float
    rooms: Sequence[float]

    def falls(self) -> list[float]:
        """What each of the 16 cells consumed."""
        return [before - after for before, after in pairwise(self.rooms)]

    def slopes(self) -> list[float]:
        """Bytes/s over each quarter, oldest first: 13, overlapping."""
        seconds, rooms = self.span * _LAG / _CELLS, self.rooms
        return [(rooms[i] - rooms[i + _LAG]) / seconds for i in range(_CELLS - _LAG + 1)]

    def unrest(self, newest: float) -> float:
        """By how much one cell consumed more or less than the next, but for the `newest` seconds."""
        falls = self.falls()[: -max(1, round(newest / self.span * _CELLS))]
        return max((abs(one - other) for one, other in pairwise(falls)), default=0.0)


def forecast(history: History, now: float) -> Forecast:
    """The forecast at `now`, the time of the last look.

    Fill rate: bytes/s, of the forecast, else the average of the last minute; never negative: room that
    comes back is no fill. None for the first minute of a history, unless a fill is already plain. Time to
    full: seconds; None where nothing is forecast; 0 when full.
    """
    headroom = history.headroom
    if headroom is None:
        return NO_FORECAST
    if headroom == 0:
        return Forecast(_average(history, now), 0.0)
    if _is_level(history, now):
        return CALM if history.is_warm(now, GAUGE_SPAN) else NO_FORECAST
    rate, room = _fill(history, now, headroom)
    return Forecast(rate, room / rate) if rate else Forecast(_average(history, now), None)


def _average(history: History, now: float) -> float | None:
    if not history.is_warm(now, GAUGE_SPAN):
        return None
    return max(0.0, (history.room_at(now - GAUGE_SPAN) - history.room_at(now)) / GAUGE_SPAN)


def _is_level(history: History, now: float) -> bool:
    """The common case, and cheap: nothing moved in any window."""
    since = history.level_since
    return since is not None and (since <= now - MAX_SPAN or since == history.started)


def _fill(history: History, now: float, headroom: int) -> tuple[float, float]:
    """Bytes/s of the fill that is forecast, 0 if none is; and the bytes it has left to fill."""
    rate, room = 0.0, float(headroom)
    longer: list[_Window] = []
    for span in reversed(SPANS):
        needed = max(headroom / span / (_REFINED if longer else REACH), rate * _FASTER)
        if not history.is_warm(now, span) or history.room_at(now - span) - headroom < needed * span:
            continue
        window = _window(history, now, span)
        found = _sustained(history, now, window)
        if found >= needed and (found - rate) * span >= _NEWS * max((one.unrest(span) for one in longer), default=0.0):
            rate, room = found, history.room_to_fill(now, span, found)
            longer.append(window)
    return rate, room


def _window(history: History, now: float, span: float) -> _Window:
    return _Window(span, history.rooms(now - span, span / _CELLS, _CELLS + 1))


def _sustained(history: History, now: float, window: _Window) -> float:
    """Bytes/s of the fill that went on all through the window; 0 if none did."""
    if history.widest_hole(now - window.span) > window.span * _LAG / _CELLS:
        return 0.0
    falls, slopes = window.falls(), window.slopes()
    ordered = sorted(slopes)
    whole = sum(falls)
    rate = min(whole, _TRIMMED * (whole - max(falls)) * _CELLS / (_CELLS - 1)) / window.span
    if min(falls) >= 0:  # with room that comes back, slopes are those of the teeth
        rate = max(rate, ordered[len(ordered) // 2])
    rate = min(rate, history.believable_rate(now, window.span))
    lasting = min(ordered[len(ordered) // 4], slopes[-1])
    return rate if lasting >= rate * _SUSTAINED else 0.0


def only_grows(limit: LayerId | None) -> bool:
    """Whether what this layer holds never becomes less: of a dm-snapshot no chunk is ever given back."""
    return limit is not None and limit.partition(":")[0] == LayerKind.DM_SNAPSHOT


class Forecaster:
    """The histories of all watched mount points, and what follows from them."""

    def __init__(self) -> None:
        self._histories: dict[str, History] = {}

    def look(self, verdicts: Iterable[Verdict], readings: Mapping[LayerId, Reading], now: float) -> dict[str, Forecast]:
        """Take in one look and forecast each mount point. Unknown headroom leaves a hole, and no forecast."""
        forecasts: dict[str, Forecast] = {}
        for verdict in verdicts:
            mount_point, headroom = verdict.mount.mount_point, verdict.headroom_bytes
            if headroom is None:
                forecasts[mount_point] = NO_FORECAST
                continue
            history = self.history(mount_point)
            limit = readings.get(verdict.limit) if verdict.limit else None
            size = limit.size_bytes if limit else None
            history.push(now, headroom, verdict.limit, size, monotone=only_grows(verdict.limit))
            forecasts[mount_point] = forecast(history, now)
        self._forget(now, forecasts)
        return forecasts

    def history(self, mount_point: str) -> History:
        """The history of a mount point; empty if it was never seen."""
        if mount_point not in self._histories:
            self._histories[mount_point] = History()
        return self._histories[mount_point]

    def split(self, mount_point: str) -> None:
        """An action of ours has changed the room of this mount point: begin anew."""
        if mount_point in self._histories:
            self._histories[mount_point].split()

    def to_json(self) -> dict[str, object]:
        """Plain values of at most 24 KiB, for the state that outlives the process: the mounts nearest to their end."""
        known = [(history.headroom, name) for name, history in self._histories.items() if history.headroom is not None]
        return {name: self._histories[name].to_json() for _, name in sorted(known)[:MAX_SAVED_MOUNTS]}

    @classmethod
    def from_json(cls, document: object, now: float) -> "Forecaster":
        """What to_json gave; what cannot be used of it is left out."""
        forecaster = cls()
        for mount_point, history in document.items() if isinstance(document, dict) else ():
            if isinstance(mount_point, str):
                forecaster._histories[mount_point] = History.from_json(history, now)
        return forecaster

    def _forget(self, now: float, seen: Mapping[str, Forecast]) -> None:
        """Mount points come and go; one that is absent for a moment (a source failed) keeps its history."""
        for mount_point in [name for name in self._histories if name not in seen]:
            latest = self._histories[mount_point].latest
            if latest is None or latest < now - _FORGOTTEN:
                del self._histories[mount_point]
