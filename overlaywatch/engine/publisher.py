# SPDX-License-Identifier: Apache-2.0
"""Which ticks the frontend is told, and as what bytes.

Must not know how they get there. Ticks may come every 10 ms, and nobody scrapes as often: one that
says nothing new in words is told at most ten times a second.
"""

from typing import Final

from overlaywatch import pipe
from overlaywatch.document import DocumentCache, JsonCache, status_document
from overlaywatch.engine.counters import Counters
from overlaywatch.model import Tick

SHORTEST: Final = 0.1


class Publisher:
    """Remembers what was told last."""

    def __init__(self) -> None:
        self._documents = DocumentCache()
        self._texts = JsonCache()
        self._told: Tick | None = None

    def encode(self, tick: Tick, counters: Counters, *, ready: bool) -> bytes | None:
        """The frame of this tick, or None if it is not worth one."""
        told = self._told
        if (
            told is not None
            and tick.now - told.now < SHORTEST
            and tick.pace_seconds < SHORTEST
            and not _new(tick, told)
        ):
            return None
        self._told = tick
        document = status_document(tick, self._documents)
        return pipe.encode_tick(self._texts.encode(document), counters.as_json(tick, ready=ready))


def _new(tick: Tick, told: Tick) -> bool:
    """Whether something is different that is a word, not a figure."""
    if tick.decisions or tick.outcomes or tick.paused != told.paused:
        return True
    return _words(tick) != _words(told)


def _words(tick: Tick) -> tuple[object, ...]:
    states = [reading.state for reading in tick.survey.readings.values()]
    stages = [stage.active for stage in tick.stages]
    return len(tick.survey.layers), states, stages, [verdict.limit for verdict in tick.verdicts]
