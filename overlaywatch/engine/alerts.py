# SPDX-License-Identifier: Apache-2.0
"""Which alerts must be told again, and which are over: the outbox brought in line with the stages.

Must not know how an alert looks. A stage that was active before a restart of the daemon still is:
its alerts are told again, because an Alertmanager forgets what is not repeated.
"""

from collections.abc import Iterator, Mapping, Sequence

from overlaywatch.engine.monitor import Observation
from overlaywatch.engine.outbox import Frame, Outbox
from overlaywatch.model import NO_FORECAST, Decision, StageStatus
from overlaywatch.ports import Action, Notifier, Surroundings


def reconcile(outbox: Outbox, stages: Sequence[StageStatus], actions: Mapping[str, Action], unix_time: float) -> bool:
    """End every alert whose stage is not active any more, or not configured any more. Whether there were any."""
    active = {
        (action, stage.policy, stage.stage, stage.mount_point)
        for stage in stages
        if stage.active is not False
        for action in stage.actions
    }
    over = [key for key in outbox.firing() if key not in active]
    for key in over:
        outbox.end(key, _resolved(outbox.frame(key), actions.get(key[0]), unix_time))
    return bool(over)


def _resolved(frame: Frame, action: Action | None, unix_time: float) -> Frame:
    """The frame that says it is over; also when the action was taken out of the configuration."""
    if isinstance(action, Notifier):
        return action.resolve(frame, unix_time)
    return {**frame, "firing": False, "ends_at": unix_time}


def renew(outbox: Outbox, seen: Observation, actions: Mapping[str, Action], surroundings: Surroundings) -> None:
    """After a restart: tell the alerts of active stages again, with the figures of now."""
    verdicts = {verdict.mount.mount_point: verdict for verdict in seen.verdicts}
    for stage in seen.stages:
        verdict = verdicts.get(stage.mount_point)
        if stage.active and verdict is not None:
            forecast = seen.forecasts.get(stage.mount_point, NO_FORECAST)
            for action in _repeated(outbox, stage, actions):
                now = surroundings.monotonic()
                decision = Decision(
                    stage.policy, stage.stage, stage.mount_point, action.name, stage.reason, now, verdict, forecast
                )
                action.apply(action.plan(decision, surroundings), surroundings)


def _repeated(outbox: Outbox, stage: StageStatus, actions: Mapping[str, Action]) -> Iterator[Action]:
    """The actions of a stage that have told it, and have to go on telling it."""
    for name in stage.actions:
        action = actions.get(name)
        told = outbox.is_firing((name, stage.policy, stage.stage, stage.mount_point))
        if action is not None and action.type == "alertmanager" and told:
            yield action
