# SPDX-License-Identifier: Apache-2.0
"""The action `reboot`: users and services are told, then the machine restarts, whatever it takes.

This file must not know how a rung restarts a machine (reboot_rungs.py). It holds the reasons not to: a
machine that has just come up, or was rebooted too often, is not rebooted again, because a reboot that
did not help would be a loop. And it is the ladder: each rung has its time, and is believed only when
the machine goes down; as long as this process lives, it has not.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from time import sleep
from typing import ClassVar, Final

from overlaywatch.actions.bounded import bounded
from overlaywatch.actions.outcomes import Attempt
from overlaywatch.actions.reboot_rungs import Rung, default_rungs
from overlaywatch.config.table import Table
from overlaywatch.model import BROKEN, Decision, LayerId, LayerKind, LayerState, Outcome, OutcomeKind, Verdict
from overlaywatch.ports import ActionContext, Plan, Surroundings
from overlaywatch.units import format_duration, printable

GRACE_WITH_DEAD_ROOT: Final = 5.0
"""Nobody can be told and nothing can be saved then: only so long, for what still runs from memory."""

GRACE_GOING_ON: Final = 15.0
"""At least so long when it goes on after the death of a daemon: who was told before has so long to object."""

_TRY_A_PROCESS_AGAIN: Final = 2.0
"""Seconds until the next try to fork, where none could be had: a failed one costs nothing."""

_LOOK_AGAIN: Final = 5.0
_YES: Final = "yes"
_DEAD: Final = frozenset({LayerState.INVALID, LayerState.FAILED})
_ROOT: Final = frozenset({"/", "/usr"})
_FLUSH_MAY_OVERFLOW: Final = (f"{LayerKind.DM_SNAPSHOT}:", f"{LayerKind.DM_THIN_POOL}:")


@dataclass(frozen=True, slots=True)
class RebootSettings:
    """`[action.NAME]` with `type = "reboot"`. Durations in seconds; at most `count` in `window`."""

    grace: float
    min_uptime: float
    count: int
    window: float

    @classmethod
    def from_table(cls, table: Table) -> "RebootSettings":
        """Read and check all keys. Raises ConfigErrors."""
        budget = table.table("max_per", expected='expected { count = 1, window = "24h" }')
        settings = cls(
            grace=table.duration("grace", default=60.0, maximum=3600.0),
            min_uptime=table.duration("min_uptime", default=1800.0, maximum=7 * 86400.0),
            count=budget.integer("count", default=1, minimum=1, maximum=100),
            window=budget.duration("window", default=86400.0, minimum=60.0),
        )
        if settings.min_uptime < 600:
            table.warn(
                "min_uptime", "if a reboot does not help, the machine reboots again and again; 30m is the default"
            )
        table.finish()
        return settings


@dataclass(frozen=True, slots=True)
class RebootPlan:
    """How to go about it: the time that users get, and which rungs can work at all.

    `goes_on`: a daemon before this one has begun it, and may have had it scheduled already.
    """

    grace: float
    dead_root: bool
    may_flush: bool
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class RebootAction:
    """Restarts the machine. `announce` reaches the kernel's log; `rungs` and `wait` are for tests to replace."""

    name: str
    settings: RebootSettings
    announce: Callable[[str], None]
    rungs: Sequence[Rung] = field(default_factory=default_rungs)
    wait: Callable[[float], None] = sleep
    type: ClassVar[str] = "reboot"
    changes: ClassVar[bool] = True
    resumable: ClassVar[bool] = True

    @classmethod
    def from_table(cls, table: Table, context: ActionContext) -> "RebootAction":
        """The action of `[action.NAME]`. Raises ConfigErrors."""
        return cls(context.name, RebootSettings.from_table(table), context.announce)

    def plan(self, decision: Decision, surroundings: Surroundings) -> Plan:
        """How it would be done, or why it must not be done now."""
        plan = _how(self.settings, decision.verdict)
        if surroundings.begun is not None:
            plan = _going_on(plan, surroundings.monotonic() - surroundings.begun)
        refusal, again_in = self._refusal(surroundings)
        if surroundings.no_process and not refusal:
            plan, refusal, again_in = _in_the_engine(plan)
        names = ", ".join(rung.name for rung in self.rungs if _usable(rung, plan))
        again = "go on with the reboot: " if plan.goes_on else ""
        return Plan(
            self.name,
            self.type,
            decision,
            steps=(f"{again}reboot in {format_duration(plan.grace)}, by the first that works of: {names}",),
            refusal=refusal,
            payload=plan,
            again_in=again_in,
        )

    def apply(self, plan: Plan, surroundings: Surroundings) -> Outcome:
        """Climb the ladder. Returns only if the machine is still up."""
        attempt = Attempt.begin(plan, surroundings)
        if plan.refusal or not isinstance(plan.payload, RebootPlan):
            return attempt.end(OutcomeKind.REFUSED, plan.refusal or "there is no plan")
        climb = _Climb(self, plan.payload, _message(plan.decision))
        going_on = "going on, " if plan.payload.goes_on else ""
        climb.say(f"{climb.message} ({going_on}in {format_duration(plan.payload.grace)})")
        for rung in self.rungs:
            if _usable(rung, plan.payload) and not climb.take(rung):
                return attempt.end(OutcomeKind.REFUSED, "somebody has cancelled it (shutdown -c)")
        return attempt.end(OutcomeKind.FAILED, "; ".join(climb.failures) or "there is no way to reboot: run as root")

    def _refusal(self, surroundings: Surroundings) -> tuple[str, float | None]:
        """Why it must not be done now, and in how many seconds it may; empty and None if it may."""
        uptime, least = surroundings.uptime_seconds, self.settings.min_uptime
        if uptime < least:
            reason = (
                f"the machine is up for {format_duration(uptime)} only, min_uptime is {format_duration(least)}:"
                f" a reboot that does not help must not become a loop; again in {format_duration(least - uptime)}"
            )
            return reason, least - uptime
        now = surroundings.monotonic()
        recent = [at for at in surroundings.past(self.name) if now - at < self.settings.window]
        if len(recent) >= self.settings.count:
            again_in = recent[-self.settings.count] + self.settings.window - now
            reason = (
                f"it was done {len(recent)} times in the last {format_duration(self.settings.window)},"
                f" max_per allows {self.settings.count}; again in {format_duration(again_in)}"
            )
            return reason, again_in
        return "", None


