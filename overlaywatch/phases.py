# SPDX-License-Identifier: Apache-2.0
"""The life of a stage as a Mealy machine: a table of phases and signs, and the clocks beside it.

This file must not know what makes a stage true, what its actions are, or what time it is.

Everything that affects a stage is in its StageState; every way it can go is in TRANSITIONS, from
which the diagram in docs/policies.md is drawn. The state changes with a transition and not from look
to look, so that it need not be saved at each of them.

The two clocks are worked out before the table is asked, and are part of the sign:

* **hold** runs while the condition is true, from the first look that found it so. While it is unknown
  the clock stands: neither advanced nor lost. One false look sets it back.
* **cooldown** runs from the last time the stage fired, whatever happens meanwhile, leaving the stage
  and becoming active again too: within it the stage never fires twice. Without one, a stage fires
  once each time that it becomes active.

A stage that is active is left when the condition was false for CLEAR_SECONDS on end: at a pace of 10 ms
a value that trembles at its threshold would else be an alert and its end a hundred times a second.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from overlaywatch.conditions import Truth

CLEAR_SECONDS: Final = 10.0
"""As long as the slowest pace of the default configuration: two looks must agree."""


class Phase(StrEnum):
    """Where a stage is in its life."""

    IDLE = "idle"
    PENDING = "pending"
    ACTIVE = "active"
    CLEARING = "clearing"


class Sign(StrEnum):
    """What one look means to a stage; the value is its words in the diagram."""

    WAITING = "true, hold runs"
    HELD = "true and held, but fired before"
    DUE = "true and held"
    FALSE = "false"
    CLEAR = "false for 10 s"
    UNKNOWN = "unknown"


class Output(StrEnum):
    """What a transition calls for."""

    NOTHING = ""
    FIRE = "actions fire"
    RESOLVE = "resolved"


TRANSITIONS: Final[Mapping[tuple[Phase, Sign], tuple[Phase, Output]]] = MappingProxyType(
    {
        (Phase.IDLE, Sign.WAITING): (Phase.PENDING, Output.NOTHING),
        (Phase.IDLE, Sign.HELD): (Phase.ACTIVE, Output.NOTHING),
        (Phase.IDLE, Sign.DUE): (Phase.ACTIVE, Output.FIRE),
        (Phase.IDLE, Sign.FALSE): (Phase.IDLE, Output.NOTHING),
        (Phase.IDLE, Sign.UNKNOWN): (Phase.IDLE, Output.NOTHING),
        (Phase.PENDING, Sign.WAITING): (Phase.PENDING, Output.NOTHING),
        (Phase.PENDING, Sign.HELD): (Phase.ACTIVE, Output.NOTHING),
        (Phase.PENDING, Sign.DUE): (Phase.ACTIVE, Output.FIRE),
        (Phase.PENDING, Sign.FALSE): (Phase.IDLE, Output.NOTHING),
        (Phase.PENDING, Sign.UNKNOWN): (Phase.PENDING, Output.NOTHING),
        (Phase.ACTIVE, Sign.HELD): (Phase.ACTIVE, Output.NOTHING),
        (Phase.ACTIVE, Sign.DUE): (Phase.ACTIVE, Output.FIRE),
        (Phase.ACTIVE, Sign.FALSE): (Phase.CLEARING, Output.NOTHING),
        (Phase.ACTIVE, Sign.UNKNOWN): (Phase.ACTIVE, Output.NOTHING),
        (Phase.CLEARING, Sign.HELD): (Phase.ACTIVE, Output.NOTHING),
        (Phase.CLEARING, Sign.DUE): (Phase.ACTIVE, Output.FIRE),
        (Phase.CLEARING, Sign.FALSE): (Phase.CLEARING, Output.NOTHING),
        (Phase.CLEARING, Sign.CLEAR): (Phase.IDLE, Output.RESOLVE),
        (Phase.CLEARING, Sign.UNKNOWN): (Phase.CLEARING, Output.NOTHING),
    }
)

ENGAGED: Final = frozenset({Phase.ACTIVE, Phase.CLEARING})
"""Phases in which the stage counts as active: its alerts stand."""


class IllegalTransitionError(Exception):
    """A sign that a phase can never meet: our own fault."""


@dataclass(frozen=True, slots=True)
class StageState:
    """Where a stage is. All times are monotonic seconds.

    `since` is when the phase was entered, moved on by the time in which it stood still for want of knowledge;
    `active_since` when the stage became active; `fired_at` when its actions were last called for;
    `unsure_since` when the condition became unknown.
    """

    phase: Phase = Phase.IDLE
    since: float = 0.0
    active_since: float | None = None
    fired_at: float | None = None
    unsure_since: float | None = None


IDLE: Final = StageState()


def transition(phase: Phase, sign: Sign) -> tuple[Phase, Output]:
    """The table, asked. IllegalTransitionError for a pair that cannot be."""
    try:
        return TRANSITIONS[phase, sign]
    except KeyError:
        raise IllegalTransitionError(f"a stage that is {phase.value} cannot meet {sign.value!r}") from None


def advance(
    state: StageState, truth: Truth, hold: float, cooldown: float | None, now: float
) -> tuple[StageState, Output]:
    """One look further: the same object if nothing changed."""
    state = _with_clock(state, truth, now)
    phase, output = transition(state.phase, _sign(state, truth, hold, cooldown, now))
    if phase is state.phase and output is Output.NOTHING:
        return state, output
    return _entered(state, phase, output, now), output


def fired_late(state: StageState, now: float) -> StageState:
    """The same, as if its actions had been called for only now, when they begin: the cooldown runs from here."""
    return replace(state, fired_at=now)


def due_at(state: StageState, hold: float, cooldown: float | None) -> float | None:
    """When the stage goes on by itself if what was found stays so; None if only news can move it."""
    if state.unsure_since is not None:
        return None
    if state.phase is Phase.PENDING:
        return state.since + hold
    if state.phase is Phase.CLEARING:
        return state.since + CLEAR_SECONDS
    if state.phase is Phase.ACTIVE and cooldown is not None and state.fired_at is not None:
        return state.fired_at + cooldown
    return None


def is_spent(state: StageState, cooldown: float | None, now: float) -> bool:
    """Whether there is nothing left to remember: idle, and no cooldown runs."""
    if state.phase is not Phase.IDLE:
        return False
    return state.fired_at is None or cooldown is None or now - state.fired_at >= cooldown


def diagram() -> str:
    """TRANSITIONS as a Mermaid state diagram; signs that change nothing are left out."""
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.IDLE.value}"]
    for (phase, sign), (after, output) in TRANSITIONS.items():
        if phase is not after or output is not Output.NOTHING:
            effect = f" / {output.value}" if output is not Output.NOTHING else ""
            lines.append(f"    {phase.value} --> {after.value}: {sign.value}{effect}")
    return "\n".join(lines)


def _with_clock(state: StageState, truth: Truth, now: float) -> StageState:
    """Stop the clock of a phase that waits while the condition is unknown, and let it go on afterwards."""
    if truth is Truth.UNKNOWN:
        fresh = state.unsure_since is None and state.phase is not Phase.IDLE
        return replace(state, unsure_since=now) if fresh else state
    if state.unsure_since is None:
        return state
    stood = now - state.unsure_since if state.phase in (Phase.PENDING, Phase.CLEARING) else 0.0
    return replace(state, since=state.since + stood, unsure_since=None)


def _sign(state: StageState, truth: Truth, hold: float, cooldown: float | None, now: float) -> Sign:
    if truth is Truth.UNKNOWN:
        return Sign.UNKNOWN
    if truth is Truth.FALSE:
        clear = state.phase is Phase.CLEARING and now - state.since >= CLEAR_SECONDS
        return Sign.CLEAR if clear else Sign.FALSE
    if state.phase not in ENGAGED and _held(state, now) < hold:
        return Sign.WAITING
    return Sign.DUE if _may_fire(state, cooldown, now) else Sign.HELD


def _held(state: StageState, now: float) -> float:
    return now - state.since if state.phase is Phase.PENDING else 0.0


def _may_fire(state: StageState, cooldown: float | None, now: float) -> bool:
    if state.fired_at is None:
        return True
    return state.phase not in ENGAGED if cooldown is None else now - state.fired_at >= cooldown


def _entered(state: StageState, phase: Phase, output: Output, now: float) -> StageState:
    return StageState(
        phase=phase,
        since=state.since if phase is state.phase else now,
        active_since=(now if state.active_since is None else state.active_since) if phase in ENGAGED else None,
        fired_at=now if output is Output.FIRE else state.fired_at,
        unsure_since=state.unsure_since,
    )
