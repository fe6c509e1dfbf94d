# SPDX-License-Identifier: Apache-2.0
"""The action `run`: one program of the administrator, with a time limit.

This file must not know what the program does, or how a process is watched and ended (program.py). There is no
shell. The program learns why it runs from OVERLAYWATCH_* variables and from JSON on its input.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from shlex import join
from typing import ClassVar, Final

from overlaywatch.actions.outcomes import Attempt, why
from overlaywatch.actions.program import Ended, Program, find
from overlaywatch.config.table import Table
from overlaywatch.document import decision_entry, mount_entry
from overlaywatch.model import Decision, Outcome, OutcomeKind
from overlaywatch.ports import ActionContext, Plan, Surroundings
from overlaywatch.units import format_duration, printable

INPUT_VERSION: Final = 1

_WORD: Final = re.compile(r"[^\0]+")
_PROGRAM: Final = re.compile(r"/[^\0]*|[^/\0]+")


@dataclass(frozen=True, slots=True)
class RunSettings:
    """`[action.NAME]` with `type = "run"`. `timeout` in seconds."""

    command: tuple[str, ...]
    timeout: float

    @classmethod
    def from_table(cls, table: Table) -> "RunSettings":
        """Read and check all keys. Raises ConfigErrors."""
        settings = cls(
            command=table.strings("command", at_least=1, pattern=_WORD, expected="expected a program and arguments"),
            timeout=table.duration("timeout", default=30.0, minimum=1.0, maximum=3600.0),
        )
        if settings.command and not _PROGRAM.fullmatch(settings.command[0]):
            name = printable(settings.command[0])
            table.error("command", f"{name} is a relative path", "expected /a/path or a bare name", place="[0]")
        table.finish()
        return settings


@dataclass(frozen=True, slots=True)
class RunAction:
    """Runs one program."""

    name: str
    settings: RunSettings
    type: ClassVar[str] = "run"
    changes: ClassVar[bool] = True
    resumable: ClassVar[bool] = False

    @classmethod
    def from_table(cls, table: Table, context: ActionContext) -> "RunAction":
        """The action of `[action.NAME]`. Raises ConfigErrors."""
        return cls(context.name, RunSettings.from_table(table))

    def plan(self, decision: Decision, surroundings: Surroundings) -> Plan:
        """The command line. Whether the program is there is only known when it is started."""
        del surroundings
        limit = format_duration(self.settings.timeout)
        step = f"run {printable(join(self.settings.command))} for {limit} at most"
        command, limit_seconds = self.settings.command, self.settings.timeout
        return Plan(self.name, self.type, decision, steps=(step,), payload=command, limit_seconds=limit_seconds)

    def apply(self, plan: Plan, surroundings: Surroundings) -> Outcome:
        """Run it and wait for its end, or end it with everything it started when the time is up."""
        attempt = Attempt.begin(plan, surroundings)
        if plan.refusal or plan.payload != self.settings.command:
            return attempt.end(OutcomeKind.REFUSED, plan.refusal or "there is no plan")
        before = surroundings.headroom(plan.decision.mount_point)
        program = Program(
            command=self.settings.command,
            timeout=self.settings.timeout,
            environment=environment(plan.decision),
            stdin=json.dumps(told(plan.decision)).encode(),
        )
        try:
            ended = program.run(surroundings.monotonic)
        except OSError as error:
            return attempt.end(OutcomeKind.FAILED, self._not_started(error))
        freed = _freed(plan.decision, before, surroundings) if ended.succeeded else 0
        kind = OutcomeKind.APPLIED if ended.succeeded else OutcomeKind.FAILED
        return attempt.end(kind, _said(ended), freed_bytes=freed)

    def _not_started(self, error: OSError) -> str:
        program = printable(self.settings.command[0])
        if isinstance(error, FileNotFoundError):
            found = find(self.settings.command[0])
            remedy = "its interpreter is missing" if found else "install it, or write its whole path"
            return f"{program}: no such program; {remedy}"
        if isinstance(error, PermissionError):
            return f"{program}: not allowed to run it; make it executable (chmod +x)"
        return f"{program}: cannot be started: {why(error)}; try it by hand as root"


def environment(decision: Decision) -> dict[str, str]:
    """OVERLAYWATCH_* for the program. What is unknown is not set."""
    verdict, forecast = decision.verdict, decision.forecast
    facts: Mapping[str, object] = {
        "ACTION": decision.action,
        "POLICY": decision.policy,
        "STAGE": decision.stage,
        "MOUNT_POINT": decision.mount_point,
        "REASON": decision.reason,
        "HEADROOM_BYTES": verdict.headroom_bytes,
        "LIMIT": verdict.limit,
        "FAILURE": verdict.failure,
        "RECLAIMABLE": "yes" if verdict.reclaimable else "no",
        "FILL_BYTES_PER_SECOND": _whole(forecast.fill_bytes_per_second),
        "TIME_TO_FULL_SECONDS": _whole(forecast.time_to_full_seconds),
    }
    return {f"OVERLAYWATCH_{name}": str(value) for name, value in facts.items() if value is not None}


def told(decision: Decision) -> dict[str, object]:
    """The JSON on the program's input: the decision and its mount point, as in the status document."""
    mount = mount_entry(decision.verdict, decision.forecast)
    return {"version": INPUT_VERSION, "decision": decision_entry(decision), "mount": mount}


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _freed(decision: Decision, before: int | None, surroundings: Surroundings) -> int:
    """How much more room there is than before, if the program's work can have given any."""
    after = surroundings.headroom(decision.mount_point)
    if not decision.verdict.reclaimable or before is None or after is None:
        return 0
    return max(0, after - before)


def _said(ended: Ended) -> str:
    last = printable(ended.last_line)
    return f"{ended.how}: {last}" if last else ended.how
