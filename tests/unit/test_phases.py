# SPDX-License-Identifier: Apache-2.0
"""The life of a stage: the table is whole, its clocks are right, and its diagram is the one in the docs."""

from itertools import product
from pathlib import Path

import pytest

from overlaywatch.conditions import Truth
from overlaywatch.phases import (
    CLEAR_SECONDS,
    IDLE,
    TRANSITIONS,
    IllegalTransitionError,
    Output,
    Phase,
    Sign,
    StageState,
    advance,
    diagram,
    due_at,
    fired_late,
    is_spent,
    transition,
)

TRUE, FALSE, UNKNOWN = Truth.TRUE, Truth.FALSE, Truth.UNKNOWN
DOCS = Path(__file__).parents[2] / "docs" / "policies.md"


def live(
    looks: list[tuple[float, Truth]], hold: float = 0.0, cooldown: float | None = None
) -> tuple[StageState, list[tuple[float, Output]]]:
    """The state after these looks, and what came out of them."""
    state = IDLE
    outputs: list[tuple[float, Output]] = []
    for now, truth in looks:
        state, output = advance(state, truth, hold, cooldown, now)
        if output is not Output.NOTHING:
            outputs.append((now, output))
    return state, outputs


def test_diagram_of_the_docs_is_that_of_the_table() -> None:
    """docs/policies.md shows the diagram that the table gives."""
    assert f"```mermaid\n{diagram()}\n```" in DOCS.read_text()


ILLEGAL = {
    (Phase.IDLE, Sign.CLEAR),
    (Phase.PENDING, Sign.CLEAR),
    (Phase.ACTIVE, Sign.CLEAR),
    (Phase.ACTIVE, Sign.WAITING),
    (Phase.CLEARING, Sign.WAITING),
}


@pytest.mark.parametrize(("phase", "sign"), list(product(Phase, Sign)))
def test_each_pair_is_in_the_table_or_illegal(phase: Phase, sign: Sign) -> None:
    """Every phase meets every sign, or raises if it never can."""
    if (phase, sign) in ILLEGAL:
        with pytest.raises(IllegalTransitionError, match=phase.value):
            transition(phase, sign)
    else:
        assert transition(phase, sign) == TRANSITIONS[phase, sign]


def test_unknown_never_moves_a_phase() -> None:
    """In the table, unknown leads back to where it was met, and calls for nothing."""
    for phase in Phase:
        assert TRANSITIONS[phase, Sign.UNKNOWN] == (phase, Output.NOTHING)


def test_nothing_fires_but_what_is_due() -> None:
    """In the table, only the sign DUE fires, and only CLEAR resolves."""
    for (_, sign), (_, output) in TRANSITIONS.items():
        assert (output is Output.FIRE) == (sign is Sign.DUE)
        assert (output is Output.RESOLVE) == (sign is Sign.CLEAR)


def test_without_hold_it_fires_at_once_and_once() -> None:
    """True without a hold fires at the first look, and not again while it stays true."""
    state, outputs = live([(0.0, FALSE), (1.0, TRUE), (2.0, TRUE), (1e6, TRUE)])
    assert outputs == [(1.0, Output.FIRE)]
    assert state == StageState(Phase.ACTIVE, 1.0, 1.0, 1.0)


def test_hold_is_waited_for() -> None:
    """It fires at the first look after the hold, counted from the first look that found it true."""
    _, outputs = live([(100.0, TRUE), (110.0, TRUE), (129.9, TRUE), (130.0, TRUE)], hold=30.0)
    assert outputs == [(130.0, Output.FIRE)]


def test_one_false_look_sets_the_hold_back() -> None:
    """The condition must hold on end."""
    _, outputs = live([(0.0, TRUE), (20.0, TRUE), (21.0, FALSE), (22.0, TRUE), (51.0, TRUE), (52.0, TRUE)], hold=30.0)
    assert outputs == [(52.0, Output.FIRE)]


def test_unknown_stops_the_clock_of_the_hold() -> None:
    """Time in which the condition was unknown neither counts nor sets back."""
    looks = [
        (0.0, TRUE),
        (10.0, TRUE),
        (20.0, UNKNOWN),
        (500.0, UNKNOWN),
        (1000.0, TRUE),
        (1009.0, TRUE),
        (1010.0, TRUE),
    ]
    state, outputs = live(looks, hold=30.0)
    assert outputs == [(1010.0, Output.FIRE)]
    assert state.unsure_since is None


def test_false_after_unknown_sets_the_hold_back() -> None:
    """What turns out false after it was unknown was not held."""
    _, outputs = live([(0.0, TRUE), (20.0, UNKNOWN), (25.0, FALSE), (31.0, TRUE)], hold=30.0)
    assert outputs == []


