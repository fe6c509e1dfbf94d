# SPDX-License-Identifier: Apache-2.0
"""What was announced against what happened. Pure: no file, no clock.

To be reached: never more than 1 % (or 1 MiB) too much; at most 5 % (or 4 MiB) too little; limit and failure named
right.
"""

from dataclasses import dataclass
from typing import Final

from benchmarks.accuracy.measure import Result, Sample
from tests.integration.devices import MIB

POINTS: Final = {"start": 0.0, "half": 0.5, "nine tenths": 0.9}
"""Where the announced figure is compared: parts of what went in."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """At one point: bytes announced (None: unknown), and bytes that then went in."""

    announced: int | None
    truth: int

    @property
    def difference(self) -> int:
        """Above 0: announced too much. An unknown figure announces nothing."""
        return (self.announced or 0) - self.truth

    @property
    def too_much(self) -> bool:
        """More than 1 % or 1 MiB, whichever is more."""
        return self.difference > max(self.truth // 100, MIB)

    @property
    def too_little(self) -> bool:
        """More than 5 % or 4 MiB, whichever is more."""
        return -self.difference > max(self.truth // 20, 4 * MIB)


@dataclass(frozen=True, slots=True)
class Finding:
    """One case, judged. `wrong` names what was not reached, in the order of importance."""

    result: Result
    comparisons: tuple[Comparison, ...]
    wrong: tuple[str, ...]


def judge(result: Result) -> Finding:
    """Compare at the start, at half and at nine tenths."""
    comparisons = tuple(_compare(result, part) for part in POINTS.values())
    return Finding(result, comparisons, tuple(_wrong(result, comparisons)))


def _compare(result: Result, part: float) -> Comparison:
    """With the sample that is nearest to this part of what went in."""
    nearest = min(result.samples, key=lambda sample: _distance(sample, part * result.written))
    return Comparison(nearest.headroom, result.written - nearest.written)


def _distance(sample: Sample, wanted: float) -> float:
    return abs(sample.written - wanted)


def _wrong(result: Result, comparisons: tuple[Comparison, ...]) -> list[str]:
    wrong = [f"too much at {name}" for name, one in zip(POINTS, comparisons, strict=True) if one.too_much]
    if not (result.limit or "").startswith(result.ended):
        wrong.append(f"limit {result.limit}, but {result.ended.rstrip(':')} ended")
    if result.failure != result.happened:
        wrong.append(f"failure {result.failure}, but it was {result.happened}")
    return wrong + [f"too little at {name}" for name, one in zip(POINTS, comparisons, strict=True) if one.too_little]
