# SPDX-License-Identifier: Apache-2.0
"""Policies as a whole: what they promise for every course of events, and what they say to people."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlaywatch.forecast import CALM
from overlaywatch.model import LayerState, StageStatus, Verdict
from overlaywatch.phases import Phase, StageState
from overlaywatch.policy import (
    FORGET_SECONDS,
    Evaluation,
    Facts,
    Policy,
    PolicyState,
    Stage,
    StageKey,
    begun_late,
    evaluate,
    facts_of,
    next_due,
)
from overlaywatch.policy_state import from_json, to_json
from overlaywatch.units import MIB
from tests.verdicts import root

OK = frozenset({LayerState.OK})
WARN = Stage("warn", ("page",), used_above=0.7, hold=30.0)


def at_root(*stages: Stage) -> tuple[Policy, ...]:
    """One policy for /."""
    return (Policy("root", stages, "/"),)


def facts(*verdicts: Verdict) -> Facts:
    """One look at mount points that do not fill."""
    return facts_of(verdicts, {verdict.mount.mount_point: CALM for verdict in verdicts})


@dataclass
class Course:
    """Policies over a course of looks; `restart` saves and restores the state before each look."""

    policies: tuple[Policy, ...]
    state: PolicyState = field(default_factory=PolicyState)
    restart: bool = False
    telling: frozenset[str] = frozenset()

    def look(self, now: float, seen: Facts) -> Evaluation:
        """One look further."""
        if self.restart:
            self.state = from_json(json.loads(json.dumps(to_json(self.state))), now)
        found = evaluate(self.policies, self.state, seen, now, self.telling)
        self.state = found.state
        return found


# One look: seconds since the last, use (None: unknown), headroom of the chain (None: unknown), states.
LOOKS = st.lists(
    st.tuples(
        st.sampled_from([0.01, 0.5, 3.0, 10.0, 60.0, 400.0]),
        st.sampled_from([None, 0.1, 0.1, 0.75, 0.75, 0.97]),
        st.sampled_from([None, 4 * MIB, 500 * MIB]),
        st.sampled_from([OK, OK, frozenset({LayerState.UNREADABLE}), frozenset({LayerState.OVERFLOW})]),
    ),
    max_size=60,
)
STAGES = st.lists(
    st.builds(
        Stage,
        name=st.just("stage"),
        actions=st.just(("act",)),
        used_above=st.sampled_from([None, 0.7, 0.95]),
        headroom_below=st.sampled_from([None, 64 * MIB]),
        state_is=st.sampled_from([frozenset[LayerState](), frozenset({LayerState.OVERFLOW, LayerState.INVALID})]),
        hold=st.sampled_from([0.0, 5.0, 30.0]),
        cooldown=st.sampled_from([None, 15.0, 300.0]),
    ),
    min_size=1,
    max_size=1,
)
Looks = Sequence[tuple[float, float | None, int | None, frozenset[LayerState]]]


def course_of(looks: Looks) -> list[tuple[float, Facts]]:
    """The looks with their times, from 1000 s on."""
    now, course = 1000.0, []
    for pause, used, headroom, states in looks:
        now += pause
        course.append((now, facts(root(used=used, headroom=headroom, states=states))))
    return course


def truth(stage: Stage, seen: Facts) -> bool | None:
    """A second, plain reading of what a stage says: true, false, or None."""
    verdict = seen.verdicts["/"]
    answers: list[bool | None] = []
    if stage.used_above is not None:
        answers.append(None if verdict.used_ratio is None else verdict.used_ratio > stage.used_above)
    if stage.headroom_below is not None:
        answers.append(None if verdict.headroom_bytes is None else verdict.headroom_bytes < stage.headroom_below)
    if stage.state_is:
        unsure = LayerState.UNREADABLE in verdict.states
        answers.append(None if unsure else LayerState.OVERFLOW in verdict.states)
    return True if True in answers else None if None in answers else False


@given(LOOKS, STAGES)
@settings(deadline=None)
def test_fires_only_while_true(looks: Looks, stages: list[Stage]) -> None:
    """Nothing is ever decided at a look that leaves the stage unknown or false."""
    course = Course(at_root(*stages))
    for now, seen in course_of(looks):
        if course.look(now, seen).decisions:
            assert truth(stages[0], seen) is True


@given(LOOKS, STAGES)
@settings(deadline=None)
def test_never_fires_twice_within_the_cooldown(looks: Looks, stages: list[Stage]) -> None:
    """Between two decisions of a stage lies its cooldown, whatever happens between them."""
    course = Course(at_root(*stages))
    fired = [now for now, seen in course_of(looks) if course.look(now, seen).decisions]
    pauses = [later - earlier for earlier, later in pairwise(fired)]
    assert all(pause >= (stages[0].cooldown or 10.0) for pause in pauses)


@given(LOOKS, STAGES)
@settings(deadline=None)
def test_never_fires_before_the_hold(looks: Looks, stages: list[Stage]) -> None:
    """A stage becomes active only after looks that found it true, on end and without the unknown ones, for its hold."""
    course, was_active, last = Course(at_root(*stages)), False, 0.0
    before: bool | None = False
    held = 0.0
    for now, seen in course_of(looks):
        so = truth(stages[0], seen)
        # Only time that begins with a look that found it true counts; unknown looks keep what there was.
        held = 0.0 if so is False else held + (now - last if before is True else 0.0)
        (status,) = course.look(now, seen).stages
        if status.active and not was_active:
            assert so is True
            assert held >= stages[0].hold - 1e-6
        was_active, before, last = bool(status.active), so, now


@given(LOOKS, STAGES)
@settings(deadline=None)
def test_restart_at_any_point_changes_nothing(looks: Looks, stages: list[Stage]) -> None:
    """A daemon that is killed and started again before each look decides and shows the same as one that runs on."""
    through, broken = Course(at_root(*stages)), Course(at_root(*stages), restart=True)
    for now, seen in course_of(looks):
        assert through.look(now, seen) == broken.look(now, seen)


@given(LOOKS, STAGES)
@settings(deadline=None)
def test_same_question_same_answer(looks: Looks, stages: list[Stage]) -> None:
    """evaluate depends on its arguments alone, and changes none of them."""
    course = Course(at_root(*stages))
    for now, seen in course_of(looks):
        before = course.state, dict(course.state.stages)
        answers = [evaluate(course.policies, course.state, seen, now) for _ in range(2)]
        assert answers[0] == answers[1]
        assert (course.state, dict(course.state.stages)) == before
        course.look(now, seen)


@given(LOOKS, STAGES)
@settings(deadline=None)
def test_active_without_end_or_resolved(looks: Looks, stages: list[Stage]) -> None:
    """A stage is left only after two false looks ten seconds apart with none that was true between them."""
    course, was_active, since_true = Course(at_root(*stages)), False, 1000.0
    for now, seen in course_of(looks):
        if truth(stages[0], seen) is True:
            since_true = now
        (status,) = course.look(now, seen).stages
        if was_active and not status.active:
            assert truth(stages[0], seen) is False
            assert now - since_true >= 10.0
        was_active = bool(status.active)


def test_decision_says_why_in_figures() -> None:
    """A decision carries the reason for people, the figures, and the facts it rests on."""
    course, seen = Course(at_root(WARN)), facts(root(used=0.834))
    assert course.look(100.0, seen).decisions == ()
    (decision,) = course.look(130.0, seen).decisions
    assert (decision.policy, decision.stage, decision.mount_point, decision.action) == ("root", "warn", "/", "page")
    assert decision.reason == "used 83.4% is above 70% (limit dm-snapshot:live-rw), for 30 s"
    assert (decision.at, decision.verdict) == (130.0, seen.verdicts["/"])


def test_each_action_of_a_stage_is_decided_in_order() -> None:
    """A stage with several actions calls for all of them at once, in the order they are written."""
    stage = Stage("purge", ("free-caches", "vacuum"), headroom_below=128 * MIB)
    found = Course(at_root(stage)).look(1.0, facts(root(headroom=MIB)))
    assert [decision.action for decision in found.decisions] == ["free-caches", "vacuum"]


@pytest.mark.parametrize(
    ("course", "active", "since", "reason"),
    [
        ([(1.0, 0.1)], False, None, "used 10.0% is not above 70% (limit dm-snapshot:live-rw)"),
        ([(1.0, None)], None, None, "how much is used is not known"),
        (
            [(1.0, 0.8), (13.0, 0.8)],
            False,
            1.0,
            "used 80.0% is above 70% (limit dm-snapshot:live-rw); for 12 s of 30 s",
        ),
        ([(1.0, 0.8), (13.0, None)], None, 1.0, "how much is used is not known; it stays as it was"),
        ([(1.0, 0.8), (31.0, 0.8)], True, 31.0, "used 80.0% is above 70% (limit dm-snapshot:live-rw)"),
        ([(1.0, 0.8), (31.0, 0.8), (50.0, None)], True, 31.0, "how much is used is not known; it stays as it was"),
        (
            [(1.0, 0.8), (31.0, 0.8), (50.0, 0.1), (53.0, 0.1)],
            True,
            31.0,
            "used 10.0% is not above 70% (limit dm-snapshot:live-rw); over in 7 s",
        ),
    ],
)
def test_status_tells_people(
    course: list[tuple[float, float | None]], active: bool | None, since: float | None, reason: str
) -> None:
    """The status of a stage says whether it is active, since when, and why, in each phase of its life."""
    daemon = Course(at_root(WARN))
    *_, last = [daemon.look(now, facts(root(used=used))) for now, used in course]
    assert last.stages == (StageStatus("root", "warn", "/", active, since, reason, ("page",)),)


def test_policy_without_mount_point_is_for_each() -> None:
    """Each watched mount point has stages of its own."""
    course = Course((Policy("all", (Stage("warn", ("page",), used_above=0.7),)),))
    found = course.look(1.0, facts(root(used=0.8), root(used=0.1, mount_point="/var")))
    assert [(status.mount_point, status.active) for status in found.stages] == [("/", True), ("/var", False)]
    assert [decision.mount_point for decision in found.decisions] == ["/"]


@pytest.mark.parametrize("mount_point", [None, "/"])
def test_missing_mount_point_keeps_its_stage_for_a_while(mount_point: str | None) -> None:
    """A mount point that is missing from a look is unknown, and after five minutes it is gone."""
    course = Course((Policy("root", (Stage("warn", ("page",), used_above=0.7),), mount_point),))
    course.look(0.0, facts(root(used=0.8)))
    found = course.look(10.0, facts())
    assert [status.active for status in found.stages] == [True]
    assert found.stages[0].reason == "the mount point was not seen; it stays as it was"
    course.look(10.0 + FORGET_SECONDS + 1, facts())
    assert not any(status.active for status in course.look(1000.0, facts()).stages)
    assert course.state == PolicyState()


def test_mount_point_that_is_not_watched_is_shown() -> None:
    """A policy for a mount point that nobody sees says so, and decides nothing."""
    (status,) = Course(at_root(WARN)).look(0.0, facts(root(mount_point="/var"))).stages
    assert (status.active, status.reason) == (None, "the mount point was not seen")


def test_reload_keeps_what_has_the_same_name() -> None:
    """After a reload, stages of the same name go on; those that are gone are forgotten, with their alerts."""
    course = Course(at_root(WARN, Stage("old", ("page",), used_above=0.5)))
    course.look(0.0, facts(root(used=0.8)))
    course.policies = at_root(Stage("warn", ("page", "hook"), used_above=0.6, hold=20.0))
    found = course.look(20.0, facts(root(used=0.8)))
    assert [decision.action for decision in found.decisions] == ["page", "hook"]
    assert set(found.state.stages) == {StageKey("root", "warn", "/")}


def test_no_policies_cost_nothing() -> None:
    """Without policies there is nothing to show, decide or remember."""
    seen = facts(*(root(mount_point=f"/mount-{i}") for i in range(1000)))
    assert evaluate((), PolicyState(), seen, 1.0) == (PolicyState(), (), ())


def test_calm_state_is_the_same_object() -> None:
    """While nothing changes the state need not be saved: it is the very same object."""
    course = Course(at_root(WARN))
    before = course.look(0.0, facts(root(used=0.8))).state
    assert course.look(5.0, facts(root(used=0.81))).state is before


DOUBT = Stage("doubt", ("page", "reboot"), state_is=frozenset({LayerState.INVALID, LayerState.UNREADABLE}), hold=10.0)


def test_doubt_tells_and_changes_nothing() -> None:
    """A state that cannot be told fires those actions only that tell somebody."""
    course = Course(at_root(DOUBT), telling=frozenset({"page"}))
    seen = facts(root(states=frozenset({LayerState.UNREADABLE})))
    course.look(0.0, seen)
    found = course.look(10.0, seen)
    assert [decision.action for decision in found.decisions] == ["page"]
    assert [(status.active, status.reason) for status in found.stages] == [(True, "state is unreadable")]


def test_doubt_does_not_use_up_what_certainty_fires() -> None:
    """When the state is certain at last, everything fires, after its own hold."""
    course = Course(at_root(DOUBT), telling=frozenset({"page"}))
    for now in (0.0, 10.0):
        course.look(now, facts(root(states=frozenset({LayerState.UNREADABLE}))))
    certain = facts(root(states=frozenset({LayerState.INVALID})))
    assert course.look(20.0, certain).decisions == ()
    assert [decision.action for decision in course.look(30.0, certain).decisions] == ["page", "reboot"]


def test_doubt_alone_decides_nothing() -> None:
    """If no action is known to change nothing, doubt calls for none."""
    course = Course(at_root(Stage("doubt", ("page",), state_is=frozenset({LayerState.UNKNOWN}))))
    assert course.look(0.0, facts(root(states=frozenset({LayerState.UNKNOWN})))).decisions == ()


def test_next_due_is_the_first_clock_that_ends() -> None:
    """The engine is told when to look although nothing moves: at the end of the first hold."""
    course = Course(at_root(WARN, Stage("later", ("page",), used_above=0.5, hold=60.0)))
    assert next_due(course.policies, course.state) is None
    course.look(100.0, facts(root(used=0.8)))
    assert next_due(course.policies, course.state) == 130.0
    assert next_due((), course.state) is None


def test_what_begins_late_puts_off_the_next_time() -> None:
    """The cooldown of a stage runs from when its actions began; that of the others from when they were called for."""
    stages = [Stage(name, ("act",), used_above=0.7, cooldown=300.0) for name in ("a", "b")]
    course = Course(at_root(*stages))
    decisions = course.look(0.0, facts(root(used=0.8))).decisions
    course.state = begun_late(course.state, decisions[1:], 250.0)
    found = course.look(300.0, facts(root(used=0.8)))
    assert [decision.stage for decision in found.decisions] == ["a"]
    found = course.look(550.0, facts(root(used=0.8)))
    assert [decision.stage for decision in found.decisions] == ["b"]


def test_state_survives_as_json() -> None:
    """Every part of the state comes back as it was saved."""
    state = PolicyState(
        {
            StageKey("root", "warn", "/"): StageState(Phase.CLEARING, 5.0, 1.0, 2.0, 6.5),
            StageKey("root", "doubt", "/var", doubt=True): StageState(Phase.PENDING, 3.25),
        }
    )
    assert from_json(json.loads(json.dumps(to_json(state))), 10.0) == state


GOOD = to_json(PolicyState({StageKey("root", "warn", "/"): StageState(Phase.ACTIVE, 5.0, 5.0, 5.0)}))


def with_entry(**values: object) -> dict[str, object]:
    """A saved state with one entry changed."""
    entries = GOOD["stages"]
    assert isinstance(entries, list)
    return {"version": 1, "stages": [{**entries[0], **values}]}


@pytest.mark.parametrize(
    "document",
    [
        None,
        "text",
        {},
        {"version": 2, "stages": []},
        {"version": 1},
        {"version": 1, "stages": {}},
        {"version": 1, "stages": [3]},
        with_entry(policy=3),
        with_entry(doubt=1),
        with_entry(phase="asleep"),
        with_entry(phase=None),
        with_entry(phase=["active"]),
        with_entry(since=None),
        with_entry(since="5"),
        with_entry(since=True),
        with_entry(since=float("nan")),
        with_entry(since=-1.0),
        with_entry(since=10**400),
        with_entry(fired_at=10.5),
        with_entry(active_since=None),
        with_entry(phase="idle"),
    ],
)
def test_bad_state_is_a_fresh_one(document: object) -> None:
    """Whatever was saved that cannot be, or is of a time to come, the daemon starts, with a fresh state."""
    assert from_json(document, 10.0) == PolicyState()


def test_good_state_is_not_a_fresh_one() -> None:
    """The entry from which the bad ones are made is good."""
    assert from_json(GOOD, 10.0) != PolicyState()
    assert from_json(with_entry(), 10.0) == from_json(GOOD, 10.0)
