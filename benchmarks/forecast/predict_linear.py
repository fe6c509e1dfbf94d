# SPDX-License-Identifier: Apache-2.0
"""Prometheus' predict_linear, after promql/functions.go: least squares with compensated sums.

`regress` goes through a window as Prometheus does, number by number. `Window` slides along a series and says
the same (tests/forecast compares them, and both with a real Prometheus) at a cost that does not grow with the
window: its sums are whole numbers, so that what is subtracted leaves nothing behind.
"""

from collections import deque
from collections.abc import Sequence

Sample = tuple[int, int]
"""Milliseconds, bytes: what Prometheus stores."""


def _add(value: float, total: float, rest: float) -> tuple[float, float]:
    """One step of a sum after Kahan and Neumaier: the sum, and what rounding has lost of it so far."""
    grown = total + value
    lost = (total - grown) + value if abs(total) >= abs(value) else (value - grown) + total
    return grown, rest + lost


def regress(samples: Sequence[Sample], now: int) -> tuple[float, float] | None:
    """(bytes/s, bytes at `now`) of the straight line through the samples; None for fewer than two."""
    if len(samples) < 2:
        return None
    first = samples[0][1]
    if all(value == first for _, value in samples):
        return 0.0, float(first)
    sums = [(0.0, 0.0)] * 4
    for at, value in samples:
        x, y = (at - now) / 1e3, float(value)
        sums = [_add(one, *so_far) for one, so_far in zip((x, y, x * y, x * x), sums, strict=True)]
    n = float(len(samples))
    x, y, xy, xx = (total + rest for total, rest in sums)
    slope = (xy - x * y / n) / (xx - x * x / n)
    return slope, y / n - slope * x / n


def predict_linear(samples: Sequence[Sample], now: int, seconds: float) -> float | None:
    """predict_linear(v[w], seconds) at `now` (milliseconds), for the samples of the window."""
    line = regress(samples, now)
    return None if line is None else line[0] * seconds + line[1]


class Window:
    """The last `seconds` of a series. A sample exactly so old belongs to it, as up to Prometheus 2."""

    def __init__(self, seconds: float) -> None:
        self._span = round(seconds * 1000)
        self._samples: deque[Sample] = deque()
        self._x = self._y = self._xy = self._xx = 0

    def push(self, at: int, value: int) -> None:
        """One more sample."""
        self._samples.append((at, value))
        self._count(at, value, 1)
        while self._samples[0][0] < at - self._span:
            self._count(*self._samples.popleft(), -1)

    def line(self, now: int) -> tuple[float, float] | None:
        """What regress() says of the samples."""
        n = len(self._samples)
        if n < 2:
            return None
        # Whole numbers, so that nothing is lost before the division.
        below = n * self._xx - self._x * self._x
        above = n * self._xy - self._x * self._y
        return above / below * 1e3, (self._y * below - above * (self._x - n * now)) / (n * below)

    def _count(self, at: int, value: int, sign: int) -> None:
        self._x += sign * at
        self._y += sign * value
        self._xy += sign * at * value
        self._xx += sign * at * at