@dataclass(slots=True)
class _Climb:
    """One way up the ladder. `grace` is what is left of it; `failures` are what each rung said."""

    action: RebootAction
    plan: RebootPlan
    message: str
    grace: float = field(init=False)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.grace = self.plan.grace

    def take(self, rung: Rung) -> bool:
        """Try one rung and wait for the machine to go down. False: somebody wants it not to."""
        if not rung.waits:
            self._let_grace_pass()
        problem = None if self._is_held(rung) else self._run(rung)
        if problem is None and not self._let_it_happen(rung):
            self.say("cancelled")
            return False
        if problem is not None:
            self._fail(f"{rung.name}: {problem}")
        elif rung.settle:
            self._fail(f"{rung.name}: accepted, and the machine is still up")
        return True

    def say(self, text: str) -> None:
        """To the kernel's log; what cannot be said keeps nothing from being done."""
        with suppress(OSError):
            self.action.announce(text)

    def _run(self, rung: Rung) -> str | None:
        wall = f"overlaywatch: {self.message}"
        try:
            if rung.limit:
                return bounded(lambda: rung.run(self.grace, wall), rung.limit)
            return rung.run(self.grace, wall)
        except Exception as error:  # the next rung must have its turn, whatever this one met
            return str(error) or type(error).__name__

    def _fail(self, text: str) -> None:
        self.failures.append(text)
        self.say(text)

    def _let_grace_pass(self) -> None:
        if self.grace:
            self.action.wait(self.grace)
            self.grace = 0.0

    def _let_it_happen(self, rung: Rung) -> bool:
        """Wait until the machine should be down. False: it was cancelled while the grace lasted."""
        # In its last seconds a schedule may be gone because it is being carried out.
        while rung.waits and self.grace > _LOOK_AGAIN:
            self.action.wait(_LOOK_AGAIN)
            self.grace -= _LOOK_AGAIN
            if self.grace > _LOOK_AGAIN and self._is_so(rung.withdrawn, rung.limit):
                return False
        self._let_grace_pass()
        if rung.settle:
            self.action.wait(rung.settle)
        return True

    def _is_held(self, rung: Rung) -> bool:
        """Whether a daemon before us got so far that this rung holds a schedule; it is not made twice."""
        return self.plan.goes_on and rung.waits and self._is_so(rung.holds, rung.limit)

    def _is_so(self, question: Callable[[], bool], limit: float) -> bool:
        """Ask, within bounds; no answer is no."""
        try:
            return bounded(lambda: _YES if question() else None, limit) == _YES
        except OSError:
            return False


def _how(settings: RebootSettings, verdict: Verdict) -> RebootPlan:
    # A dead root gives no program any more; that of another mount point leaves /usr in order.
    dead_root = bool(verdict.states & _DEAD) and verdict.mount.mount_point in _ROOT
    return RebootPlan(
        grace=min(settings.grace, GRACE_WITH_DEAD_ROOT) if dead_root else settings.grace,
        dead_root=dead_root,
        may_flush=not verdict.states & BROKEN and not any(map(_can_be_overflowed, verdict.chain)),
    )


def _going_on(plan: RebootPlan, elapsed: float) -> RebootPlan:
    """What is left of the grace, or a short one, so that an endless row of crashes comes to an end as well."""
    return replace(plan, grace=max(plan.grace - elapsed, min(plan.grace, GRACE_GOING_ON)), goes_on=True)


def _in_the_engine(plan: RebootPlan) -> tuple[RebootPlan, str, float | None]:
    """Without a process: at once, and by the kernel alone, as nobody else will watch in that time; or not now, and why.

    Only a dead root leaves nothing to wait for. Else there may be room for a process soon, and users have their grace.
    """
    if plan.dead_root:
        return replace(plan, grace=0.0), "", None
    again = format_duration(_TRY_A_PROCESS_AGAIN)
    reason = f"no process can be started for it, and the root is not dead; it is tried again every {again}"
    return plan, reason, _TRY_A_PROCESS_AGAIN


def _can_be_overflowed(layer: LayerId) -> bool:
    return layer.startswith(_FLUSH_MAY_OVERFLOW)


def _usable(rung: Rung, plan: RebootPlan) -> bool:
    return not (rung.needs_programs and plan.dead_root) and (plan.may_flush or not rung.flushes)


def _message(decision: Decision) -> str:
    """What users read on their terminals, and whoever reads the kernel's log afterwards; both put a name before it."""
    place = printable(decision.mount_point)
    return f"rebooting: the writable layer of {place} is at its end: {printable(decision.reason)}"
