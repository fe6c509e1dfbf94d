# SPDX-License-Identifier: Apache-2.0
"""The action `reboot`: when it refuses, and how it climbs its ladder. No rung here restarts anything."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from overlaywatch.actions.reboot import RebootAction, RebootPlan
from overlaywatch.actions.reboot_rungs import Rung, default_rungs, sync_rung
from overlaywatch.model import Decision, LayerState, Outcome, OutcomeKind
from overlaywatch.ports import Plan
from tests.actions.facts import DAY, Desk, FakeClock, decision, surroundings, table

SNAPSHOT: Final = ("filesystem:/", "dm-snapshot:live-rw", "ramfs:rootfs", "ram")


class Ladder:
    """Rungs that note how they were taken, on a clock that stands still by itself."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.taken: list[tuple[str, float, float]] = []
        self.desk = Desk()

    def rung(self, name: str, problem: str | None = None, **traits: Any) -> Rung:
        """A rung that says `problem`; what is noted is its name, the grace it got, and when."""

        def run(grace: float, message: str) -> str | None:
            assert message.startswith("overlaywatch: rebooting")
            self.taken.append((name, grace, self.clock.now - 1000.0))
            return problem

        return Rung(name, run, **traits)

    def climb(self, rungs: Sequence[Rung], because: Decision | None = None, grace: str = "60s") -> Outcome:
        """Plan and apply; the outcome is that of a machine that stays up whatever is done."""
        made = RebootAction.from_table(table(grace=grace), self.desk.context())
        action = RebootAction("it", made.settings, self.desk.announced.append, rungs, self.clock.wait)
        around = surroundings(monotonic=self.clock)
        return action.apply(action.plan(because or decision(), around), around)


def plan(because: Decision | None = None, uptime: float = DAY, past: Sequence[float] = (), **keys: object) -> Plan:
    """The plan of the action with its real rungs, which are not touched by planning."""
    action = RebootAction.from_table(table(**keys), Desk().context())
    around = surroundings(uptime=uptime, past=past, monotonic=lambda: 200_000.0)
    return action.plan(because or decision(), around)


def test_machine_that_has_just_come_up_is_not_rebooted() -> None:
    """A reboot that does not help must not become a loop."""
    assert plan(uptime=1799).refusal.startswith("the machine is up for 29 min only, min_uptime is 30 min")
    assert plan(uptime=1800).refusal == ""
    assert plan(uptime=1, min_uptime="0s").refusal == ""


def test_budget_holds() -> None:
    """Counted from the ledger, in a sliding window."""
    day_ago, recently = 200_000.0 - DAY, 200_000.0 - 3600
    assert plan(past=[recently]).refusal == ("it was done 1 times in the last 24 h, max_per allows 1; again in 23 h")
    assert plan(past=[day_ago]).refusal == ""
    assert plan(past=[day_ago + 1]).refusal != ""
    assert plan(past=[recently], max_per={"count": 2}).refusal == ""
    twice = plan(past=[day_ago + 100, recently], max_per={"count": 2})
    assert twice.refusal.endswith("again in 100 s")
    assert plan(past=[recently], max_per={"window": "30m"}).refusal == ""


def test_refusal_says_when_it_will_be_over() -> None:
    """In seconds, so that the last resort is only late, and not lost."""
    assert plan(uptime=1799).again_in == 1
    assert plan(past=[200_000.0 - 3600]).again_in == DAY - 3600
    assert plan(past=[200_000.0 - 900, 200_000.0 - 300], max_per={"count": 2, "window": "20m"}).again_in == 300
    assert plan().again_in is None


@pytest.mark.parametrize(("elapsed", "left"), [(20.0, 40.0), (50.0, 15.0), (3600.0, 15.0)])
def test_reboot_that_was_cut_off_goes_on(elapsed: float, left: float) -> None:
    """With what is left of its grace, or a short one; it is said that it is not another one."""
    ladder = Ladder()
    made = RebootAction.from_table(table(grace="60s"), ladder.desk.context())
    rungs = [ladder.rung("polite", waits=True, settle=90.0), ladder.rung("firm")]
    action = RebootAction("it", made.settings, ladder.desk.announced.append, rungs, ladder.clock.wait)
    around = replace(surroundings(monotonic=ladder.clock), begun=ladder.clock.now - elapsed)
    going_on = action.plan(decision(), around)
    action.apply(going_on, around)

    assert going_on.payload == RebootPlan(left, dead_root=False, may_flush=True, goes_on=True)
    assert going_on.steps[0].startswith(f"go on with the reboot: reboot in {left:.0f} s")
    assert ladder.desk.announced[0].endswith(f"(going on, in {left:.0f} s)")
    assert ladder.taken[0] == ("polite", left, 0.0)


