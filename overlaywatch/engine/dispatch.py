# SPDX-License-Identifier: Apache-2.0
"""From decisions to outcomes: who may act, in which order, and never twice.

Must not know what any action does. Actions that only tell somebody are carried out at once. Those
that change the machine wait in a queue, one at a time, and each is checked again when its turn
comes: the stage must still be active, and nobody may have paused the daemon. What is about to be
done is written down before it is done, so that a crash in between does not do it twice.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from overlaywatch.config.settings import ActionsMode
from overlaywatch.engine import children
from overlaywatch.engine.ledger import Ledger
from overlaywatch.engine.owed import Key, Owed, key_of
from overlaywatch.model import Decision, Outcome, OutcomeKind
from overlaywatch.ports import Action, Plan, Surroundings

log: Final = logging.getLogger(__name__)

MOST_QUEUED: Final = 64
"""More than any sane configuration can ask for in one tick; what comes on top is refused, and counted."""


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
            return 'actions = "off"'
        return ""


class Dispatcher:
    """Holds the queue and the one child that may be running.

    accept() takes decisions in; what it changes (`owed`, and what was told) is to be made safe; then
    proceed() carries on. `record()` must make the ledger safe before it returns, and raise OSError if
    it cannot. `leave()` is called in a forked child, see children.start.
    """

    def __init__(
        self,
        actions: Mapping[str, Action],
        ledger: Ledger,
        owed: Owed,
        record: Callable[[], None],
        leave: Callable[[], None],
    ) -> None:
        self.actions = actions
        self._ledger = ledger
        self._owed = owed
        self._record = record
        self._leave = leave
        self._queue: deque[Decision] = deque()
        self._child: children.Child | None = None

    @property
    def child(self) -> children.Child | None:
        """The running action; its descriptor becomes readable when it ends."""
        return self._child

    def waiting(self) -> Collection[Key]:
        """What is in the queue or under way."""
        running = [key_of(self._child.plan.decision)] if self._child else []
        return {*map(key_of, self._queue), *running}

    def accept(self, decisions: Sequence[Decision], surroundings: Surroundings) -> list[Outcome]:
        """Tell what is to be told, and queue what is to be done. Returns what came to an end by that."""
        return [outcome for decision in decisions for outcome in self._accept(decision, surroundings)]

    def proceed(
        self, still_active: Callable[[Decision], bool], permission: Permission, surroundings: Surroundings
    ) -> list[Outcome]:
        """Do what can be done now. Returns what came to an end."""
        outcomes = self._collect(surroundings.monotonic())
        while self._queue and self._child is None:
            outcomes.extend(self._next(still_active, permission, surroundings))
        return outcomes

    def finish(self, deadline: float) -> list[Outcome]:
        """For the end of the daemon: give what is under way until `deadline`, begin nothing more."""
        child, self._child = self._child, None
        return [children.end(child, deadline)] if child else []

    def _accept(self, decision: Decision, surroundings: Surroundings) -> list[Outcome]:
        action = self.actions.get(decision.action)
        if action is None:
            return [_outcome(decision, "", OutcomeKind.FAILED, "no such action is configured")]
        if not action.changes:
            plan = _plan(action, decision, surroundings)
            return [_apply(action, plan, surroundings) if isinstance(plan, Plan) else plan]
        if key_of(decision) in self.waiting():
            return [_outcome(decision, action.type, OutcomeKind.REFUSED, "it is waiting or under way already")]
        if len(self._queue) >= MOST_QUEUED:
            return [_outcome(decision, action.type, OutcomeKind.REFUSED, "too many actions are waiting")]
        self._queue.append(decision)
        self._owed.add(decision)
        return []

    def _next(
        self, still_active: Callable[[Decision], bool], permission: Permission, surroundings: Surroundings
    ) -> list[Outcome]:
        decision = self._queue.popleft()
        action = self.actions.get(decision.action)
        if action is None:
            return self._refuse(decision, "", "it was taken out of the configuration")
        if not still_active(decision):
            return self._refuse(decision, action.type, "no longer needed: the stage has ended")
        if refusal := permission.refusal():
            return [_outcome(decision, action.type, OutcomeKind.REFUSED, refusal)]
        plan = _plan(action, decision, surroundings)
        if isinstance(plan, Outcome):
            self._owed.settle(decision)
            return [plan]
        if plan.refusal:
            return self._refuse(decision, action.type, plan.refusal)
        if permission.mode is ActionsMode.DRY_RUN:
            return [_outcome(decision, action.type, OutcomeKind.DRY_RUN, "would: " + "; ".join(plan.steps))]
        return self._carry_out(action, plan, surroundings)

    def _refuse(self, decision: Decision, action_type: str, reason: str) -> list[Outcome]:
        """For good: it is not owed any more."""
        self._owed.settle(decision)
        return [_outcome(decision, action_type, OutcomeKind.REFUSED, reason)]

    def _carry_out(self, action: Action, plan: Plan, surroundings: Surroundings) -> list[Outcome]:
        now = surroundings.monotonic()
        self._owed.settle(plan.decision)
        self._ledger.note(plan.action, now)
        try:
            self._record()
        except OSError as error:
            self._ledger.take_back(plan.action)
            reason = f"it cannot be written down that it is done, so it might be done twice: {error.strerror}"
            return [_outcome(plan.decision, plan.type, OutcomeKind.REFUSED, reason)]
        log.warning("%s: %s", plan.action, "; ".join(plan.steps) or plan.decision.reason)
        if not action.detached:
            return [_apply(action, plan, surroundings)]
        try:
            self._child = children.start(plan, lambda: action.apply(plan, surroundings), now, self._leave)
        except OSError as error:
            log.warning("%s: cannot fork (%s): doing it in the engine itself", plan.action, error.strerror)
            return [_apply(action, plan, surroundings)]
        return []

    def _collect(self, now: float) -> list[Outcome]:
        outcome = children.collect(self._child, now) if self._child else None
        if outcome is None:
            return []
        self._child = None
        return [outcome]


def _plan(action: Action, decision: Decision, surroundings: Surroundings) -> Plan | Outcome:
    """The plan; an Outcome if the action has a fault: the next one must have its turn."""
    try:
        return action.plan(decision, surroundings)
    except Exception as error:
        log.exception("%s: a fault of overlaywatch itself", decision.action)
        return _outcome(decision, action.type, OutcomeKind.FAILED, f"a fault of overlaywatch itself: {error!r}")


def _apply(action: Action, plan: Plan, surroundings: Surroundings) -> Outcome:
    """Carried out in this very process."""
    try:
        return action.apply(plan, surroundings)
    except Exception as error:
        log.exception("%s: a fault of overlaywatch itself", plan.action)
        return _outcome(plan.decision, plan.type, OutcomeKind.FAILED, f"a fault of overlaywatch itself: {error!r}")


def _outcome(decision: Decision, action_type: str, kind: OutcomeKind, reason: str) -> Outcome:
    return Outcome(
        action=decision.action,
        type=action_type,
        kind=kind,
        reason=reason,
        at=decision.at,
        policy=decision.policy,
        stage=decision.stage,
        mount_point=decision.mount_point,
    )
