# SPDX-License-Identifier: Apache-2.0
"""From decisions to outcomes: who may act, in which order, and never twice.

Must not know what any action does. Actions that only tell somebody are carried out at once. Those that
change the machine wait in a queue. One at a time gets a process of its own, makes its plan there, and is
weighed here: the stage must still be active, nobody may have paused the daemon, and what is about to be
done is written down, so that a crash does not do it twice. Then it is given the word to begin.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from overlaywatch.config.settings import ActionsMode
from overlaywatch.engine import children
from overlaywatch.engine.errand import Errand, failed, fault, outcome_of
from overlaywatch.engine.ledger import Ledger
from overlaywatch.engine.owed import Begun, Key, Owed, key_of
from overlaywatch.kernel.process import Process
from overlaywatch.model import Decision, Outcome, OutcomeKind
from overlaywatch.ports import Action, Plan, Surroundings
from overlaywatch.units import format_duration

log: Final = logging.getLogger(__name__)

MOST_QUEUED: Final = 64
"""More than any sane configuration can ask for in one tick; what comes on top is refused, and counted."""

TRY_AGAIN: Final = 10.0
"""Seconds after which what failed for want of a process or of a place to write it down is tried again."""

_MOST_LOGGED: Final = 2000
_CUT_OFF: Final = (
    "it was not done when the daemon had to stop; a reboot is taken up by the next daemon, the rest is not"
)


@dataclass(frozen=True, slots=True)
class Permission:
    """What the operator lets the daemon do at this moment."""

    mode: ActionsMode
    paused: bool

    @property
    def given(self) -> bool:
        """Whether everything may be done."""
        return self.mode is ActionsMode.ON and not self.paused

    def refusal(self) -> str:
        """Why nothing may be changed now; empty if it may."""
        if self.paused:
            return "paused: `overlaywatch resume` lets it act again"
        if self.mode is ActionsMode.OFF:
            return 'actions = "off" in [daemon], or overlaywatch.actions=off on the kernel command line'
        return ""


class Worker(Protocol):
    """A running action; children.Child is the real one."""

    pid: int
    fd: int
    errand: Errand
    is_begun: bool

    @property
    def process(self) -> Process:
        """What tells it from every other process of this boot."""
        ...

    def news(self, now: float, /) -> Plan | Outcome | None:
        """Its plan, when it waits for the word; its outcome, when it has ended or hangs; else None. Never waits."""
        ...

    def begin(self, limit_seconds: float | None, now: float, /) -> None:
        """Give the word."""
        ...

    def abandon(self) -> None:
        """It is not listened to any more."""
        ...

    def is_gone(self) -> bool:
        """Whether there is nothing left of it."""
        ...

    def wait(self, deadline: float, /) -> None:
        """Until it is gone, or until then."""
        ...

    def end(self, deadline: float, /) -> Outcome | None:
        """Its outcome if it has one by then; None: it was cut off."""
        ...


Start = Callable[[Errand, Callable[[], None]], Worker]


@dataclass(frozen=True, slots=True)
class Moment:
    """What is so in this tick: which stages are active, what is permitted, and what actions may ask."""

    still_active: Callable[[Decision], bool]
    permission: Permission
    surroundings: Surroundings

    @property
    def now(self) -> float:
        """The clock."""
        return self.surroundings.monotonic()


class Dispatcher:
    """Holds the queue and the one action that may be running.

    accept() takes decisions in; what it changes (`owed`, and what was told) is to be made safe; then
    proceed() carries on. `record()` must make ledger and `owed` safe before it returns, and raise OSError if
    it cannot. `start` gives an action a process, `leave()` is called in that; see children.start.
    """

    def __init__(
        self,
        actions: Mapping[str, Action],
        ledger: Ledger,
        owed: Owed,
        record: Callable[[], None],
        leave: Callable[[], None],
        start: Start = children.start,
    ) -> None:
        self._actions = actions
        self._ledger = ledger
        self._owed = owed
        self._record = record
        self._leave = leave
        self._start = start
        self._queue: deque[Decision] = deque()
        self._worker: Worker | None = None
        self._leaving: list[Worker] = []
        self._ended: list[Outcome] = []

    @property
    def worker(self) -> Worker | None:
        """The running action; its descriptor becomes readable when it has something to say, or ends."""
        return self._worker

    def waiting(self) -> Collection[Key]:
        """What is in the queue or under way."""
        running = [key_of(self._worker.errand.decision)] if self._worker else []
        return {*map(key_of, self._queue), *running}

    def reconfigure(self, actions: Mapping[str, Action]) -> None:
        """Other actions: what has not begun is planned anew, what had to wait may be possible now."""
        self._actions = actions
        self._owed.ask_at_once()
        if self._worker and not self._worker.is_begun:
            self._queue.appendleft(self._worker.errand.decision)
            self._let_go(self._worker)

    def accept(self, decisions: Sequence[Decision], surroundings: Surroundings) -> list[Outcome]:
        """Tell what is to be told, and queue what is to be done. Returns what came to an end by that."""
        for decision in decisions:
            self._accept(decision, surroundings)
        return self._take_ended()

    def proceed(
        self, still_active: Callable[[Decision], bool], permission: Permission, surroundings: Surroundings
    ) -> list[Outcome]:
        """Do what can be done now. Returns what came to an end."""
        moment = Moment(still_active, permission, surroundings)
        self._leaving = [one for one in self._leaving if not one.is_gone()]
        if self._worker:
            self._hear(self._worker, moment)
        while self._queue and self._worker is None:
            self._next(self._queue.popleft(), moment)
        return self._take_ended()

    def finish(self, deadline: float) -> list[Outcome]:
        """For the end of the daemon: give what is under way until `deadline`, begin nothing more.

        What has not begun, or is cut off and resumable, stays owed.
        """
        worker = self._worker
        if worker and worker.is_begun:
            outcome = worker.end(deadline)
            self._worker = None
            self._ended.append(outcome or failed(worker.errand, _CUT_OFF, time.monotonic()))
            if outcome:
                self._owed.settle(worker.errand.decision)
        elif worker:
            self._let_go(worker)
        for one in self._leaving:
            one.wait(deadline)
        return self._take_ended()

    # --- taken in ---------------------------------------------------------------------------------------

    def _accept(self, decision: Decision, surroundings: Surroundings) -> None:
        action, now = self._actions.get(decision.action), surroundings.monotonic()
        if action is None:
            reason = "no such action is configured: add it, or take it out of the stage"
            self._ended.append(outcome_of(decision, "", OutcomeKind.FAILED, reason, now))
        elif not action.changes:
            self._ended.append(_tell(Errand(action, decision, surroundings)))
        elif reason := self._why_not_queued(decision, now):
            self._refuse(decision, reason, now)
        else:
            self._queue.append(decision)
            self._owed.add(decision)

    def _why_not_queued(self, decision: Decision, now: float) -> str:
        if key_of(decision) in self.waiting():
            return "it is waiting or under way already"
        if len(self._queue) >= MOST_QUEUED:
            return f"{MOST_QUEUED} actions are waiting already; have fewer stages call for actions at once"
        debt = self._owed.debt(decision)
        if debt.not_before > now:
            return f"it has to wait for {format_duration(debt.not_before - now)} still: {debt.told}"
        return ""

    # --- weighed, and begun -------------------------------------------------------------------------------

    def _next(self, decision: Decision, moment: Moment) -> None:
        if not self._is_wanted(decision, moment):
            return
        around = self._as_seen_by(decision, moment.surroundings)
        errand = Errand(self._actions[decision.action], decision, around)
        try:
            self._worker = self._start(errand, self._leave)
        except OSError as error:
            self._without_a_process(errand, error, moment)

    def _is_wanted(self, decision: Decision, moment: Moment) -> bool:
        """Whether it is still called for and permitted; if not, that is its outcome. A pause leaves it owed."""
        if decision.action not in self._actions:
            reason = "it was taken out of the configuration"
        elif not moment.still_active(decision):
            reason = "no longer needed: the stage has ended"
        elif reason := moment.permission.refusal():
            self._refuse(decision, reason, moment.now)
            return False
        else:
            return True
        self._owed.settle(decision)
        self._refuse(decision, reason, moment.now)
        return False

    def _as_seen_by(self, decision: Decision, surroundings: Surroundings) -> Surroundings:
        """For what a dead daemon has begun: it does not count as one that was done before."""
        begun = self._owed.debt(decision).begun
        if begun is None:
            return surroundings
        at, past = begun.at, surroundings.past
        return replace(surroundings, begun=at, past=lambda name: [time for time in past(name) if time != at])

    def _hear(self, worker: Worker, moment: Moment) -> None:
        news = worker.news(moment.now)
        if isinstance(news, Outcome):
            self._over(worker, news, moment.now)
        elif news is not None and self._may_begin(news, worker.errand, worker.process, moment):
            worker.begin(news.limit_seconds, moment.now)
        elif news is not None:
            self._let_go(worker)

    def _over(self, worker: Worker, outcome: Outcome, now: float) -> None:
        """It has ended. A last resort that was lost before it began is not given up."""
        errand = worker.errand
        self._worker = None
        self._leaving.append(worker)
        self._ended.append(outcome)
        if errand.action.resumable and not worker.is_begun:
            self._owed.put_off(errand.decision, now, TRY_AGAIN, outcome.reason)
            return
        self._owed.settle(errand.decision)
        if errand.action.resumable:
            self._note_its_end()

    def _note_its_end(self) -> None:
        """At once: a daemon that comes after us must not go on with what a person has cancelled."""
        try:
            self._record()
        except OSError as error:
            log.error("the state cannot be written down: %s; after a crash it may go on", error.strerror)

    def _let_go(self, worker: Worker) -> None:
        """It is not given the word."""
        self._worker = None
        worker.abandon()
        self._leaving.append(worker)

    def _may_begin(self, plan: Plan, errand: Errand, process: Process, moment: Moment) -> bool:
        """Whether a plan is carried out now; then that is written down. If not, its outcome is told."""
        decision = plan.decision
        if not self._is_wanted(decision, moment):
            return False
        if plan.refusal:
            self._refuse_plan(plan, moment.now)
            return False
        if moment.permission.mode is ActionsMode.DRY_RUN:
            shown = "would: " + "; ".join(plan.steps)
            self._ended.append(outcome_of(decision, plan.type, OutcomeKind.DRY_RUN, shown, moment.now))
            return False
        if not self._is_written_down(errand, process, moment.now):
            return False
        log.warning("%s: %s", plan.action, ("; ".join(plan.steps) or decision.reason)[:_MOST_LOGGED])
        return True

    def _refuse_plan(self, plan: Plan, now: float) -> None:
        if plan.again_in is None:
            self._owed.settle(plan.decision)
            self._refuse(plan.decision, plan.refusal, now)
        else:
            self._put_off(plan.decision, plan.refusal, plan.again_in, now)

    def _put_off(self, decision: Decision, reason: str, seconds: float, now: float) -> None:
        """It stays owed; why is told once."""
        if self._owed.put_off(decision, now, seconds, reason):
            self._refuse(decision, reason, now)

    def _is_written_down(self, errand: Errand, process: Process, now: float) -> bool:
        """Before it begins: that it was done, for its budget, and who does what is to be resumed."""
        decision, debt = errand.decision, self._owed.debt(errand.decision)
        if debt.begun is None:
            self._ledger.note(decision.action, now)
        if errand.action.resumable:
            self._owed.begin(decision, Begun(debt.begun.at if debt.begun else now, process))
        else:
            self._owed.settle(decision)
        try:
            self._record()
        except OSError as error:
            if debt.begun is None:
                self._ledger.take_back(decision.action)
            self._owed.put_back(decision, debt)
            reason = f"it cannot be written down that it is done, so it might be done twice: {error.strerror}"
            self._put_off(decision, reason, TRY_AGAIN, now)
            return False
        return True

    def _without_a_process(self, errand: Errand, error: OSError, moment: Moment) -> None:
        """No room for one: what needs none and does not wait is done in the engine itself, the rest is tried again."""
        if not errand.action.resumable:
            reason = f"no process can be started for it: {error.strerror}; it is tried again every {TRY_AGAIN:.0f} s"
            self._put_off(errand.decision, reason, TRY_AGAIN, moment.now)
            return
        errand = replace(errand, surroundings=replace(errand.surroundings, no_process=True))
        try:
            plan = errand.plan()
            if self._may_begin(plan, errand, children.this_process(), moment):
                log.warning("%s: cannot fork (%s): done in the engine itself", errand.action.name, error.strerror)
                self._ended.append(errand.apply(plan))
                self._owed.settle(errand.decision)
        except Exception as problem:
            log.exception("%s: a fault of overlaywatch itself", errand.action.name)
            self._owed.settle(errand.decision)
            self._ended.append(fault(errand, problem))

    # --- told ---------------------------------------------------------------------------------------------

    def _refuse(self, decision: Decision, reason: str, now: float) -> None:
        action = self._actions.get(decision.action)
        self._ended.append(outcome_of(decision, action.type if action else "", OutcomeKind.REFUSED, reason, now))

    def _take_ended(self) -> list[Outcome]:
        ended, self._ended = self._ended, []
        return ended


def _tell(errand: Errand) -> Outcome:
    """An action that only tells somebody, in this very process: the next one must have its turn whatever it does."""
    try:
        return errand.apply(errand.plan())
    except Exception as error:
        log.exception("%s: a fault of overlaywatch itself", errand.action.name)
        return fault(errand, error)
