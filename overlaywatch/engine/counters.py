# SPDX-License-Identifier: Apache-2.0
"""What the daemon counts about itself; the object `daemon` of every tick that goes to the frontend.

Must not know what metrics are called. Counts live as long as the process, as Prometheus expects.
"""

import os
import platform
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Final

from overlaywatch import __version__
from overlaywatch.model import Decision, Outcome, SourceReport, Tick

TICK_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds. A tick with ten mounts takes about half a millisecond; one that takes 2.5 s is in trouble."""


class Counters:
    """Counters and the tick histogram, and how they look as JSON."""

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._buckets = [0] * (len(TICK_BUCKETS) + 1)
        self._ticks_seconds = 0.0
        self._decisions: Counter[tuple[str, str, str]] = Counter()
        self._actions: Counter[tuple[str, str, str]] = Counter()
        self._freed: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()
        self._alerts: Counter[tuple[str, str]] = Counter()
        self.config_hash = ""
        self.config_last_reload_successful = True

    def tick_took(self, seconds: float) -> None:
        """One finished tick."""
        self._buckets[bisect_left(TICK_BUCKETS, seconds)] += 1
        self._ticks_seconds += seconds

    def looked(self, sources: Iterable[SourceReport]) -> None:
        """What the sources of one look did not understand."""
        self._unknown.update({one.source: one.unknown_statuses for one in sources})

    def decided(self, decisions: Iterable[Decision]) -> None:
        """Decisions, whether or not they were carried out."""
        self._decisions.update((one.policy, one.stage, one.action) for one in decisions)

    def ended(self, outcomes: Iterable[Outcome]) -> None:
        """Actions that came to an end."""
        for one in outcomes:
            self._actions[one.action, one.type, one.kind.value] += 1
            self._freed[one.action] += one.freed_bytes

    def delivered(self, receiver: str, outcome: str) -> None:
        """A notification that reached its receiver, or did not."""
        self._alerts[receiver, outcome] += 1

    def as_json(self, tick: Tick, *, ready: bool) -> dict[str, object]:
        """The object `daemon`, complete."""
        return {
            "version": __version__,
            "python": platform.python_version(),
            "pid": os.getpid(),
            "started_at": self._started_at,
            "ready": ready,
            "paused": tick.paused,
            "pace_seconds": tick.pace_seconds,
            "last_tick": tick.unix_time,
            "tick_histogram": self._histogram(),
            "sources": [
                {
                    "source": one.source,
                    "success": one.success,
                    "duration_seconds": one.duration_seconds,
                    "unknown_statuses": self._unknown[one.source],
                }
                for one in tick.survey.sources
            ],
            "decisions": [[*key, count] for key, count in self._decisions.items()],
            "actions": [[*key, count] for key, count in self._actions.items()],
            "freed": [[action, count] for action, count in self._freed.items()],
            "alerts": [[*key, count] for key, count in self._alerts.items()],
            "config_hash": self.config_hash,
            "config_last_reload_successful": self.config_last_reload_successful,
        }

    def _histogram(self) -> dict[str, object]:
        """Buckets are cumulative, as in the exposition format; the last one is +Inf."""
        bounds = (*(str(bound) for bound in TICK_BUCKETS), "+Inf")
        total, buckets = 0, []
        for bound, count in zip(bounds, self._buckets, strict=True):
            total += count
            buckets.append([bound, total])
        return {"buckets": buckets, "sum": self._ticks_seconds, "count": total}
