# SPDX-License-Identifier: Apache-2.0
"""The forecast along traces: each kind of fill is announced, and what fits pages nobody.

docs/forecast.md has the same with more seeds, and beside predict_linear; here the first trace of each family is a
test, so that a change that makes the forecast worse is seen at once.
"""

from dataclasses import replace
from math import inf

import pytest

from benchmarks.forecast.made import FAMILIES, Family, traces_of
from benchmarks.forecast.rules import Ours, own_looks
from benchmarks.forecast.score import score
from benchmarks.forecast.traces import SNAPSHOT, Era, Hole, Pen, Trace, recorded
from overlaywatch.units import GIB, MIB

OVER_IN_A_SECOND = {"tar-fills"}
STOPS_BY_ITSELF = {"rotation-snapshot"}
"""Half of the store is used up at an even pace; then ext4 begins to write where it has written before."""

PAGE = Ours("page", 1800, 30)
ACT = Ours("act", 60, 0)

TOO_FAST_TO_PAGE = {"burst from calm"}
UNEVEN = {"runaway", "files at random", "installation that does not fit"}
"""Fills whose speed changes by itself, so that no rate so far is that to come."""
CANNOT_BE_KNOWN = {"jobs that tidy up": 2, "log rotation": 1, "installation that fits, large": 1, "fill that stops": 1}
"""Pages of one trace at most: what takes more than a third of the room looks like a fill until it has ended."""


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_each_family(family: Family) -> None:
    """No fill is missed, no page is false but where nobody could know."""
    found = score(PAGE, traces_of(replace(family, count=1))[0])
    assert found.false <= CANNOT_BE_KNOWN.get(family.name, 0)
    if family.name not in TOO_FAST_TO_PAGE:
        assert found.missed == 0
    if found.error is not None and family.name not in UNEVEN:
        assert found.error[1] < 1.5, "the time to full, at the worst of all moments"


@pytest.mark.parametrize("trace", recorded(), ids=lambda trace: trace.name)
def test_each_recorded_trace(trace: Trace) -> None:
    """Real fills are announced before they end, and what fits is not called a fill that ends within the minute."""
    found = score(ACT, trace)
    assert found.missed == (trace.name in OVER_IN_A_SECOND)
    assert found.false == (trace.name in STOPS_BY_ITSELF)


def steady(hole: Hole) -> Trace:
    """A gigabyte filled at a megabyte a second, with a hole in the midst in which as much is written, or nothing."""
    pen = Pen(GIB)
    pen.take(hole.start * MIB, hole.start)
    pen.take(0 if hole.clock_stands else (hole.stop - hole.start) * MIB, hole.stop - hole.start)
    pen.take(pen.room, pen.room / MIB)
    return replace(pen.trace("steady"), holes=(hole,))


def test_suspended_guest_goes_on_where_it_was() -> None:
    """CLOCK_MONOTONIC stands still in a suspended guest: nothing is missing, the forecast is right at the next look."""
    trace = steady(Hole(600.0, 4200.0))
    found = {at: one for at, _, one in own_looks(trace) if at >= 4200.0}
    first = found[min(found)]
    assert first.time_to_full_seconds == pytest.approx(trace.eras[0].end - 4200.0, rel=0.05)


def test_clock_that_leapt_leaves_a_hole_and_no_slope() -> None:
    """Where the clock went on and nobody looked, nothing is forecast through the hole; later it is right again."""
    trace = steady(Hole(300.0, 500.0, clock_stands=False))
    found = [(at, one.time_to_full_seconds) for at, _, one in own_looks(trace) if at >= 500.0]
    told = [(at, to_full) for at, to_full in found if to_full is not None and at < trace.eras[0].end]
    assert found[0][1] is None
    assert told[0][0] < trace.eras[0].end - 200
    assert all(to_full == pytest.approx(trace.eras[0].end - at, rel=0.1, abs=2) for at, to_full in told)


def test_growth_begins_anew() -> None:
    """Room that a larger store brought is no recovery, and what filled the smaller one is no slope."""
    pen = Pen(GIB, limit=SNAPSHOT)
    pen.take(0.9 * GIB, 1800)
    grown = pen.at
    pen.take(-GIB, 0.5)
    pen.calm(1800)
    trace = replace(pen.trace("growth"), grown_at=grown + 0.25, eras=(Era(0.0, grown, 2000.0), Era(grown, inf)))
    after = [one.time_to_full_seconds for at, _, one in own_looks(trace) if at > grown + 0.25]
    assert set(after) == {None}