def test_leaving_takes_ten_seconds_of_false() -> None:
    """A stage that trembles at its threshold for a minute is resolved once, after ten seconds of rest."""
    looks = [(i * 0.5, FALSE if i % 2 else TRUE) for i in range(120)]
    looks += [(60 + i * 0.5, FALSE) for i in range(60)]
    state, outputs = live(looks)
    assert outputs == [(0.0, Output.FIRE), (59.5 + CLEAR_SECONDS, Output.RESOLVE)]
    assert state.phase is Phase.IDLE


def test_unknown_does_not_resolve() -> None:
    """An active stage stays active for as long as it is unknown, and its clearing does not go on."""
    state, outputs = live([(0.0, TRUE), (1.0, FALSE), (5.0, UNKNOWN), (900.0, UNKNOWN), (1000.0, FALSE)])
    assert outputs == [(0.0, Output.FIRE)]
    assert state.phase is Phase.CLEARING
    assert advance(state, FALSE, 0.0, None, 1006.0)[1] is Output.RESOLVE


def test_cooldown_repeats() -> None:
    """With a cooldown an active stage fires again and again, never sooner."""
    _, outputs = live([(float(t), TRUE) for t in range(0, 1000, 7)], cooldown=300.0)
    assert outputs == [(0.0, Output.FIRE), (301.0, Output.FIRE), (602.0, Output.FIRE), (903.0, Output.FIRE)]


def test_cooldown_outlives_the_stage() -> None:
    """A stage that was left and becomes active again within its cooldown fires when that is over, not before."""
    looks = [(0.0, TRUE), (10.0, FALSE), (20.0, FALSE), (100.0, TRUE), (299.0, TRUE), (300.0, TRUE)]
    state, outputs = live(looks, cooldown=300.0)
    assert outputs == [(0.0, Output.FIRE), (20.0, Output.RESOLVE), (300.0, Output.FIRE)]
    assert state.active_since == 100.0


def test_without_cooldown_each_time_it_becomes_active() -> None:
    """Left and entered again, a stage without cooldown fires again; trembling is not leaving."""
    looks = [(0.0, TRUE), (5.0, FALSE), (9.0, TRUE), (20.0, FALSE), (30.0, FALSE), (31.0, TRUE)]
    _, outputs = live(looks)
    assert outputs == [(0.0, Output.FIRE), (30.0, Output.RESOLVE), (31.0, Output.FIRE)]


def test_unchanged_is_the_same_object() -> None:
    """A look that changes nothing gives the very same state back: nothing need be saved."""
    state, _ = live([(0.0, TRUE)], hold=30.0)
    assert advance(state, TRUE, 30.0, None, 10.0)[0] is state
    unsure, _ = advance(state, UNKNOWN, 30.0, None, 11.0)
    assert advance(unsure, UNKNOWN, 30.0, None, 12.0)[0] is unsure


def test_late_firing_begins_the_cooldown_anew() -> None:
    """What had to wait is done now: the next time is a cooldown away from here, and not from when it was called for."""
    state = fired_late(live([(0.0, TRUE)])[0], 250.0)
    assert advance(state, TRUE, 0.0, 300.0, 300.0)[1] is Output.NOTHING
    assert due_at(state, 0.0, 300.0) == 550.0
    assert advance(state, TRUE, 0.0, 300.0, 550.0)[1] is Output.FIRE


@pytest.mark.parametrize(
    ("state", "due"),
    [
        (IDLE, None),
        (StageState(Phase.PENDING, 100.0), 130.0),
        (StageState(Phase.PENDING, 100.0, unsure_since=110.0), None),
        (StageState(Phase.CLEARING, 100.0, 50.0, 50.0), 110.0),
        (StageState(Phase.ACTIVE, 100.0, 100.0, 100.0), 400.0),
        (StageState(Phase.ACTIVE, 100.0, 100.0), None),
    ],
)
def test_due_at(state: StageState, due: float | None) -> None:
    """The end of a hold, of the clearing, of the cooldown: when a look is needed even if nothing moves."""
    assert due_at(state, hold=30.0, cooldown=300.0) == due


def test_once_is_never_due_again() -> None:
    """An active stage without cooldown waits for nothing."""
    assert due_at(StageState(Phase.ACTIVE, 1.0, 1.0, 1.0), hold=0.0, cooldown=None) is None


@pytest.mark.parametrize(
    ("state", "cooldown", "spent"),
    [
        (IDLE, None, True),
        (StageState(Phase.IDLE, 20.0, None, 10.0), None, True),
        (StageState(Phase.IDLE, 20.0, None, 10.0), 300.0, False),
        (StageState(Phase.IDLE, 20.0, None, 10.0), 30.0, True),
        (StageState(Phase.PENDING, 20.0), None, False),
        (StageState(Phase.ACTIVE, 20.0, 20.0, 20.0), None, False),
    ],
)
def test_is_spent(state: StageState, cooldown: float | None, spent: bool) -> None:
    """An idle stage is forgotten, unless its cooldown runs at 100 s."""
    assert is_spent(state, cooldown, 100.0) is spent
