# SPDX-License-Identifier: Apache-2.0
"""Which alerts must be told again, and which are over: the outbox brought in line with the stages.

Must not know how an alert looks. A stage that was active before a restart of the daemon still is:
its alerts are told again, because an Alertmanager forgets what is not repeated, and because a daemon
that was killed may not have come to telling them at all.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from overlaywatch.engine.monitor import Observation
from overlaywatch.engine.outbox import Frame, Key, Outbox
from overlaywatch.model import Decision, StageStatus
from overlaywatch.ports import Action, Notifier, Surroundings
from overlaywatch.units import printable

REPEATED: Final = "alertmanager"
"""The type of action that is told again in any case: it is the same alert, however often it comes."""


def reconcile(outbox: Outbox, stages: Sequence[StageStatus], actions: Mapping[str, Action], unix_time: float) -> None:
    """End every alert whose stage is not active any more, or does not call for it any more."""
    active = {_key(stage, action) for stage in stages if stage.active is not False for action in stage.actions}
    for key in outbox.firing():
        if key not in active or key[0] not in actions:
            outbox.end(key, _resolved(outbox.frame(key), actions.get(key[0]), unix_time))


def retire(outbox: Outbox, before: Mapping[str, Action], after: Mapping[str, Action], unix_time: float) -> None:
    """A new configuration: what was told by an action that is gone is ended while we still have that action."""
    for key in outbox.firing():
        if key[0] in before and key[0] not in after:
            outbox.end(key, _resolved(outbox.frame(key), before[key[0]], unix_time))


def _resolved(frame: Frame, action: Action | None, unix_time: float) -> Frame | None:
    """The frame that says it is over. Without its action only what needs no document can be ended."""
    if isinstance(action, Notifier):
        return action.resolve(frame, unix_time)
    return {**frame, "firing": False, "ends_at": unix_time} if frame.get("kind") == REPEATED else None


def renew(
    outbox: Outbox,
    seen: Observation,
    actions: Mapping[str, Action],
    surroundings: Surroundings,
    told: Collection[Decision] = (),
) -> None:
    """After a restart or a reload: tell the alerts of active stages again, with the figures of now.

    An action that is not repeated is told only if its receiver does not know. `told` has just been told.
    """
    done = {(one.action, one.policy, one.stage, printable(one.mount_point)) for one in told}
    for stage in seen.stages:
        for action in _tellers(stage, actions):
            key = _key(stage, action.name)
            known = action.type != REPEATED and outbox.has_told(key)
            decision = None if known or key in done else seen.decision(stage, action.name, surroundings.monotonic())
            if decision is not None:
                action.apply(action.plan(decision, surroundings), surroundings)


def _tellers(stage: StageStatus, actions: Mapping[str, Action]) -> Iterator[Action]:
    """The actions of an active stage that tell somebody."""
    for name in stage.actions if stage.active else ():
        action = actions.get(name)
        if action is not None and not action.changes:
            yield action


def _key(stage: StageStatus, action: str) -> Key:
    """As the labels of the alert spell it."""
    return action, stage.policy, stage.stage, printable(stage.mount_point)
