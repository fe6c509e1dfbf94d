# SPDX-License-Identifier: Apache-2.0
"""When the next tick is due, and which layers are peeked at before it.

Must not know how a layer is read. pace.py has the rules; here they meet the machine: which limits can
run dry, how fast they have been filling, and what a peek finds.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from overlaywatch import pace
from overlaywatch.engine.monitor import Observation
from overlaywatch.forecast import Forecaster
from overlaywatch.model import BROKEN, Failure, Layer, LayerId, LayerKind, Reading, Survey, Verdict
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
        self._snapshots = Snapshots()

    def seconds(self, now: float) -> float:
        """How long there is nothing to do but wait for events."""
        return max(0.0, min(self.tick_at, self.tick_at if self.peek_at is None else self.peek_at) - now)

    def hurry(self, now: float) -> None:
        """Something has happened: tick at once, but a storm of events must not cost more than a fast fill."""
        self.tick_at = min(self.tick_at, max(now, self._ticked_at + pace.SHORTEST_TICK))

    def fail(self, now: float) -> None:
        """A tick came to nothing: the next one in a second, so that a fault that stays costs little."""
        self._ticked_at, self.tick_at, self.peek_at = now, now + pace.UNPEEKED_TICK, None

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
        survey = observation.survey
        mounts = [*_of_mounts(observation, forecaster, now, self._peekers)]
        self._snapshots.look(survey)
        pause = pace.next_tick((room for _, room in mounts), interval, due, cost)
        self._ticked_at, self.tick_at = now, now + pause
        ends = {**self._snapshots.ends, **{id_: pace.until_peek(room) for id_, room in mounts if id_ is not None}}
        wanted = [id_ for id_, seconds in ends.items() if seconds < pause]
        self._targets = tuple(_targets(wanted, survey))
        self._peek_every = pace.next_of([ends[target.layer.id] for target in self._targets], pause)
        self.peek_at = None if self._peek_every is None else now + self._peek_every
        return pause

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
    observation: Observation, forecaster: Forecaster, now: float, peekable: Collection[LayerKind]
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
                peekable=(verdict.limit or "").partition(":")[0] in peekable,
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


class Snapshots:
    """Every snapshot that can overflow, mounted or not: its end is to be seen when it happens.

    `ends` are the seconds in which a peek at each is wanted; worked out anew only for new readings.
    """

    def __init__(self) -> None:
        self.ends: dict[LayerId, float] = {}
        self._layers: tuple[Layer, ...] = ()
        self._snapshots: list[Layer] = []
        self._readings: list[Reading | None] = []

    def look(self, survey: Survey) -> None:
        """Take in the readings of one survey."""
        if survey.layers is not self._layers:
            self._layers = survey.layers
            self._snapshots = [layer for layer in survey.layers if layer.kind is LayerKind.DM_SNAPSHOT]
        readings = [survey.readings.get(layer.id) for layer in self._snapshots]
        if readings != self._readings:
            self._readings = readings
            self.ends = dict(self._ends())

    def _ends(self) -> Iterator[tuple[LayerId, float]]:
        for layer, reading in zip(self._snapshots, self._readings, strict=True):
            if reading is not None and not reading.cannot_overflow and reading.state not in BROKEN:
                silent = layer.failure is Failure.READ_ONLY
                yield layer.id, pace.until_peek(Room(reading.headroom_bytes, peekable=True, silent=silent))


def _targets(wanted: Iterable[LayerId], survey: Survey) -> Iterator[Target]:
    layers = {layer.id: layer for layer in survey.layers} if wanted else {}
    for id_ in wanted:
        reading = survey.readings.get(id_)
        if id_ in layers and reading is not None:
            yield Target(layers[id_], reading)
