# SPDX-License-Identifier: Apache-2.0
"""From decisions to outcomes: order, permission, and never twice."""

import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from overlaywatch.config.settings import ActionsMode
from overlaywatch.engine.children import decode, encode
from overlaywatch.engine.dispatch import MOST_QUEUED, Dispatcher, Permission
from overlaywatch.engine.ledger import Ledger
from overlaywatch.engine.owed import Owed
from overlaywatch.model import NO_FORECAST, Decision, Mount, Outcome, OutcomeKind, Verdict, super_block_ref
from overlaywatch.ports import Plan, Surroundings

ALLOWED = Permission(ActionsMode.ON, paused=False)
VERDICT = Verdict(
    Mount("/", "overlay", "overlay", super_block_ref(0, 40)),
    (),
    1,
    1,
    None,
    None,
    frozenset(),
    None,
    None,
    reclaimable=True,
)


def decision(action: str) -> Decision:
    """A decision of the policy `root` at time 100."""
    return Decision("root", "stage", "/", action, "used 96% is above 95%", 100.0, VERDICT, NO_FORECAST)


@dataclass
class Recorder:
    """A second implementation of an action: it remembers what it was asked for."""

    name: str
    changes: bool = True
    detached: bool = False
    refusal: str = ""
    work: Callable[[], None] = lambda: None
    applied: list[Plan] = field(default_factory=list)
    type: str = "recorder"

    def plan(self, decision: Decision, surroundings: Surroundings) -> Plan:
        """One step, or a refusal."""
        del surroundings
        return Plan(self.name, self.type, decision, ("a step",), self.refusal)

    def apply(self, plan: Plan, surroundings: Surroundings) -> Outcome:
        """Do the work, and remember it."""
        self.work()
        self.applied.append(plan)
        one = plan.decision
        return Outcome(
            self.name, self.type, OutcomeKind.APPLIED, f"pid {os.getpid()}", surroundings.monotonic(), one.policy
        )


@dataclass
class Bench:
    """A dispatcher with recorders, and what it wrote down."""

    actions: Sequence[Recorder]
    fail_to_record: bool = False
    recorded: list[dict[str, list[float]]] = field(default_factory=list)
    active: bool = True

    def __post_init__(self) -> None:
        self.ledger = Ledger()
        self.owed = Owed()
        actions = {one.name: one for one in self.actions}
        self.dispatcher = Dispatcher(actions, self.ledger, self.owed, self._record, lambda: None)

    def _record(self) -> None:
        if self.fail_to_record:
            raise OSError(28, "No space left on device")
        self.recorded.append(self.ledger.as_json())

    def step(self, *names: str, permission: Permission = ALLOWED) -> list[Outcome]:
        """One tick with decisions for these actions."""
        around = Surroundings(lambda _: None, 3600.0, self.ledger.past, time.monotonic)
        told = self.dispatcher.accept([decision(name) for name in names], around)
        return told + self.dispatcher.proceed(lambda _: self.active, permission, around)

    def finish(self) -> Outcome:
        """Wait for the child, as the engine's loop does, and take its outcome."""
        while True:
            assert self.dispatcher.child is not None
            select.select([self.dispatcher.child.fd], [], [], 10)
            if outcomes := self.step():
                return outcomes[0]


def kinds(outcomes: Sequence[Outcome]) -> list[OutcomeKind]:
    """How they ended."""
    return [one.kind for one in outcomes]


def test_an_action_is_written_down_before_it_is_carried_out() -> None:
    """A crash in between leaves a record of something not done, never something done without a record."""
    seen: list[int] = []
    bench = Bench([Recorder("purge", work=lambda: seen.append(len(bench.recorded)))])

    outcomes = bench.step("purge")

    assert (kinds(outcomes), seen) == ([OutcomeKind.APPLIED], [1])
    assert list(bench.recorded[0]) == ["purge"]


def test_what_cannot_be_written_down_is_not_done() -> None:
    """Without a record it might be repeated after a crash."""
    purge = Recorder("purge")
    outcomes = Bench([purge], fail_to_record=True).step("purge")

    assert kinds(outcomes) == [OutcomeKind.REFUSED]
    assert "No space left" in outcomes[0].reason
    assert purge.applied == []