def test_schedule_that_a_dead_daemon_has_made_is_left_to_come_true() -> None:
    """It is not made twice, and watched like one's own: whoever cancels it is obeyed, and if nothing comes of it …"""
    for cancelled, taken in ((False, [("firm", 0.0, 150.0)]), (True, [])):
        ladder = Ladder()
        polite = ladder.rung(
            "polite", waits=True, settle=90.0, limit=5.0, holds=lambda: True, withdrawn=lambda it=cancelled: bool(it)
        )
        plan = RebootPlan(60.0, dead_root=False, may_flush=True, goes_on=True)
        made = RebootAction.from_table(table(), ladder.desk.context())
        action = RebootAction(
            "it", made.settings, ladder.desk.announced.append, [polite, ladder.rung("firm")], ladder.clock.wait
        )
        outcome = action.apply(Plan("it", "reboot", decision(), payload=plan), surroundings(monotonic=ladder.clock))

        assert ladder.taken == taken
        assert outcome.kind is (OutcomeKind.REFUSED if cancelled else OutcomeKind.FAILED)


def test_refused_plans_are_not_applied() -> None:
    """Whoever applies one all the same gets its refusal as the outcome."""
    ladder = Ladder()
    action = RebootAction.from_table(table(), ladder.desk.context())
    around = surroundings(uptime=60)
    outcome = action.apply(action.plan(decision(), around), around)
    assert (outcome.kind, outcome.reason.partition(" only")[0]) == (OutcomeKind.REFUSED, "the machine is up for 60 s")
    assert ladder.desk.announced == []


def test_plan_names_the_rungs() -> None:
    """A dry run says when, and by what."""
    assert plan(decision(chain=["tmpfs:/run", "ram"])).steps == (
        "reboot in 60 s, by the first that works of: logind, init, init by force, sync, reboot(2), SysRq",
    )


@pytest.mark.parametrize("state", [LayerState.INVALID, LayerState.FAILED])
def test_dead_root_goes_straight_to_the_kernel(state: LayerState) -> None:
    """Nothing can be started any more and nobody be told; a flush would hang."""
    made = plan(decision(states=frozenset({LayerState.OK, state}), chain=SNAPSHOT))
    assert made.payload == RebootPlan(5.0, dead_root=True, may_flush=False)
    assert made.steps[0].endswith("of: reboot(2), SysRq")


def test_dead_root_without_a_process_goes_to_the_kernel_without_grace() -> None:
    """It is done in the engine then, which must not stop looking: nothing is waited for, nothing can hang."""
    ladder = Ladder()
    rungs = [rung for rung in default_rungs() if not rung.limit]
    because = decision(states=frozenset({LayerState.INVALID}), chain=SNAPSHOT)
    made = RebootAction.from_table(table(grace="60s"), ladder.desk.context())
    fakes = [
        ladder.rung("needs a program", "no", needs_programs=True, limit=5.0),
        ladder.rung("flushes", flushes=True, limit=5.0),
        *(ladder.rung(rung.name, "EPERM", settle=rung.settle) for rung in rungs),
    ]
    action = RebootAction("it", made.settings, ladder.desk.announced.append, fakes, ladder.clock.wait)
    around = surroundings(monotonic=ladder.clock, no_process=True)
    outcome = action.apply(action.plan(because, around), around)
    assert ladder.taken == [("reboot(2)", 0.0, 0.0), ("SysRq", 0.0, 0.0)]
    assert (ladder.clock.waits, outcome.reason) == ([], "reboot(2): EPERM; SysRq: EPERM")


@pytest.mark.parametrize(
    "because",
    [
        decision(chain=SNAPSHOT),
        decision(states=frozenset({LayerState.OVERFLOW})),
        decision("/srv", states=frozenset({LayerState.INVALID}), chain=SNAPSHOT),
    ],
)
def test_living_root_waits_for_a_process(because: Decision) -> None:
    """A grace of an hour in the engine itself would blind it; soon there may be room again."""
    action = RebootAction.from_table(table(grace="1h"), Desk().context())
    made = action.plan(because, surroundings(no_process=True))
    assert (made.refusal.partition(",")[0], made.again_in) == ("no process can be started for it", 2.0)
    early = action.plan(because, surroundings(no_process=True, uptime=60))
    assert early.refusal.startswith("the machine is up for 60 s only")


def test_other_dead_mount_points_leave_programs_alive() -> None:
    """When /srv is dead, /usr is not."""
    made = plan(decision("/srv", states=frozenset({LayerState.INVALID}), chain=SNAPSHOT))
    assert made.payload == RebootPlan(60.0, dead_root=False, may_flush=False)


