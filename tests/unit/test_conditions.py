# SPDX-License-Identifier: Apache-2.0
"""The five conditions: what makes each true, false or unknown, and how it is said."""

import pytest

from overlaywatch.conditions import (
    Finding,
    Truth,
    any_of,
    headroom_below,
    inodes_above,
    state_is,
    time_to_full_below,
    unsure_state_is,
    used_above,
)
from overlaywatch.model import NO_FORECAST, Failure, Forecast, LayerState, Verdict
from overlaywatch.units import MIB
from tests.verdicts import root

TRUE, FALSE, UNKNOWN = Truth.TRUE, Truth.FALSE, Truth.UNKNOWN
BAD = frozenset({LayerState.OVERFLOW, LayerState.INVALID})


def states(*names: LayerState) -> frozenset[LayerState]:
    """A chain of layers in these states."""
    return frozenset(names)


@pytest.mark.parametrize(
    ("found", "truth"),
    [
        ([], FALSE),
        ([FALSE], FALSE),
        ([FALSE, UNKNOWN], UNKNOWN),
        ([UNKNOWN, FALSE, TRUE], TRUE),
        ([TRUE, FALSE], TRUE),
        ([UNKNOWN, UNKNOWN], UNKNOWN),
    ],
)
def test_any_of(found: list[Truth], truth: Truth) -> None:
    """True wins over unknown, unknown over false; nothing is false."""
    assert any_of(Finding(one, "") for one in found).truth is truth


def test_any_of_gives_the_reasons_that_count() -> None:
    """A true stage is explained by what is true, an unknown one by what is unknown, a false one by all."""
    one, two, three = Finding(TRUE, "a"), Finding(UNKNOWN, "b"), Finding(FALSE, "c")
    assert any_of([one, two, three]).reason == "a"
    assert any_of([two, three]).reason == "b"
    assert any_of([three, three]).reason == "c; c"


@pytest.mark.parametrize(
    ("verdict", "finding"),
    [
        (root(used=0.834), Finding(TRUE, "used 83.4% is above 70% (limit dm-snapshot:live-rw)")),
        (root(used=0.7), Finding(FALSE, "used 70.0% is not above 70% (limit dm-snapshot:live-rw)")),
        (root(used=None), Finding(UNKNOWN, "how much is used is not known")),
        (root(used=None, failure=Failure.NONE), Finding(FALSE, "it cannot overflow")),
    ],
)
def test_used_above(verdict: Verdict, finding: Finding) -> None:
    """More than the ratio, not as much; unknown if it was not read."""
    assert used_above(0.7, verdict) == finding


@pytest.mark.parametrize(
    ("verdict", "finding"),
    [
        (
            root(headroom=12 * MIB),
            Finding(TRUE, "headroom 12.0 MiB is below 128.0 MiB (limit dm-snapshot:live-rw)"),
        ),
        (
            root(headroom=128 * MIB),
            Finding(FALSE, "headroom 128.0 MiB is not below 128.0 MiB (limit dm-snapshot:live-rw)"),
        ),
        (root(headroom=0), Finding(TRUE, "headroom 0 B is below 128.0 MiB (limit dm-snapshot:live-rw)")),
        (root(at_most=12 * MIB), Finding(TRUE, "headroom is at most 12.0 MiB, below 128.0 MiB")),
        (root(at_most=500 * MIB), Finding(UNKNOWN, "the headroom is not known")),
        (root(), Finding(UNKNOWN, "the headroom is not known")),
        (root(failure=Failure.NONE), Finding(FALSE, "it cannot overflow")),
    ],
)
def test_headroom_below(verdict: Verdict, finding: Finding) -> None:
    """Less than the size; an upper bound proves that, and never that there is enough."""
    assert headroom_below(128 * MIB, verdict) == finding


@pytest.mark.parametrize(
    ("verdict", "finding"),
    [
        (root(inodes=0.95), Finding(TRUE, "inodes used 95.0% is above 90%")),
        (root(inodes=0.5), Finding(FALSE, "inodes used 50.0% is not above 90%")),
        (root(), Finding(FALSE, "the file system does not count inodes")),
        (root(states=states(LayerState.UNREADABLE)), Finding(UNKNOWN, "how many inodes are used is not known")),
        (root(states=states()), Finding(UNKNOWN, "how many inodes are used is not known")),
    ],
)
def test_inodes_above(verdict: Verdict, finding: Finding) -> None:
    """A file system that counts no inodes never runs out of them; one that cannot be read may."""
    assert inodes_above(0.9, verdict) == finding


@pytest.mark.parametrize(
    ("forecast", "finding"),
    [
        (Forecast(2 * MIB, 720.0), Finding(TRUE, "time to full 12 min at 2.0 MiB/s is sooner than 30 min")),
        (Forecast(None, 0.0), Finding(TRUE, "time to full 0 s is sooner than 30 min")),
        (Forecast(2 * MIB, 1800.0), Finding(FALSE, "time to full 30 min at 2.0 MiB/s is not sooner than 30 min")),
        (Forecast(0.0, None), Finding(FALSE, "filling at 0 B/s, not forecast to be full")),
        (NO_FORECAST, Finding(UNKNOWN, "the fill rate is not known")),
    ],
)
def test_time_to_full_below(forecast: Forecast, finding: Finding) -> None:
    """What is not forecast is false; only a rate that is not known yet leaves it open."""
    assert time_to_full_below(1800.0, root(), forecast) == finding


@pytest.mark.parametrize(
    ("found", "truth", "reason"),
    [
        (states(LayerState.OK), FALSE, "state is ok, not invalid, overflow"),
        (states(LayerState.OK, LayerState.OVERFLOW), TRUE, "state is overflow"),
        (states(LayerState.UNREADABLE, LayerState.INVALID), TRUE, "state is invalid"),
        (states(LayerState.OK, LayerState.UNKNOWN), UNKNOWN, "state is ok, unknown: it may be invalid, overflow"),
        (states(), UNKNOWN, "state is not known: it may be invalid, overflow"),
    ],
)
def test_state_is(found: frozenset[LayerState], truth: Truth, reason: str) -> None:
    """One layer in such a state makes it true; one whose state cannot be told leaves it open."""
    assert state_is(BAD, root(states=found)) == Finding(truth, reason)


@pytest.mark.parametrize("state", [LayerState.UNKNOWN, LayerState.UNREADABLE])
def test_doubt_is_never_a_state_that_is(state: LayerState) -> None:
    """A stage that asks for unknown or unreadable is not made true by it, but only in its second life."""
    wanted = BAD | {state}
    assert state_is(wanted, root(states=states(state))).truth is UNKNOWN
    assert unsure_state_is(wanted, root(states=states(state, LayerState.OK))).truth is TRUE
    assert unsure_state_is(wanted, root(states=states(LayerState.INVALID))).truth is FALSE
