# SPDX-License-Identifier: Apache-2.0
"""From decisions to outcomes: who may act, in which order, and never twice.

Must not know what any action does. Actions that only tell somebody are carried out at once. Those
that change the machine wait in a queue, one at a time, and each is checked again when its turn
comes: the stage must still be active, and nobody may have paused the daemon. What is about to be
done is written down before it is done, so that a crash in between does not do it twice.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from overlaywatch.config.settings import ActionsMode
from overlaywatch.engine import children
from overlaywatch.engine.ledger import Ledger
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

    def refusal(self) -> str:
        """Why nothing may be changed now; empty if it may."""
        if self.paused:
            return "paused: `overlaywatch resume` lets it act again"
        if self.mode is ActionsMode.OFF:
            return 'actions = "off"'
        return ""


class Dispatcher:
    """Holds the queue and the one child that may be running.

    `record()` must make the ledger safe before it returns, and raise OSError if it cannot.
    """

    def __init__(self, actions: Mapping[str, Action], ledger: Ledger, record: Callable[[], None]) -> None:
        self.actions = actions
        self._ledger = ledger
        self._record = record
        self._queue: deque[Decision] = deque()
        self._child: children.Child | None = None

    @property
    def child(self) -> children.Child | None:
        """The running action; its descriptor becomes readable when it ends."""
        return self._child

    def step(
        self,
        decisions: Sequence[Decision],
        still_active: Callable[[Decision], bool],
        permission: Permission,
        surroundings: Surroundings,
    ) -> list[Outcome]:
        """Take in this tick's decisions, and carry on. Returns what came to an end."""
        outcomes = self._collect(surroundings.monotonic())
        for decision in decisions:
            outcomes.extend(self._accept(decision, surroundings))
        while self._queue and self._child is None:
            outcomes.extend(self._next(still_active, permission, surroundings))
        return outcomes

    def _accept(self, decision: Decision, surroundings: Surroundings) -> list[Outcome]:
        action = self.actions.get(decision.action)
        if action is None:
            return [_outcome(decision, "", OutcomeKind.FAILED, "no such action is configured")]
        if not action.changes:
            return [action.apply(action.plan(decision, surroundings), surroundings)]
        if len(self._queue) >= MOST_QUEUED:
            return [_outcome(decision, action.type, OutcomeKind.REFUSED, "too many actions are waiting")]
        self._queue.append(decision)
        return []

    def _next(
        self, still_active: Callable[[Decision], bool], permission: Permission, surroundings: Surroundings
    ) -> list[Outcome]:
        decision = self._queue.popleft()
        action = self.actions.get(decision.action)
        if action is None:
            return [_outcome(decision, "", OutcomeKind.REFUSED, "it was taken out of the configuration")]
        if not still_active(decision):
            return [_outcome(decision, action.type, OutcomeKind.REFUSED, "no longer needed: the stage has ended")]
        if refusal := permission.refusal():
            return [_outcome(decision, action.type, OutcomeKind.REFUSED, refusal)]
        plan = action.plan(decision, surroundings)
        if plan.refusal:
            return [_outcome(decision, action.type, OutcomeKind.REFUSED, plan.refusal)]
        if permission.mode is ActionsMode.DRY_RUN:
            return [_outcome(decision, action.type, OutcomeKind.DRY_RUN, "would: " + "; ".join(plan.steps))]
        return self._carry_out(action, plan, surroundings)

    def _carry_out(self, action: Action, plan: Plan, surroundings: Surroundings) -> list[Outcome]:
        now = surroundings.monotonic()
        self._ledger.note(plan.action, now)
        try:
            self._record()
        except OSError as error:
            reason = f"it cannot be written down that it is done, so it might be done twice: {error.strerror}"
            return [_outcome(plan.decision, plan.type, OutcomeKind.REFUSED, reason)]
        log.warning("%s: %s", plan.action, "; ".join(plan.steps) or plan.decision.reason)
        if not action.detached:
            return [action.apply(plan, surroundings)]
        try:
            self._child = children.start(plan, lambda: action.apply(plan, surroundings), now)
        except OSError as error:
            log.warning("%s: cannot fork (%s): doing it in the engine itself", plan.action, error.strerror)
            return [action.apply(plan, surroundings)]
        return []

    def _collect(self, now: float) -> list[Outcome]:
        if self._child is None:
            return []
        outcome = children.collect(self._child, now)
        if outcome is None:
            return []
        self._child = None
        return [outcome]


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