@pytest.mark.parametrize(
    "because",
    [
        decision(chain=SNAPSHOT),
        decision(chain=["filesystem:/", "dm-thin-pool:pool", "ram"]),
        decision(states=frozenset({LayerState.OVERFLOW})),
    ],
)
def test_nothing_is_flushed_into_what_may_overflow(because: Decision) -> None:
    """Writing out dirty data can be what turns a persistent snapshot invalid."""
    assert "sync" not in plan(because).steps[0]


def test_accepted_rung_is_watched_for_its_grace_and_more() -> None:
    """logind lets the grace pass; if the machine is still up long after, the next rung follows at once."""
    ladder = Ladder()
    outcome = ladder.climb(
        [ladder.rung("polite", waits=True, settle=90.0), ladder.rung("firm", settle=30.0), ladder.rung("last", "EPERM")]
    )
    assert ladder.taken == [("polite", 60.0, 0.0), ("firm", 0.0, 150.0), ("last", 0.0, 180.0)]
    assert outcome.kind is OutcomeKind.FAILED
    assert outcome.reason == (
        "polite: accepted, and the machine is still up; firm: accepted, and the machine is still up; last: EPERM"
    )
    assert outcome.took_seconds == 180.0


def test_rung_that_cannot_wait_comes_after_the_grace() -> None:
    """Users get their time also when there is no logind to grant it."""
    ladder = Ladder()
    ladder.climb([ladder.rung("polite", "no bus", waits=True, settle=90.0), ladder.rung("firm", settle=30.0)])
    assert ladder.taken == [("polite", 60.0, 0.0), ("firm", 0.0, 60.0)]


def test_preparation_is_not_waited_for() -> None:
    """A rung that restarts nothing, such as sync, is followed by the next one at once."""
    ladder = Ladder()
    ladder.climb([ladder.rung("sync"), ladder.rung("last", settle=5.0)], grace="0s")
    assert ladder.taken == [("sync", 0.0, 0.0), ("last", 0.0, 0.0)]


def test_every_step_is_announced() -> None:
    """The kernel's log has it all, because the outcome may never be written anywhere."""
    ladder = Ladder()
    ladder.climb([ladder.rung("polite", "no bus", waits=True), ladder.rung("firm", settle=30.0)])
    assert ladder.desk.announced == [
        "rebooting: the writable layer of / is at its end: headroom is 50.0 MiB, below 64.0 MiB (in 60 s)",
        "polite: no bus",
        "firm: accepted, and the machine is still up",
    ]


def test_announcement_that_fails_stops_nothing() -> None:
    """Where there is no kernel log, the machine is rebooted without one."""
    ladder = Ladder()

    def fail(text: str) -> None:
        raise OSError(text)

    made = RebootAction.from_table(table(), ladder.desk.context())
    action = RebootAction("it", made.settings, fail, [ladder.rung("firm")], ladder.clock.wait)
    action.apply(action.plan(decision(), surroundings()), surroundings())
    assert [name for name, _, _ in ladder.taken] == ["firm"]


def test_rung_that_breaks_makes_room_for_the_next() -> None:
    """Whatever goes wrong in one rung is only its failure."""
    ladder = Ladder()

    def break_down(grace: float, message: str) -> str | None:
        raise RuntimeError(f"{grace} {message}"[:3])

    outcome = ladder.climb([Rung("broken", break_down), Rung("broken child", break_down, limit=5.0)], grace="0s")
    assert outcome.reason == "broken: 0.0; broken child: 0.0"


def test_person_who_cancels_is_obeyed() -> None:
    """`shutdown -c` while the grace lasts: no further rung is taken."""
    ladder = Ladder()
    polite = ladder.rung("polite", waits=True, settle=90.0, limit=5.0, withdrawn=lambda: ladder.clock.now > 1021)
    # Rungs with a limit run in a child: what they note stays there.
    outcome = ladder.climb([polite, ladder.rung("firm")])
    assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, "somebody has cancelled it (shutdown -c)")
    assert (ladder.taken, sum(ladder.clock.waits)) == ([], 25.0)
    assert ladder.desk.announced[-1] == "cancelled"


def test_schedule_that_is_carried_out_is_not_a_cancellation() -> None:
    """In the last seconds a schedule vanishes because it comes true."""
    ladder = Ladder()
    polite = ladder.rung("polite", waits=True, settle=90.0, limit=5.0, withdrawn=lambda: ladder.clock.now > 1056)
    ladder.climb([polite, ladder.rung("firm")])
    assert ladder.taken == [("firm", 0.0, 150.0)]


def test_sync_that_never_ends_is_given_up() -> None:
    """On a dead device sync waits in the kernel for ever."""
    ladder = Ladder()
    before = time.monotonic()
    outcome = ladder.climb([sync_rung(lambda: time.sleep(600), 0.2)], grace="0s")
    assert outcome.reason == "sync: no answer within 200 ms"
    assert time.monotonic() - before < 10
