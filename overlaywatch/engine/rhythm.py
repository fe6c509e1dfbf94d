# SPDX-License-Identifier: Apache-2.0
"""When the next tick is due, and which layers are peeked at before it.

Must not know how a layer is read. pace.py has the rules; here they meet the machine: which limits can
run dry, how fast they have been filling, and what a peek finds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from overlaywatch import pace
from overlaywatch.engine.monitor import Observation
from overlaywatch.forecast import Forecaster
from overlaywatch.model import BROKEN, Failure, Layer, LayerId, LayerKind, Reading, Verdict
from overlaywatch.pace import Room
from overlaywatch.ports import Peeker, Source, SourceError

View = TypeVar("View")


@dataclass(frozen=True, slots=True)
class Target:
    """A layer to peek at, and what the last tick read there."""

    layer: Layer
    reading: Reading


class Rhythm(Generic[View]):
    """Times of the monotonic clock: `tick_at` and `peek_at` (None: the tick comes first)."""

    def __init__(self, sources: Sequence[Source[View]]) -> None:
        self._peekers: dict[LayerKind, Peeker[View]] = {
            kind: source for source in sources if isinstance(source, Peeker) for kind in source.kinds
        }
        self.tick_at = self._ticked_at = 0.0
        self.peek_at: float | None = None
        self._peek_every: float | None = None
        self._targets: tuple[Target, ...] = ()

    def seconds(self, now: float) -> float:
        """How long there is nothing to do but wait for events."""
        return max(0.0, min(self.tick_at, self.tick_at if self.peek_at is None else self.peek_at) - now)

    def hurry(self, now: float) -> None:
        """Something has happened: tick at once, but a storm of events must not cost more than a fast fill."""
        self.tick_at = min(self.tick_at, max(now, self._ticked_at + pace.SHORTEST_TICK))

    def is_peek_due(self, now: float) -> bool:
        """Whether it is time for a peek."""
        return self.peek_at is not None and now >= self.peek_at

    def plan(
        self,
        observation: Observation,
        forecaster: Forecaster,
        now: float,
        interval: float,
        due: float | None,
        cost: float,
    ) -> float:
        """After a tick: when to look again. Returns the seconds until the next tick."""
        layers = {layer.id: layer for layer in observation.survey.layers}
        rooms = [*_of_mounts(observation, forecaster, now, self._can_peek(layers)), *_of_snapshots(observation)]
        pause = pace.next_tick((room for _, room in rooms), interval, due, cost)
        self._ticked_at, self.tick_at = now, now + pause
        self._targets = tuple(_targets(rooms, pause, layers, observation.survey.readings))
        peek = pace.next_peek((room for _, room in rooms), pause) if self._targets else None
        self._peek_every = peek
        self.peek_at = now + peek if peek is not None else None
        return pause

    def _can_peek(self, layers: Mapping[LayerId, Layer]) -> frozenset[LayerId]:
        return frozenset(id_ for id_, layer in layers.items() if layer.kind in self._peekers)

    def peek(self, view: View, now: float) -> bool:
        """Look at what could end before the next tick. True if a tick should follow at once."""
        every = self._peek_every
        self.peek_at = now + every if every is not None and now + every < self.tick_at else None
        return any(self._has_news(target, view) for target in self._targets)

    def _has_news(self, target: Target, view: View) -> bool:
        peeker = self._peekers[target.layer.kind]
        try:
            reading = peeker.peek(view, target.layer, target.reading)
        except (SourceError, OSError):
            return True
        if reading is None:
            return False
        if reading.state is not target.reading.state:
            return True
        before, after = target.reading.headroom_bytes, reading.headroom_bytes
        return before is not None and after is not None and pace.is_news(after, before - after)


def _of_mounts(
    observation: Observation, forecaster: Forecaster, now: float, peekable: frozenset[LayerId]
) -> Iterator[tuple[LayerId | None, Room]]:
    readings = observation.survey.readings
    for verdict in observation.verdicts:
        history = forecaster.history(verdict.mount.mount_point)
        pending = _pending(verdict, readings)
        yield (
            verdict.limit,
            Room(
                headroom_bytes=_gross(verdict, pending),
                peak_fill_bytes_per_second=history.peak_rate(now),
                moved_bytes=history.moved_bytes,
                pending_bytes=pending,
                peekable=verdict.limit in peekable,
                silent=verdict.failure is Failure.READ_ONLY,
                ended=bool(verdict.states & BROKEN) or verdict.headroom_bytes == 0,
            ),
        )


def _pending(verdict: Verdict, readings: Mapping[LayerId, Reading]) -> int:
    top = readings.get(verdict.chain[0]) if verdict.chain else None
    return top.pending_bytes or 0 if top else 0


def _gross(verdict: Verdict, pending: int) -> int | None:
    """Room before dirty data is subtracted, as pace wants it: a limit below the file system has it subtracted."""
    if verdict.headroom_bytes is None or verdict.limit == verdict.chain[0]:
        return verdict.headroom_bytes
    return verdict.headroom_bytes + pending


def _of_snapshots(observation: Observation) -> Iterator[tuple[LayerId | None, Room]]:
    """Every snapshot that can overflow, mounted or not: its end is to be seen when it happens."""
    for layer in observation.survey.layers:
        if layer.kind is not LayerKind.DM_SNAPSHOT:
            continue
        reading = observation.survey.readings.get(layer.id)
        if reading is None or reading.cannot_overflow or reading.state in BROKEN:
            continue
        silent = layer.failure is Failure.READ_ONLY
        yield layer.id, Room(headroom_bytes=reading.headroom_bytes, peekable=True, silent=silent)


def _targets(
    rooms: Iterable[tuple[LayerId | None, Room]],
    pause: float,
    layers: Mapping[LayerId, Layer],
    readings: Mapping[LayerId, Reading],
) -> Iterator[Target]:
    wanted = dict.fromkeys(id_ for id_, room in rooms if id_ is not None and pace.needs_peek(room, pause))
    for id_ in wanted:
        if id_ in layers and id_ in readings:
            yield Target(layers[id_], readings[id_])
