# SPDX-License-Identifier: Apache-2.0
"""From decisions to outcomes: order, permission, and never twice."""

import os
import select
from pathlib import Path

import pytest

from overlaywatch.config.settings import ActionsMode
from overlaywatch.engine.dispatch import MOST_QUEUED, TRY_AGAIN, Dispatcher, Permission
from overlaywatch.model import OutcomeKind
from tests.engine.bench import OWED_PURGE, Bench, Recorder, kinds


def test_an_action_is_written_down_before_it_is_carried_out() -> None:
    """A crash in between leaves a record of something not done, never something done without a record."""
    seen: list[int] = []
    bench = Bench([Recorder("purge", work=lambda: seen.append(len(bench.recorded)))])

    outcomes = bench.steps("purge")

    assert (kinds(outcomes), seen) == ([OutcomeKind.APPLIED], [1])
    assert list(bench.recorded[0]) == ["purge"]


def test_a_plan_is_made_where_it_can_hang_and_is_weighed_before_it_begins() -> None:
    """The tick that starts an action neither plans it nor writes it down; the one that hears the plan does."""
    purge = Recorder("purge")
    bench = Bench([purge])

    first = bench.step("purge")
    before = list(bench.recorded), bench.owed.as_json()
    second = bench.step()
    begun = bench.workers[0].is_begun, len(bench.recorded), bench.owed.as_json()

    assert (first, before) == ([], ([], [OWED_PURGE]))
    assert (second, begun) == ([], (True, 1, []))
    assert kinds(bench.step()) == [OutcomeKind.APPLIED]


def test_what_cannot_be_written_down_is_not_done() -> None:
    """Without a record it might be repeated after a crash; that is told once, and it is done when there is room."""
    purge = Recorder("purge")
    bench = Bench([purge], fail_to_record=True)
    outcomes = bench.steps("purge")
    later = bench.again(TRY_AGAIN)
    applied = list(purge.applied)
    bench.fail_to_record = False

    assert (kinds(outcomes), later, applied) == ([OutcomeKind.REFUSED], [], [])
    assert "No space left" in outcomes[0].reason
    assert kinds(bench.again(TRY_AGAIN)) == [OutcomeKind.APPLIED]
    assert len(bench.ledger.past("purge")) == 1


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

    outcomes = bench.steps("purge", "page", permission=permission)

    assert kinds(outcomes) == [OutcomeKind.APPLIED, expected]
    assert (len(purge.applied), len(page.applied), bench.recorded) == (0, 1, [])
    assert not any(one.is_begun for one in bench.workers)


def test_a_pause_that_comes_while_it_plans_is_obeyed() -> None:
    """It is not begun, and stays owed."""
    purge = Recorder("purge")
    bench = Bench([purge])
    bench.step("purge")

    outcomes = bench.step(permission=Permission(ActionsMode.ON, paused=True))

    assert (kinds(outcomes), purge.applied, bench.owed.as_json()) == ([OutcomeKind.REFUSED], [], [OWED_PURGE])
    assert bench.workers[0].is_gone()
    assert kinds(bench.again(0.0)) == [OutcomeKind.APPLIED]


def test_actions_that_change_run_one_after_the_other() -> None:
    """The second starts when the first has ended, and only if its stage still calls for it."""
    first, second = Recorder("purge"), Recorder("reboot")
    bench = Bench([first, second])
    bench.step("purge", "reboot")
    bench.step()
    bench.active = False

    assert kinds(bench.step()) == [OutcomeKind.APPLIED, OutcomeKind.REFUSED]
    assert (len(first.applied), second.applied, len(bench.workers)) == (1, [], 1)


def test_a_stage_that_has_ended_withdraws_what_was_waiting() -> None:
    """Re-check before acting, also after it was planned: the refusal says so, and it is not owed any more."""
    bench = Bench([Recorder("purge"), Recorder("reboot")])
    bench.active = False
    before = bench.step("purge")
    bench.active = True
    bench.step("reboot")
    bench.active = False
    after = bench.step()

    assert ["no longer needed" in one.reason for one in before + after] == [True, True]
    assert bench.owed.as_json() == []


def test_a_refused_plan_is_not_carried_out() -> None:
    """And not written down as done: it spends no budget. Without a time, it is refused for good."""
    bench = Bench([Recorder("reboot", refusal="a layer is invalid")])

    outcomes = bench.steps("reboot")

    assert (kinds(outcomes), outcomes[0].reason, bench.recorded) == ([OutcomeKind.REFUSED], "a layer is invalid", [])
    assert bench.owed.as_json() == []


def test_a_plan_of_another_configuration_is_not_carried_out() -> None:
    """Reloaded while it was planned: it is planned anew, by the new one."""
    old, new = Recorder("purge"), Recorder("purge")
    bench = Bench([old])
    bench.step("purge")
    bench.dispatcher.reconfigure({"purge": new})

    assert kinds(bench.steps()) == [OutcomeKind.APPLIED]
    assert (old.applied, len(new.applied)) == ([], 1)


def test_the_queue_is_bounded() -> None:
    """A configuration that asks for more than can ever be done costs no memory."""
    names = [f"slow{number}" for number in range(MOST_QUEUED + 5)]
    bench = Bench([Recorder(name) for name in names])

    outcomes = bench.step(*names)

    assert kinds(outcomes) == [OutcomeKind.REFUSED] * 5


def test_an_action_that_waits_or_runs_is_not_queued_again() -> None:
    """However often a stage fires while a purge is under way, there is one purge."""
    bench = Bench([Recorder("purge")])

    first, second = bench.step("purge"), bench.step("purge")

    assert (first, kinds(second)) == ([], [OutcomeKind.REFUSED])
    assert "already" in second[0].reason


def test_a_fault_in_an_action_is_an_outcome_and_the_next_one_has_its_turn() -> None:
    """An action that raises what it promised not to raise ends nothing but itself."""
    bench = Bench([Recorder("broken", changes=False, work=lambda: 1 // 0), Recorder("purge")])

    outcomes = bench.steps("broken", "purge")

    assert kinds(outcomes) == [OutcomeKind.FAILED, OutcomeKind.APPLIED]
    assert "ZeroDivisionError" in outcomes[0].reason


def test_with_a_real_process(tmp_path: Path) -> None:
    """The same dispatcher with a fork: planned there, weighed here, done there."""
    mark, bench = tmp_path / "pid", Bench([Recorder("purge", work=lambda: mark.write_text(str(os.getpid())))])
    actions = {one.name: one for one in bench.actions}
    bench.dispatcher = Dispatcher(actions, bench.ledger, bench.owed, bench.record, lambda: None)
    outcomes = bench.step("purge")
    while not outcomes:
        assert bench.dispatcher.worker is not None
        select.select([bench.dispatcher.worker.fd], [], [], 10)
        outcomes = bench.step()

    assert kinds(outcomes) == [OutcomeKind.APPLIED]
    assert (mark.read_text() != str(os.getpid()), len(bench.recorded)) == (True, 1)
