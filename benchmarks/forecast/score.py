# SPDX-License-Identifier: Apache-2.0
"""What became of a rule along a trace: how long before the end it paged, how often for nothing, how far off it was.

Must not know how a rule comes to its answers.
"""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from benchmarks.forecast.rules import Answer, Rule
from benchmarks.forecast.traces import Era, Trace

POINTS: Final = (0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05)
"""Moments at which a forecast is compared with the truth: this part of the fill is still to come."""
LENIENT: Final = 1.5
"""A page is not a false one if the room ends within so many horizons."""
_NEAR: Final = 900.0
"""Seconds before its end at which a fill that is stopped had to be announced."""
_LEAST: Final = 1.0
"""Seconds before the end below which nothing is compared."""


@dataclass(frozen=True, slots=True)
class Score:
    """Of one rule on one or more traces. `leads` in seconds; a fill that was missed has none.

    `factors` are those by which a time to full was too long or too short; `silent` counts the moments at which there
    was none.
    """

    fills: int = 0
    missed: int = 0
    false: int = 0
    leads: tuple[float, ...] = ()
    factors: tuple[float, ...] = ()
    silent: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.fills + other.fills,
            self.missed + other.missed,
            self.false + other.false,
            self.leads + other.leads,
            self.factors + other.factors,
            self.silent + other.silent,
        )

    @property
    def lead(self) -> float | None:
        """The median of the seconds from the first page to the end; of a missed fill 0."""
        return statistics.median([*self.leads, *[0.0] * self.missed]) if self.fills else None

    def within(self, share: float) -> float | None:
        """The factor that so many of all are within."""
        return sorted(self.factors)[int(share * (len(self.factors) - 1))] if self.factors else None

    @property
    def error(self) -> tuple[float, float] | None:
        """Median and worst factor."""
        return (statistics.median(self.factors), max(self.factors)) if self.factors else None


def score(rule: Rule, trace: Trace) -> Score:
    """One rule along one trace."""
    answers = list(rule.answers(trace))
    total = Score(false=sum(1 for at in _begun(answers) if _is_false(trace.era(at), at, rule.horizon)))
    for era in trace.eras:
        if era.end < inf:
            total += _of_fill(rule, trace, era, [one for one in answers if era.start <= one.at < era.end])
    return total


def _of_fill(rule: Rule, trace: Trace, era: Era, answers: Sequence[Answer]) -> Score:
    pages = (one.at for one in answers if one.pages and not _is_false(era, one.at, rule.horizon) and one.at < era.stop)
    first = next(pages, None)
    # A fill that is ended by somebody, before it was anywhere near, is no fill that was missed.
    due = era.end <= era.stop or era.end - era.stop < min(rule.horizon / 2, _NEAR)
    found = list(_compared(trace, era, answers))
    return Score(
        fills=int(due),
        missed=int(due and first is None),
        leads=() if first is None or not due else (era.end - first,),
        factors=tuple(one for one in found if one is not None),
        silent=sum(one is None for one in found),
    )


def _begun(answers: Iterable[Answer]) -> Iterator[float]:
    """When it began to page."""
    paging = False
    for answer in answers:
        if answer.pages and not paging:
            yield answer.at
        paging = answer.pages


def _is_false(era: Era, at: float, horizon: float) -> bool:
    return at < era.end and era.end - at > horizon * LENIENT


def _compared(trace: Trace, era: Era, answers: Sequence[Answer]) -> Iterator[float | None]:
    """For each point that can be asked for: the factor, or None where nothing was forecast."""
    for point in POINTS:
        at = era.end - (era.end - era.fills_from) * point
        if era.end - at < _LEAST or not era.start <= at < era.stop or trace.seen(at) is None:
            continue
        latest = next((one for one in reversed(answers) if one.at <= at), None)
        if latest is None or latest.to_full is None:
            yield None
        else:
            expected, true = max(latest.to_full - (at - latest.at), 0.1), era.end - at
            yield max(expected / true, true / expected)
