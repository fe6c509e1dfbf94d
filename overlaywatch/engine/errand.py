# SPDX-License-Identifier: Apache-2.0
"""What an action in a child of its own is given, and the two things that it has to say: its plan and its outcome.

Must not know how a line gets from one process to the other, or what is done with it. Of a plan only what
the engine weighs goes through: the payload stays with who will apply it. Everything is bounded.
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Final

from overlaywatch.model import Decision, Outcome, OutcomeKind
from overlaywatch.ports import Action, Plan, Surroundings

_MOST_TEXT: Final = 2000
_MOST_STEPS: Final = 64
_LONGEST_STEP: Final = 400
_MOST_BYTES: Final = 2**63
_LONGEST: Final = 1e12
_OF_A_PLAN: Final = ("steps", "refusal", "needs_bytes", "again_in", "limit_seconds")


@dataclass(frozen=True, slots=True)
class Errand:
    """One action for one decision."""

    action: Action
    decision: Decision
    surroundings: Surroundings

    def plan(self) -> Plan:
        """Ask the action what it would do."""
        return self.action.plan(self.decision, self.surroundings)

    def apply(self, plan: Plan) -> Outcome:
        """Have it do that."""
        return self.action.apply(plan, self.surroundings)


def outcome_of(decision: Decision, action_type: str, kind: OutcomeKind, reason: str, at: float) -> Outcome:
    """What became of a decision without the action having a say in it."""
    return Outcome(
        action=decision.action,
        type=action_type,
        kind=kind,
        reason=reason,
        at=at,
        policy=decision.policy,
        stage=decision.stage,
        mount_point=decision.mount_point,
    )


def failed(errand: Errand, reason: str, at: float, took_seconds: float = 0.0) -> Outcome:
    """It has failed, and cannot say so itself."""
    outcome = outcome_of(errand.decision, errand.action.type, OutcomeKind.FAILED, reason, at)
    return replace(outcome, took_seconds=took_seconds)


def fault(errand: Errand, error: Exception) -> Outcome:
    """An action promises not to raise; one that does must not fail without a word."""
    reason = f"a fault of overlaywatch itself: {error!r}; please report it with the lines before this one"
    return failed(errand, reason, errand.decision.at)


def encode(said: Plan | Outcome) -> bytes:
    """One line of JSON."""
    if isinstance(said, Outcome):
        return _line(outcome=asdict(replace(said, reason=said.reason[:_MOST_TEXT])))
    short = replace(
        said,
        steps=tuple(step[:_LONGEST_STEP] for step in said.steps[:_MOST_STEPS]),
        refusal=said.refusal[:_MOST_TEXT],
    )
    return _line(plan={name: getattr(short, name) for name in _OF_A_PLAN})


def _line(**values: object) -> bytes:
    return json.dumps(values).encode() + b"\n"


def decode(line: bytes, errand: Errand) -> Plan | Outcome | None:
    """The Plan or Outcome of a line, or None if it is neither: the child may have been killed while it wrote."""
    try:
        said = json.loads(line)
        return _plan(said["plan"], errand) if "plan" in said else _outcome(said["outcome"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _plan(said: dict[str, object], errand: Errand) -> Plan | None:
    values = {name: said[name] for name in _OF_A_PLAN}
    steps, refusal, needs, again_in, limit = (values[name] for name in _OF_A_PLAN)
    if not isinstance(steps, list) or not _are_texts(*steps, refusal) or not _is_size(needs):
        return None
    if not (again_in is None or _is_time(again_in)) or not (limit is None or _is_time(limit)):
        return None
    plan = Plan(errand.action.name, errand.action.type, errand.decision)
    return replace(plan, **{**values, "steps": tuple(steps)})  # type: ignore[arg-type]  # checked above


def _outcome(said: dict[str, object]) -> Outcome | None:
    values = {field.name: said[field.name] for field in fields(Outcome)}
    outcome = Outcome(**{**values, "kind": OutcomeKind(values["kind"])})  # type: ignore[arg-type]  # checked below
    texts = (outcome.action, outcome.type, outcome.reason, outcome.policy, outcome.stage, outcome.mount_point)
    sizes, times = (outcome.freed_bytes, outcome.reusable_bytes), (outcome.at, outcome.took_seconds)
    whole = _are_texts(*texts) and all(map(_is_size, sizes)) and all(map(_is_time, times))
    return outcome if whole else None


def _are_texts(*values: object) -> bool:
    return all(isinstance(value, str) for value in values)


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < _MOST_BYTES


def _is_time(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < _LONGEST  # type: ignore[operator]  # a number by then