@pytest.mark.parametrize(
    ("permission", "expected"),
    [
        (Permission(ActionsMode.OFF, paused=False), OutcomeKind.REFUSED),
        (Permission(ActionsMode.ON, paused=True), OutcomeKind.REFUSED),
        (Permission(ActionsMode.DRY_RUN, paused=False), OutcomeKind.DRY_RUN),
    ],
)
def test_only_alerts_pass_when_actions_are_off(permission: Permission, expected: OutcomeKind) -> None:
    """`actions = "off"`, a pause and a dry run keep the hands off the machine; people are still told."""
    purge, page = Recorder("purge"), Recorder("page", changes=False)
    bench = Bench([purge, page])

    outcomes = bench.step("purge", "page", permission=permission)

    assert kinds(outcomes) == [OutcomeKind.APPLIED, expected]
    assert (len(purge.applied), len(page.applied), bench.recorded) == (0, 1, [])


def test_actions_that_change_run_one_after_the_other() -> None:
    """The second starts when the first has ended, and only if its stage still calls for it."""
    first = Recorder("purge", detached=True)
    second = Recorder("reboot")
    bench = Bench([first, second])

    assert bench.step("purge", "reboot") == []
    bench.active = False
    outcome = bench.finish()

    assert (outcome.kind, outcome.reason != f"pid {os.getpid()}") == (OutcomeKind.APPLIED, True)
    assert second.applied == []


def test_a_stage_that_has_ended_withdraws_what_was_waiting() -> None:
    """Re-check before acting: the refusal says so."""
    bench = Bench([Recorder("purge")])
    bench.active = False

    outcomes = bench.step("purge")

    assert "no longer needed" in outcomes[0].reason


def test_a_child_that_dies_without_a_word_has_failed() -> None:
    """Killed in the midst of its work: an outcome all the same, and the next action can start."""
    bench = Bench([Recorder("purge", detached=True, work=lambda: os.kill(os.getpid(), signal.SIGKILL))])
    bench.step("purge")

    outcome = bench.finish()

    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "the process of the action was killed by signal 9")
    assert bench.dispatcher.child is None


def test_a_refused_plan_is_not_carried_out() -> None:
    """And not written down as done: it spends no budget."""
    bench = Bench([Recorder("reboot", refusal="the budget is spent")])

    outcomes = bench.step("reboot")

    assert (kinds(outcomes), outcomes[0].reason, bench.recorded) == ([OutcomeKind.REFUSED], "the budget is spent", [])


def test_the_queue_is_bounded() -> None:
    """A configuration that asks for more than can ever be done costs no memory."""
    names = [f"slow{number}" for number in range(MOST_QUEUED + 5)]
    bench = Bench([Recorder(name, detached=True, work=lambda: time.sleep(0.1)) for name in names])

    outcomes = bench.step(*names)

    assert kinds(outcomes) == [OutcomeKind.REFUSED] * 5
    bench.active = False
    bench.finish()


def test_an_outcome_survives_the_pipe() -> None:
    """What a child writes is what the engine reads; anything else is nothing."""
    outcome = Outcome("purge", "purge", OutcomeKind.APPLIED, "ü" * 9000, 1.5, "root", "stage", "/", 10, 20, 0.5)

    read = decode(encode(outcome))

    assert read is not None
    assert (read.reason, read.freed_bytes, read.kind) == ("ü" * 2000, 10, OutcomeKind.APPLIED)
    assert [decode(line) for line in (b"", b"{}", b"[1]", b'{"kind": "none"}', b"\xff")] == [None] * 5


def test_an_action_that_waits_or_runs_is_not_queued_again() -> None:
    """However often a stage fires while a purge is under way, there is one purge."""
    bench = Bench([Recorder("purge", detached=True, work=lambda: time.sleep(0.05))])

    first, second = bench.step("purge"), bench.step("purge")

    assert (first, kinds(second)) == ([], [OutcomeKind.REFUSED])
    assert "already" in second[0].reason
    bench.finish()


def test_what_a_pause_withholds_stays_owed_and_what_was_done_does_not() -> None:
    """A pause or a crash loses nothing that was called for; what was begun is never called for again."""
    bench = Bench([Recorder("purge"), Recorder("vacuum")])
    bench.step("vacuum")
    bench.step("purge", permission=Permission(ActionsMode.ON, paused=True))

    kept = Owed()
    kept.restore(bench.owed.as_json())

    assert kept.as_json() == [["root", "stage", "/", "purge"]]


def test_a_fault_in_an_action_is_an_outcome_and_the_next_one_has_its_turn() -> None:
    """An action that raises what it promised not to raise ends nothing but itself."""
    bench = Bench([Recorder("broken", work=lambda: 1 // 0), Recorder("purge")])  # type: ignore[arg-type]

    outcomes = bench.step("broken", "purge")

    assert kinds(outcomes) == [OutcomeKind.FAILED, OutcomeKind.APPLIED]
    assert "ZeroDivisionError" in outcomes[0].reason
