# SPDX-License-Identifier: Apache-2.0
"""What the frontend reports: taken in, counted, and told in the journal within bounds.

Must not know how it came. The frontend reads what strangers send: each report is well-formed by now
(pipe.parse_report), but not therefore true, and there may be any number of them.
"""

import logging
from collections.abc import Iterable
from typing import Final

from overlaywatch.engine import journal
from overlaywatch.engine.counters import Counters
from overlaywatch.engine.outbox import Outbox
from overlaywatch.pipe import Delivered, Listening, Problem, Report
from overlaywatch.units import printable

log: Final = logging.getLogger(__name__)

MOST_LINES: Final = 60
WINDOW: Final = 60.0
"""So many lines in so many seconds: every delivery that fails is one, and so is every line of a traceback."""


class Hearsay:
    """`is_listening` once a frontend has said that it listens, or where it could not."""

    def __init__(self, outbox: Outbox, counters: Counters) -> None:
        self._outbox = outbox
        self._counters = counters
        self._lines = 0
        self._window_ends = float("-inf")
        self.is_listening = False

    def take(self, reports: Iterable[Report], now: float) -> None:
        """Believe what concerns our own notifications; say the rest."""
        for report in reports:
            match report:
                case Listening():
                    self.is_listening = True
                    self._say_where(report, now)
                case Delivered():
                    self._note(report, now)
                case Problem():
                    for line in report.text.split("\n"):
                        self._say(f"frontend: {line}", now)

    def _say_where(self, report: Listening, now: float) -> None:
        if report.runs_as:
            self._say(f"the frontend {report.runs_as}", now, logging.INFO)
        if self._may_speak(now):
            journal.listening([printable(one) for one in report.addresses], [printable(one) for one in report.failed])

    def _note(self, report: Delivered, now: float) -> None:
        if self._outbox.delivered(report):
            self._counters.delivered(report.receiver, report.outcome)
            if report.error:
                self._say(f"{report.receiver}: {report.target}: {report.error}", now)

    def _say(self, text: str, now: float, level: int = logging.WARNING) -> None:
        if self._may_speak(now):
            log.log(level, "%s", printable(text))

    def _may_speak(self, now: float) -> bool:
        if now >= self._window_ends:
            self._lines, self._window_ends = 0, now + WINDOW
        self._lines += 1
        if self._lines == MOST_LINES + 1:
            log.warning(
                "the frontend says more than %d lines a minute: the rest is not shown; mend what these tell of",
                MOST_LINES,
            )
        return self._lines <= MOST_LINES
