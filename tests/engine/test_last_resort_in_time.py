# SPDX-License-Identifier: Apache-2.0
"""The last resort on a clock of its own: refused for a time it is late, never lost, and never done too often."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from overlaywatch import policy, policy_state
from overlaywatch.actions.reboot import RebootAction
from overlaywatch.actions.reboot_rungs import Rung
from overlaywatch.config.settings import ActionsMode
from overlaywatch.engine.dispatch import Dispatcher, Permission
from overlaywatch.engine.errand import Errand
from overlaywatch.engine.ledger import Ledger
from overlaywatch.engine.monitor import Observation
from overlaywatch.engine.owed import Owed
from overlaywatch.model import NO_FORECAST, Outcome, OutcomeKind, Survey
from overlaywatch.policy import Policy, PolicyState, Stage
from overlaywatch.ports import Surroundings
from tests import verdicts
from tests.actions.facts import Desk, table
from tests.engine.in_hand import InHand

INTERVAL = 60.0


@dataclass
class Host:
    """A machine whose daemon looks every minute, or when something is due; its reboots come to nothing.

    `kill()` is kill -9: what was saved is what the next daemon has.
    """

    min_uptime: str = "0s"
    count: int = 1
    window: str = "24h"
    cooldown: float | None = None
    now: float = 0.0
    used: float = 0.99
    attempts: list[float] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)
    told: list[Outcome] = field(default_factory=list)
    saved: tuple[object, object, object] = ([], {}, {})

    def __post_init__(self) -> None:
        budget = {"count": self.count, "window": self.window}
        made = RebootAction.from_table(table(min_uptime=self.min_uptime, max_per=budget), Desk().context())
        self.settings = made.settings
        rung = Rung("nothing", lambda _grace, _message: self._attempt())
        self.action = RebootAction("it", made.settings, lambda _: None, [rung], lambda _: None)
        stage = Stage("last-resort", ("it",), used_above=0.95, cooldown=self.cooldown)
        self.policies = (Policy("root", (stage,), "/"),)
        self.start()

    def _attempt(self) -> str:
        self.attempts.append(self.now)
        return "not permitted"

    def start(self) -> None:
        """A daemon, with what the last one saved."""
        owed, state, past = self.saved
        self.owed, self.ledger = Owed(), Ledger.from_json(past)
        self.owed.restore(owed, self.now)
        self.state: PolicyState = policy_state.from_json(state, self.now)
        self.dispatcher = Dispatcher(
            {"it": self.action}, self.ledger, self.owed, self._save, lambda: None, self._give_a_process
        )

    def _save(self) -> None:
        self.saved = self.owed.as_json(), policy_state.to_json(self.state), self.ledger.as_json()

    def _give_a_process(self, errand: Errand, leave: object) -> InHand:
        del leave
        return InHand(errand)

    def tick(self) -> None:
        """One look and what follows, as the engine does it."""
        verdict = verdicts.root(used=self.used, headroom=1000)
        facts = policy.facts_of((verdict,), {"/": NO_FORECAST})
        found = policy.evaluate(self.policies, self.state, facts, self.now)
        self.state = found.state
        seen = Observation(Survey((), {}, (), ()), (verdict,), {"/": NO_FORECAST}, found.stages, found.decisions)
        around = Surroundings(lambda _: None, self.now, self.ledger.past, lambda: self.now)
        self.told += self.dispatcher.accept(found.decisions, around)
        again = self.owed.again(seen, self.now, self.dispatcher.waiting())
        self.told += self.dispatcher.accept(again, around)
        if again:
            self.state = policy.begun_late(self.state, again, self.now)
        self._save()
        active = any(one.active for one in found.stages)
        permission = Permission(ActionsMode.ON, paused=False)
        self.told += self.dispatcher.proceed(lambda _: active, permission, around)
        self.begun += [at for at in self.ledger.past("it")[-1:] if at not in self.begun[-1:]]

    def run(self, seconds: float, moments: int = 100_000) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        for _ in range(moments):
            self.tick()
            due = [at for at in (self.owed.next_due(self.now), policy.next_due(self.policies, self.state)) if at]
            step = 0.01 if self.dispatcher.worker else min([INTERVAL, *(max(at - self.now, 0.01) for at in due)])
            if self.now + step > end:
                break
            self.now += step
        self.now = max(end, self.now)


def test_reboot_that_is_owed_comes_when_min_uptime_has_passed() -> None:
    """A stage without a cooldown fires once, five minutes after boot; the reboot follows at 30 minutes, to the tick."""
    host = Host(min_uptime="30m", now=300.0)
    host.run(3600.0)

    assert [round(at) for at in host.attempts] == [1800]
    assert [one.kind for one in host.told] == [OutcomeKind.REFUSED, OutcomeKind.FAILED]


def test_reboot_that_is_owed_comes_when_the_window_of_its_budget_ends() -> None:
    """Refused as the budget is spent, and tried again when it is not."""
    host = Host(window="2h", now=10_000.0, saved=([], {}, {"it": [9_000.0]}))
    host.run(8_000.0)

    assert [round(at) for at in host.attempts] == [9_000 + 7_200]


def test_reboot_that_is_owed_outlives_the_daemon() -> None:
    """Killed while it waits, again and again: the next one waits on, and tells it once more."""
    host = Host(min_uptime="30m", now=300.0)
    for _ in range(3):
        host.run(400.0)
        host.start()
    host.run(1000.0)

    assert [round(at) for at in host.attempts] == [1800]
    assert [one.kind for one in host.told].count(OutcomeKind.REFUSED) == 4


def test_reboot_that_is_owed_is_dropped_when_its_stage_ends() -> None:
    """There is room again before the time has come."""
    host = Host(min_uptime="30m", now=300.0)
    host.run(600.0)
    host.used = 0.5
    host.run(3600.0)

    assert (host.attempts, host.owed.as_json()) == ([], [])


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 30.0, 400.0, 2000.0]),
        st.sampled_from(["kill", "full", "empty", "go on", "kill in the midst"]),
    ),
    max_size=6,
)


@settings(max_examples=30, deadline=None)
@given(EVENTS, st.integers(1, 3), st.sampled_from(["5m", "1h", "2h"]), st.sampled_from([None, 60.0, 600.0]))
def test_never_more_than_the_budget_allows(
    events: list[tuple[float, str]], count: int, window: str, cooldown: float | None
) -> None:
    """However it is killed, filled and emptied: never more than max_per begin in any window, nor before min_uptime."""
    host = Host(min_uptime="10m", count=count, window=window, cooldown=cooldown, now=100.0)
    for seconds, event in events:
        host.run(seconds, moments=3 if event == "kill in the midst" else 100_000)
        if event.startswith("kill"):
            host.start()
        elif event != "go on":
            host.used = 0.99 if event == "full" else 0.5
    host.run(2000.0)
    begun = sorted(host.begun)

    assert all(later - earlier >= host.settings.window for earlier, later in zip(begun, begun[count:], strict=False))
    assert all(at >= 600.0 for at in host.attempts)
    assert len(host.attempts) <= len(begun)
