# SPDX-License-Identifier: Apache-2.0
"""Policies: which stage is true, for how long, and what it therefore calls for.

This file must not know what an action does, what time it is (`now` is an argument), or where the
facts come from. How a condition is judged is in conditions.py, the life of a stage in phases.py, how
the state is kept over a restart in policy_state.py; docs/policies.md tells it to people.

`evaluate` is a function: the same policies, state, facts and time give the same answer, and its state
is all it remembers. Save the new state *before* the decisions are carried out: a daemon that is killed
in between then does an action not at all rather than twice.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

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
from overlaywatch.model import (
    NO_FORECAST,
    UNSURE,
    Decision,
    Forecast,
    LayerState,
    StageStatus,
    Verdict,
)
from overlaywatch.phases import (
    CLEAR_SECONDS,
    ENGAGED,
    IDLE,
    Output,
    Phase,
    StageState,
    advance,
    due_at,
    fired_late,
    is_spent,
)
from overlaywatch.units import format_duration

FORGET_SECONDS: Final = 300.0
"""A stage of a mount point that is missing for so long is over: the file system was unmounted."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One rung of a policy. Any one of its conditions makes it true; `hold` is how long it must be so.

    `cooldown` None: the actions fire once when the stage becomes active, and not again until it has
    been inactive. A number: again after so many seconds while it is still active, and never sooner.
    """

    name: str
    actions: tuple[str, ...]
    used_above: float | None = None
    headroom_below: int | None = None
    inodes_above: float | None = None
    time_to_full_below: float | None = None
    state_is: frozenset[LayerState] = frozenset()
    hold: float = 0.0
    cooldown: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Stages for one mount point (None: for each watched mount point)."""

    name: str
    stages: tuple[Stage, ...]
    mount_point: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What one look says of each mount point, by its path."""

    verdicts: Mapping[str, Verdict]
    forecasts: Mapping[str, Forecast]


def facts_of(verdicts: Iterable[Verdict], forecasts: Mapping[str, Forecast]) -> Facts:
    """The facts of a look as it is in a Tick."""
    return Facts({verdict.mount.mount_point: verdict for verdict in verdicts}, forecasts)


class StageKey(NamedTuple):
    """Which stage of which policy for which mount point.

    `doubt` marks the second life of a stage that wants to know of `unknown` or `unreadable`: it has its
    own clocks, and calls for nothing but to tell somebody.
    """

    policy: str
    stage: str
    mount_point: str
    doubt: bool = False


@dataclass(frozen=True, slots=True)
class PolicyState:
    """What must be remembered from one look to the next: of stages that are not simply idle."""

    stages: Mapping[StageKey, StageState] = field(default_factory=dict)


class Evaluation(NamedTuple):
    """The state to go on with (the same object if nothing changed), what to do now, what to show."""

    state: PolicyState
    decisions: tuple[Decision, ...]
    stages: tuple[StageStatus, ...]


@dataclass(frozen=True, slots=True)
class _Life:
    """One stage at one mount point after one look."""

    key: StageKey
    stage: Stage
    finding: Finding
    state: StageState
    output: Output


def evaluate(
    policies: Iterable[Policy], state: PolicyState, facts: Facts, now: float, telling: Collection[str] = frozenset()
) -> Evaluation:
    """Advance every stage of every policy by one look.

    `telling` names the actions that change nothing: all that a layer whose state cannot be told may
    call for. State of policies and stages that are gone is dropped, that of the same name is kept.
    """
    stages: dict[StageKey, StageState] = {}
    decisions: list[Decision] = []
    statuses: list[StageStatus] = []
    for policy in policies:
        for mount_point in _mount_points(policy, state, facts):
            verdict, forecast = facts.verdicts.get(mount_point), facts.forecasts.get(mount_point, NO_FORECAST)
            for stage in policy.stages:
                lives = [_live(key, stage, state, verdict, forecast, now) for key in _keys(policy, stage, mount_point)]
                stages.update((life.key, life.state) for life in lives if not _is_over(life, verdict, now))
                if verdict is not None:
                    decisions += [one for life in lives for one in _decide(life, verdict, forecast, now, telling)]
                statuses.append(_status(lives, now))
    return Evaluation(state if stages == state.stages else PolicyState(stages), tuple(decisions), tuple(statuses))


def next_due(policies: Iterable[Policy], state: PolicyState) -> float | None:
    """When the first hold, cooldown or clearing ends, in monotonic seconds; None if nothing waits."""
    stages = {(policy.name, stage.name): stage for policy in policies for stage in policy.stages}
    times = []
    for key, one in state.stages.items():
        stage = stages.get((key.policy, key.stage))
        due = due_at(one, stage.hold, stage.cooldown) if stage else None
        if due is not None:
            times.append(due)
    return min(times, default=None)


def begun_late(state: PolicyState, decisions: Iterable[Decision], now: float) -> PolicyState:
    """What was called for at an earlier look, and begins now: the next time is a whole cooldown away from here."""
    late = {(one.policy, one.stage, one.mount_point) for one in decisions}
    return PolicyState({key: fired_late(one, now) if key[:3] in late else one for key, one in state.stages.items()})


def judge(stage: Stage, verdict: Verdict, forecast: Forecast) -> Finding:
    """Whether a stage is true of one look: any one of its conditions makes it so."""
    return any_of(_findings(stage, verdict, forecast))


def _findings(stage: Stage, verdict: Verdict, forecast: Forecast) -> Iterator[Finding]:
    if stage.used_above is not None:
        yield used_above(stage.used_above, verdict)
    if stage.headroom_below is not None:
        yield headroom_below(stage.headroom_below, verdict)
    if stage.inodes_above is not None:
        yield inodes_above(stage.inodes_above, verdict)
    if stage.time_to_full_below is not None:
        yield time_to_full_below(stage.time_to_full_below, verdict, forecast)
    if stage.state_is - UNSURE:
        yield state_is(stage.state_is, verdict)


def _mount_points(policy: Policy, state: PolicyState, facts: Facts) -> Iterable[str]:
    """Where a policy applies: also where it did, for a mount point that is missing in this look."""
    if policy.mount_point is not None:
        return (policy.mount_point,)
    missing = {key.mount_point for key in state.stages if key.policy == policy.name}.difference(facts.verdicts)
    return [*facts.verdicts, *sorted(missing)]


def _keys(policy: Policy, stage: Stage, mount_point: str) -> tuple[StageKey, ...]:
    key = StageKey(policy.name, stage.name, mount_point)
    return (key, key._replace(doubt=True)) if stage.state_is & UNSURE else (key,)


def _live(
    key: StageKey, stage: Stage, state: PolicyState, verdict: Verdict | None, forecast: Forecast, now: float
) -> _Life:
    if verdict is None:
        finding = Finding(Truth.UNKNOWN, "the mount point was not seen")
    else:
        finding = unsure_state_is(stage.state_is, verdict) if key.doubt else judge(stage, verdict, forecast)
    after, output = advance(state.stages.get(key, IDLE), finding.truth, stage.hold, stage.cooldown, now)
    return _Life(key, stage, finding, after, output)


def _is_over(life: _Life, verdict: Verdict | None, now: float) -> bool:
    """Whether nothing of a stage need be remembered."""
    if is_spent(life.state, life.stage.cooldown, now):
        return True
    unsure = life.state.unsure_since
    return verdict is None and unsure is not None and now - unsure > FORGET_SECONDS


def _decide(
    life: _Life, verdict: Verdict, forecast: Forecast, now: float, telling: Collection[str]
) -> Iterator[Decision]:
    if life.output is not Output.FIRE:
        return
    key, hold = life.key, life.stage.hold
    reason = f"{life.finding.reason}, for {format_duration(hold)}" if hold else life.finding.reason
    for action in life.stage.actions:
        if not key.doubt or action in telling:
            yield Decision(key.policy, key.stage, key.mount_point, action, reason, now, verdict, forecast)


def _status(lives: Iterable[_Life], now: float) -> StageStatus:
    """The stage for people; its two lives, if it has two, as one."""
    shown = max(lives, key=_prominence)
    state, key = shown.state, shown.key
    active = True if state.phase in ENGAGED else None if shown.finding.truth is Truth.UNKNOWN else False
    since = state.active_since if active else state.since if state.phase is Phase.PENDING else None
    reason = shown.finding.reason + _remark(shown, now)
    return StageStatus(key.policy, key.stage, key.mount_point, active, since, reason, shown.stage.actions)


def _prominence(life: _Life) -> int:
    if life.state.phase in ENGAGED:
        return 3
    return 2 if life.state.phase is Phase.PENDING else 1 if life.finding.truth is Truth.UNKNOWN else 0


def _remark(life: _Life, now: float) -> str:
    """What the phase adds to the reason."""
    state, unknown = life.state, life.finding.truth is Truth.UNKNOWN
    if unknown and state.phase is not Phase.IDLE:
        return "; it stays as it was"
    if state.phase is Phase.PENDING:
        return f"; for {format_duration(now - state.since)} of {format_duration(life.stage.hold)}"
    if state.phase is Phase.CLEARING:
        return f"; over in {format_duration(max(0.0, state.since + CLEAR_SECONDS - now))}"
    return ""
