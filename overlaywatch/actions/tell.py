# SPDX-License-Identifier: Apache-2.0
"""What all actions have in common that change nothing and only tell somebody.

This file must not know whom. The plan is the whole notification, ready to be sent; applying it is
handing it to delivery, which reports later, and by its own metric, whether it arrived.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from overlaywatch.actions import notification
from overlaywatch.actions.notification import Frame, Sender
from overlaywatch.actions.outcomes import Attempt
from overlaywatch.model import Decision, Outcome, OutcomeKind
from overlaywatch.ports import Plan, Surroundings


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells one receiver; `send` hands a frame to delivery."""

    sender: Sender
    send: Callable[[Frame], None]
    unix_time: Callable[[], float]
    type: ClassVar[str]
    one_per_firing: ClassVar[bool]
    changes: ClassVar[bool] = False
    resumable: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """NAME of `[action.NAME]`."""
        return self.sender.receiver

    def plan(self, decision: Decision, surroundings: Surroundings) -> Plan:
        """The notification, as it would be sent."""
        starts_at = self.unix_time() - max(surroundings.monotonic() - decision.at, 0.0)
        frame = notification.firing(self.sender, decision, starts_at, one_per_firing=self.one_per_firing)
        step = f"tell {', '.join(self.sender.targets)}: {notification.summary(decision, self.sender.hostname)}"
        return Plan(self.name, self.type, decision, steps=(step,), payload=frame)

    def apply(self, plan: Plan, surroundings: Surroundings) -> Outcome:
        """Hand it to delivery."""
        attempt = Attempt.begin(plan, surroundings)
        if not isinstance(plan.payload, dict):
            return attempt.end(OutcomeKind.REFUSED, plan.refusal or "there is no plan")
        try:
            self.send(plan.payload)
        except Exception as error:  # whatever delivery raises, an action never does
            return attempt.end(OutcomeKind.FAILED, f"cannot be handed to delivery: {error}")
        return attempt.end(OutcomeKind.APPLIED, "handed to delivery")

    def resolve(self, frame: Frame, ended_at: float) -> Frame:
        """The frame that takes back one that was sent; `ended_at` in Unix seconds."""
        return notification.resolved(frame, ended_at)
