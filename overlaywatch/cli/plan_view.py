# SPDX-License-Identifier: Apache-2.0
"""What `plan` shows: what each policy would do right now, and why.

This file must not print.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from overlaywatch.cli.layout import wrap
from overlaywatch.cli.screen import Screen, Style, printable
from overlaywatch.cli.status_view import not_seen
from overlaywatch.config.settings import ActionsMode, Settings
from overlaywatch.model import Decision, Tick
from overlaywatch.ports import Plan
from overlaywatch.units import format_size
from overlaywatch.watch import say_unseen, unseen

MODES = {
    ActionsMode.ON: "",
    ActionsMode.DRY_RUN: '[daemon] actions is "dry-run": the daemon would only say this; alerts are sent.',
    ActionsMode.OFF: '[daemon] actions is "off": the daemon would do none of this but send alerts.',
}


def render_plan(tick: Tick, plans: Sequence[Plan], settings: Settings, screen: Screen, pause: str = "") -> list[str]:
    """All lines: the plans by policy and stage, what holds them back, and what could not be seen."""
    lines: list[str] = []
    for decision, group in groupby(plans, key=_cause):
        lines += [*_head(decision, screen), *_steps(list(group), screen), ""]
    if not plans:
        lines = [*wrap(_why_nothing(settings), screen.prose_width), ""]
    asleep = (say_unseen(policy, mount_point) for policy, mount_point in unseen(tick.stages, tick.verdicts))
    for held in filter(None, (*map(printable, asleep), MODES[settings.daemon.actions], pause)):
        lines += [screen.paint(line, Style.WARN) for line in wrap(held, screen.prose_width)]
    if plans:
        lines.append(screen.paint("Nothing of this was done.", Style.FAINT))
    return screen.finish([*_without_last_blank(lines), *not_seen(tick, screen)])


def _without_last_blank(lines: list[str]) -> list[str]:
    return lines[:-1] if lines and not lines[-1] else lines


def _cause(plan: Plan) -> tuple[str, str, str, str]:
    decision = plan.decision
    return decision.policy, decision.stage, decision.mount_point, decision.reason


def _why_nothing(settings: Settings) -> str:
    if not settings.policies:
        return "Nothing: no policy is configured. overlaywatch watches, exports, and changes nothing."
    return "Nothing: no stage of any policy is true right now."


def _head(cause: tuple[str, str, str, str], screen: Screen) -> Iterator[str]:
    policy, stage, mount_point, reason = map(printable, cause)
    yield f"{screen.paint(f'{policy}/{stage}', Style.STRONG)} on {mount_point}"
    yield from wrap(reason, screen.prose_width, "  ")


def _steps(plans: Sequence[Plan], screen: Screen) -> Iterator[str]:
    for index, plan in enumerate(plans):
        last = index == len(plans) - 1
        lead, below = ("└─ ", "   ") if last else ("├─ ", "│  ")
        wanted = f" · {format_size(plan.needs_bytes)} wanted" if plan.needs_bytes else ""
        name = printable(plan.action)
        yield f"{screen.paint(lead, Style.FAINT)}{screen.paint(name, Style.STRONG)} ({plan.type}){wanted}"
        if plan.refusal:
            refusal = wrap(f"will not act: {printable(plan.refusal)}", screen.prose_width - len(below))
            yield from (screen.paint(below, Style.FAINT) + screen.paint(line, Style.WARN) for line in refusal)
        for step in plan.steps:
            yield from (screen.paint(below, Style.FAINT) + line for line in _step(step, screen.prose_width - 3))


def _step(step: str, width: int) -> list[str]:
    return wrap(printable(step), width) or [""]


def plan_document(tick: Tick, plans: Sequence[Plan], settings: Settings) -> dict[str, object]:
    """The same for programs; `refusal` is null if the action would act."""
    return {
        "version": 1,
        "at": tick.unix_time,
        "actions": settings.daemon.actions.value,
        "paused": tick.paused,
        "plans": [_entry(plan, plan.decision) for plan in plans],
    }


def _entry(plan: Plan, decision: Decision) -> dict[str, object]:
    return {
        "policy": decision.policy,
        "stage": decision.stage,
        "mount_point": decision.mount_point,
        "reason": decision.reason,
        "action": plan.action,
        "type": plan.type,
        "steps": list(plan.steps),
        "refusal": plan.refusal or None,
        "needs_bytes": plan.needs_bytes,
    }
