# SPDX-License-Identifier: Apache-2.0
"""What policies have called for and what has not come to its end: neither a pause nor a crash loses it.

Must not know what an action does, or who may act. A policy calls for an action once; whether it is
carried out then is not its affair. What had to wait (for another action, for the end of a pause, for a
daemon that was killed in between, for a budget) is done when it can be, if its stage is active by then.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from overlaywatch.engine.monitor import Observation
from overlaywatch.kernel.process import Process
from overlaywatch.model import Decision

Key = tuple[str, str, str, str]
"""Policy, stage, mount point, action."""

MOST_KEPT: Final = 64
SHORTEST_WAIT: Final = 1.0
"""Whatever an action says, it is not asked more often than once a second."""


def key_of(decision: Decision) -> Key:
    """What makes it the same action for the same reason."""
    return decision.policy, decision.stage, decision.mount_point, decision.action


@dataclass(frozen=True, slots=True)
class Begun:
    """When something was begun (monotonic seconds), and by which process."""

    at: float
    by: Process


@dataclass(frozen=True, slots=True)
class Debt:
    """One thing that is owed. `not_before` (monotonic) is when it is tried again, `told` why not sooner.

    A restart tries it at once: the configuration may be another one then. `begun` is set while it is under way.
    """

    not_before: float = 0.0
    told: str = ""
    begun: Begun | None = None


class Owed:
    """The debts, oldest first, each once."""

    def __init__(self) -> None:
        self._debts: dict[Key, Debt] = {}

    def debt(self, decision: Decision) -> Debt:
        """What is known of it; an empty one if it is not owed."""
        return self._debts.get(key_of(decision), Debt())

    def add(self, decision: Decision) -> None:
        """It was called for. Beyond all measure, the oldest that has not begun is forgotten."""
        self._set(decision, self.debt(decision))

    def settle(self, decision: Decision) -> None:
        """It has come to its end, or it has been decided that it will not be done."""
        self._debts.pop(key_of(decision), None)

    def put_off(self, decision: Decision, now: float, seconds: float, reason: str) -> bool:
        """Try it again in so many seconds. True if the reason is a new one, and to be told."""
        debt = self.debt(decision)
        self._set(decision, replace(debt, not_before=now + max(seconds, SHORTEST_WAIT), told=reason))
        return debt.told != reason

    def begin(self, decision: Decision, begun: Begun) -> None:
        """It begins, and is owed until it has come to its end."""
        self._set(decision, Debt(begun=begun))

    def put_back(self, decision: Decision, debt: Debt) -> None:
        """It did not begin after all."""
        self._set(decision, debt)

    def ask_at_once(self) -> None:
        """Another configuration may allow what had to wait."""
        self._debts = {key: replace(debt, not_before=0.0) for key, debt in self._debts.items()}

    def leave_to(self, is_alive: Callable[[Process], bool]) -> list[Key]:
        """At the start: what a process of a daemon before us still does is its affair. Returns what that is."""
        left = [key for key, debt in self._debts.items() if debt.begun and is_alive(debt.begun.by)]
        for key in left:
            del self._debts[key]
        return left

    def next_due(self, now: float) -> float | None:
        """When the first is to be tried again that has to wait still; None if none has."""
        return min((debt.not_before for debt in self._debts.values() if debt.not_before > now), default=None)

    def again(self, seen: Observation, now: float, but: Collection[Key] = ()) -> list[Decision]:
        """What is to be tried, as decisions of this look, `but` for some. What is no longer called for is forgotten."""
        if not self._debts:
            return []
        stages = {(stage.policy, stage.stage, stage.mount_point): stage for stage in seen.stages}
        found = []
        for key in [key for key in self._debts if key not in but]:
            stage = stages.get(key[:3])
            if stage is None or stage.active is False or key[3] not in stage.actions:
                del self._debts[key]
            elif stage.active and self._debts[key].not_before <= now:
                decision = seen.decision(stage, key[3], now)
                found += [decision] if decision else []
        return found

    def as_json(self) -> list[dict[str, object]]:
        """For the state file."""
        return [_entry(key, debt) for key, debt in self._debts.items()]

    def restore(self, value: object, now: float) -> None:
        """What the state file held; anything else is nothing, and so is what was begun after `now`."""
        for entry in value if isinstance(value, list) else []:
            if isinstance(entry, Mapping) and all(isinstance(entry.get(name), str) for name in _NAMES):
                policy, stage, mount_point, action = (str(entry[name]) for name in _NAMES)
                self._debts[policy, stage, mount_point, action] = Debt(begun=_begun(entry.get("begun"), now))

    def _set(self, decision: Decision, debt: Debt) -> None:
        self._debts[key_of(decision)] = debt
        while len(self._debts) > MOST_KEPT:
            waiting = (key for key, debt in self._debts.items() if debt.begun is None)
            del self._debts[next(waiting, next(iter(self._debts)))]


_NAMES: Final = ("policy", "stage", "mount_point", "action")


def _entry(key: Key, debt: Debt) -> dict[str, object]:
    names: dict[str, object] = dict(zip(_NAMES, key, strict=True))
    if debt.begun is None:
        return names
    return {**names, "begun": [debt.begun.at, debt.begun.by.pid, debt.begun.by.started_ticks]}


def _begun(value: object, now: float) -> Begun | None:
    if not isinstance(value, list) or len(value) != 3:
        return None
    at, pid, started = value
    if (
        type(at) not in (int, float)
        or not 0 <= at <= now
        or not all(type(one) is int and 0 < one < 2**63 for one in (pid, started))
    ):
        return None
    return Begun(float(at), Process(pid, started))
