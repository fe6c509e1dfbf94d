# SPDX-License-Identifier: Apache-2.0
"""How fast a mount point fills and when it will be full, said only where it is justified.

This file must not know what is done about it, and reads no clock.

Straight lines through the last hours (`predict_linear`) cry wolf after every package installation,
and windows of minutes are too slow for an overlay that fills in seconds. So there is a ladder of
windows, and a rule: **what was seen for a short time says something about a short time only.** Each
window reaches ahead a few times its own span; a fill is forecast if in some window it was

1. warm: looks were taken all through the window, none of its slopes is drawn through a hole;
2. material: what was consumed, continued, fills the rest within the window's reach. This alone makes
   noise harmless: a flutter below 1/24 of what is left can never become a forecast;
3. sustained: of the slopes over a quarter of the window three in four are within reach of the
   average, and so is the newest. One step, however large (a package, a copied image), touches at most
   8 of the 13 slopes and is none; and within a quarter of the window after its end a fill is over;
4. new: not the next tooth of a saw, see History.believable_rate().

The rate is the lesser of the median of these slopes and of the average over the window: a noisy look
at either end moves neither far, and a fill that has just begun is not called faster than it was. Of
several windows the fastest fill counts: it is full first.

What it costs: an installation that goes on for a minute and would fill the rest within ten *is* forecast
while it lasts (policies have `hold` for that), and a leak that shows itself once in ten minutes is
seen only by what it has used.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from overlaywatch.history import MAX_SPAN, History
from overlaywatch.model import NO_FORECAST, Forecast, LayerId, Reading, Verdict

HORIZONS: Final = ((2.0, 8.0), (10.0, 60.0), (60.0, 600.0), (300.0, 3600.0), (MAX_SPAN, 43200.0))
"""(seconds looked back, seconds looked ahead): three for bursts, two for trends."""

GAUGE_SPAN: Final = 60.0
"""Seconds over which the fill rate is averaged where nothing is forecast, and what it takes to warm up."""

CALM: Final = Forecast(0.0, None)
MAX_SAVED_MOUNTS: Final = 16

_CELLS: Final = 16
_LAG: Final = 4
_SUSTAINED: Final = 0.25


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
    rate = max(_sustained(history, now, span, headroom / reach) for span, reach in HORIZONS)
    return Forecast(rate, headroom / rate) if rate else Forecast(_average(history, now), None)


def _average(history: History, now: float) -> float | None:
    if not history.is_warm(now, GAUGE_SPAN):
        return None
    return max(0.0, (history.room_at(now - GAUGE_SPAN) - history.room_at(now)) / GAUGE_SPAN)


def _is_level(history: History, now: float) -> bool:
    """The common case, and cheap: nothing moved in any window."""
    since = history.level_since
    return since is not None and (since <= now - MAX_SPAN or since == history.started)


def _sustained(history: History, now: float, span: float, needed: float) -> float:
    """Bytes/s of the fill that went on all through the last `span` seconds, at least `needed`; else 0."""
    begin = now - span
    if not history.is_warm(now, span):
        return 0.0
    average = (history.room_at(begin) - history.room_at(now)) / span
    average = min(average, history.believable_rate(now, span))
    if average < needed or history.widest_hole(begin) > span * _LAG / _CELLS:
        return 0.0
    slopes = _slopes(history, now, span)
    ordered = sorted(slopes)
    rate = min(average, ordered[len(ordered) // 2])
    lasting = min(ordered[len(ordered) // 4], slopes[-1])
    return rate if rate >= needed and lasting >= rate * _SUSTAINED else 0.0


def _slopes(history: History, now: float, span: float) -> list[float]:
    """Bytes/s over each quarter of the window, oldest first: 13 overlapping ones, on 17 points in equal steps."""
    cell = span / _CELLS
    rooms = [history.room_at(now - span + i * cell) for i in range(_CELLS)]
    rooms.append(history.room_at(now))
    return [(rooms[i] - rooms[i + _LAG]) / (cell * _LAG) for i in range(_CELLS - _LAG + 1)]


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
            history.push(now, headroom, verdict.limit, limit.size_bytes if limit else None)
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
            if latest is None or latest < now - MAX_SPAN:
                del self._histories[mount_point]
