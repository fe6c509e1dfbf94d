# SPDX-License-Identifier: Apache-2.0
"""What all actions share: an Outcome from a Plan, and errors in words.

This file must not know any action.
"""

from dataclasses import dataclass

from overlaywatch.model import Outcome, OutcomeKind
from overlaywatch.ports import Plan, Surroundings
from overlaywatch.units import printable


@dataclass(frozen=True, slots=True)
class Attempt:
    """An apply() under way: knows its plan and when it began."""

    plan: Plan
    surroundings: Surroundings
    started: float

    @classmethod
    def begin(cls, plan: Plan, surroundings: Surroundings) -> "Attempt":
        """Start the clock."""
        return cls(plan, surroundings, surroundings.monotonic())

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return self.surroundings.monotonic() - self.started

    def end(self, kind: OutcomeKind, reason: str, *, freed_bytes: int = 0, reusable_bytes: int = 0) -> Outcome:
        """The outcome, as of now."""
        decision = self.plan.decision
        return Outcome(
            action=self.plan.action,
            type=self.plan.type,
            kind=kind,
            reason=reason,
            at=self.surroundings.monotonic(),
            policy=decision.policy,
            stage=decision.stage,
            mount_point=decision.mount_point,
            freed_bytes=freed_bytes,
            reusable_bytes=reusable_bytes,
            took_seconds=self.elapsed,
        )


def why(error: OSError) -> str:
    """An OSError as a short clause."""
    reason = (error.strerror or type(error).__name__).lower()
    return f"{printable(error.filename)}: {reason}" if isinstance(error.filename, str) else reason
