# SPDX-License-Identifier: Apache-2.0
"""Looks with stages that are active or not, and real actions that tell of them into an outbox."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from overlaywatch.actions.alertmanager import AlertmanagerAction
from overlaywatch.actions.webhook import WebhookAction
from overlaywatch.config.table import Table
from overlaywatch.engine import alerts
from overlaywatch.engine.monitor import Observation
from overlaywatch.engine.outbox import Frame, Outbox
from overlaywatch.model import NO_FORECAST, Decision, StageStatus, Survey
from overlaywatch.pipe import Delivered
from overlaywatch.ports import Action, ActionContext, Surroundings
from tests import verdicts

EMPTY = Survey((), {}, (), ())


def seen(
    mount_point: str = "/", *, active: bool | None = True, actions: Sequence[str] = ("page", "hook")
) -> Observation:
    """A look at one mount point, with one stage of one policy."""
    stage = StageStatus("root", "warn", mount_point, active, 5.0, "used 80.0% is above 70.0%", tuple(actions))
    verdict = verdicts.root(used=0.8, headroom=1000, mount_point=mount_point)
    return Observation(EMPTY, (verdict,), {mount_point: NO_FORECAST}, (stage,), ())


@dataclass
class Alerting:
    """The alerting half of an engine. `restart()` gives one that knows only what the state file held."""

    outbox: Outbox = field(default_factory=Outbox)
    unix_time: float = 1_700_000_000.0
    now: float = 100.0
    actions: dict[str, Action] = field(default_factory=dict)

    def __post_init__(self) -> None:
        page = Table({"urls": ["http://am:9093"]}, path="action.page", file="x.toml")
        hook = Table({"url": "http://chat:8080/secret"}, path="action.hook", file="x.toml")
        self.actions = {
            "page": AlertmanagerAction.from_table(page, self._context("page")),
            "hook": WebhookAction.from_table(hook, self._context("hook")),
        }

    def _context(self, name: str) -> ActionContext:
        return ActionContext(name, "live-7", self.outbox.send, lambda _: None, lambda: self.unix_time)

    @property
    def around(self) -> Surroundings:
        """The clock of this object."""
        return Surroundings(lambda _: None, 3600.0, lambda _: (), lambda: self.now)

    def fire(self, *names: str, mount_point: str = "/") -> list[Decision]:
        """The stage calls for these actions now."""
        look = seen(mount_point)
        found = [look.decision(look.stages[0], name, self.now) for name in names]
        decisions = [one for one in found if one is not None]
        for one in decisions:
            action = self.actions[one.action]
            action.apply(action.plan(one, self.around), self.around)
        return decisions

    def reconcile(self, look: Observation) -> None:
        """After a look."""
        alerts.reconcile(self.outbox, look.stages, self.actions, self.unix_time)

    def renew(self, look: Observation, told: Iterable[Decision] = ()) -> None:
        """After the first look of a run."""
        alerts.renew(self.outbox, look, self.actions, self.around, told=tuple(told))

    def told(self) -> list[Frame]:
        """What goes to the frontend now."""
        return self.outbox.take()

    def deliver(self, frames: Iterable[Frame], outcome: str = "applied", *, final: bool = False) -> None:
        """The frontend reports on these."""
        for frame in frames:
            name, receiver = str(frame["id"]), str(frame["receiver"])
            report = Delivered(name, receiver, frame["firing"] is True, "http://x", outcome, final=final)
            assert self.outbox.delivered(report)

    def restart(self) -> "Alerting":
        """Killed and started again some seconds later."""
        after = Alerting(unix_time=self.unix_time + 7, now=self.now + 7)
        after.outbox.restore(self.outbox.as_json())
        return after


def brief(frames: Iterable[Frame]) -> list[tuple[object, object]]:
    """Receiver, and whether it fires."""
    return [(frame["receiver"], frame["firing"]) for frame in frames]


def body_of(frame: Frame) -> Mapping[str, object]:
    """The document of a webhook."""
    body = frame["body"]
    assert isinstance(body, Mapping)
    return body


def without(actions: Mapping[str, Action], name: str) -> dict[str, Action]:
    """The same actions but one."""
    return {key: action for key, action in actions.items() if key != name}
