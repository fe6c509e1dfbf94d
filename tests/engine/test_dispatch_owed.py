# SPDX-License-Identifier: Apache-2.0
"""What cannot be done now: put off, cut off, lost on the way; and what the next daemon makes of it."""

from overlaywatch.config.settings import ActionsMode
from overlaywatch.engine.dispatch import TRY_AGAIN, Permission
from overlaywatch.engine.owed import MOST_KEPT, Begun, Owed
from overlaywatch.kernel.process import Process
from overlaywatch.model import OutcomeKind
from tests.engine.bench import OWED_PURGE, SEEN, Bench, Recorder, decision, kinds
from tests.engine.in_hand import InHand


def test_what_is_refused_for_a_time_is_done_when_it_is_over() -> None:
    """It is told once and asked for once, at that time; asked for by a cooldown meanwhile it is not planned again."""
    reboot = Recorder("reboot", refusal="up for 5 min only", again_in=1500.0)
    bench = Bench([reboot])
    told, due = bench.steps("reboot"), bench.owed.next_due(bench.now)
    early, asked = bench.again(1499.0), bench.steps("reboot")
    planned = len(reboot.planned)
    reboot.refusal = ""
    done = bench.again(1.0)

    assert (kinds(told), due, early, planned) == ([OutcomeKind.REFUSED], 6500.0, [], 1)
    assert [one.reason for one in asked] == ["it has to wait for 1 s still: up for 5 min only"]
    assert (kinds(done), bench.owed.as_json(), bench.owed.next_due(bench.now)) == ([OutcomeKind.APPLIED], [], None)


def test_what_had_to_wait_is_asked_for_again_after_a_reload_and_after_a_crash() -> None:
    """Another configuration may allow it; and nothing that is owed is lost."""
    reboot = Recorder("reboot", refusal="the budget is spent", again_in=80000.0)
    bench = Bench([reboot])
    bench.steps("reboot")
    reboot.refusal = ""
    after = bench.killed()

    assert kinds(after.again(1.0)) == [OutcomeKind.APPLIED]
    bench.dispatcher.reconfigure({"reboot": reboot})
    assert kinds(bench.again(1.0)) == [OutcomeKind.APPLIED]


def test_a_reboot_that_was_cut_off_goes_on_and_counts_once() -> None:
    """The next daemon of the same boot takes it up as of the time when it began, however often it is killed."""
    reboot = Recorder("reboot", resumable=True)
    bench = Bench([reboot])
    bench.step("reboot")
    bench.step()
    began = bench.now
    for _ in range(3):
        bench = bench.killed()
        bench.now += 20.0
        bench.step(*(one.action for one in bench.owed.again(SEEN, bench.now)))
        bench.step()
        assert bench.dispatcher.worker is not None

    assert [around.begun for around in reboot.planned] == [None, began, began, began][: len(reboot.planned)]
    assert reboot.planned[-1].past("reboot") == []
    assert bench.ledger.past("reboot") == (began,)
    assert kinds(bench.step()) == [OutcomeKind.APPLIED]
    assert bench.owed.as_json() == []


def test_what_deletes_is_never_taken_up() -> None:
    """Half a purge was done: nobody knows which half."""
    bench = Bench([Recorder("purge")])
    bench.step("purge")
    bench.step()

    assert bench.killed().owed.as_json() == []


def test_what_a_process_of_the_daemon_before_still_does_is_left_to_it() -> None:
    """Where nobody ends what a killed daemon leaves behind, it goes on by itself."""
    bench = Bench([Recorder("reboot", resumable=True)])
    bench.step("reboot")
    bench.step()
    owed = bench.killed().owed
    left = owed.leave_to(lambda process: process == InHand.process)

    assert (left, owed.as_json()) == ([("root", "stage", "/", "reboot")], [])


def test_at_the_end_of_the_daemon_what_has_not_begun_stays_owed_and_a_reboot_is_left_unfinished() -> None:
    """Whatever a new daemon may do without doing anything twice is left to it."""
    purge, reboot = Bench([Recorder("purge")]), Bench([Recorder("reboot", resumable=True)])
    purge.step("purge")
    reboot.step("reboot")
    reboot.step()

    assert (purge.dispatcher.finish(0.0), purge.owed.as_json()) == ([], [OWED_PURGE])
    assert purge.workers[0].is_gone()
    assert kinds(reboot.dispatcher.finish(0.0)) == [OutcomeKind.FAILED]
    assert [one["begun"] for one in reboot.owed.as_json()] == [[5000.0, 1, 1]]


def test_without_a_process_only_the_last_resort_is_done_in_the_engine() -> None:
    """It needs nothing but memory. Everything else is tried again until there is room; that is told once."""
    purge, reboot = Recorder("purge"), Recorder("reboot", resumable=True)
    bench = Bench([purge, reboot], no_process=True)

    outcomes = bench.steps("purge", "reboot")

    assert kinds(outcomes) == [OutcomeKind.REFUSED, OutcomeKind.APPLIED]
    assert (len(bench.recorded), bench.owed.as_json(), bench.again(TRY_AGAIN)) == (1, [OWED_PURGE], [])
    bench.no_process = False
    assert kinds(bench.again(TRY_AGAIN)) == [OutcomeKind.APPLIED]
    assert (len(purge.planned), [around.no_process for around in reboot.planned]) == (1, [True])


def test_a_last_resort_that_can_wait_for_a_process_does() -> None:
    """It says so in its plan; each try to fork comes first, and as soon as one succeeds, it is done there."""
    reboot = Recorder("reboot", resumable=True, refusal="the root is not dead", again_in=2.0)
    bench = Bench([reboot], no_process=True)

    assert kinds(bench.steps("reboot")) == [OutcomeKind.REFUSED]
    assert (bench.again(2.0), len(reboot.planned), reboot.applied, bench.recorded) == ([], 2, [], [])
    bench.no_process, reboot.refusal, reboot.again_in = False, "", None
    assert kinds(bench.again(2.0)) == [OutcomeKind.APPLIED]
    assert [around.no_process for around in reboot.planned] == [True, True, False]


def test_a_last_resort_that_is_lost_before_it_began_is_not_given_up() -> None:
    """Its process was killed while it planned: it has done nothing, and is tried again; a purge waits for its stage."""
    bench = Bench([Recorder("purge"), Recorder("reboot", resumable=True)])
    for name in ("purge", "reboot"):
        bench.step(name)
        bench.workers[-1].dies = True
        assert kinds(bench.step()) == [OutcomeKind.FAILED]

    assert bench.recorded == []
    assert kinds(bench.again(TRY_AGAIN)) == [OutcomeKind.APPLIED]
    assert [one.errand.action.name for one in bench.workers] == ["purge", "reboot", "reboot"]


def test_what_a_pause_withholds_stays_owed_and_what_was_done_does_not() -> None:
    """A pause or a crash loses nothing that was called for; what was begun is never called for again."""
    bench = Bench([Recorder("purge"), Recorder("vacuum")])
    bench.steps("vacuum")
    bench.step("purge", permission=Permission(ActionsMode.ON, paused=True))

    assert bench.killed().owed.as_json() == [OWED_PURGE]


def test_what_is_under_way_is_not_forgotten_for_what_waits() -> None:
    """However much is called for: a reboot that was begun is to be taken up after a crash."""
    owed, begun = Owed(), Begun(1.0, Process(7, 7))
    first = decision("reboot")
    owed.begin(first, begun)
    for number in range(2 * MOST_KEPT):
        owed.add(decision(f"purge{number}"))

    assert owed.debt(first).begun == begun
    assert len(owed.as_json()) == MOST_KEPT
