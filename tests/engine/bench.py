# SPDX-License-Identifier: Apache-2.0
"""A dispatcher with actions that remember, on a clock that stands still: what its tests are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from overlaywatch.config.settings import ActionsMode
from overlaywatch.engine.dispatch import Dispatcher, Permission
from overlaywatch.engine.errand import Errand
from overlaywatch.engine.ledger import Ledger
from overlaywatch.engine.monitor import Observation
from overlaywatch.engine.owed import Owed
from overlaywatch.model import (
    NO_FORECAST,
    Decision,
    Mount,
    Outcome,
    OutcomeKind,
    StageStatus,
    Survey,
    Verdict,
    super_block_ref,
)
from overlaywatch.ports import Plan, Surroundings
from tests.engine.in_hand import InHand

OWED_PURGE = {"policy": "root", "stage": "stage", "mount_point": "/", "action": "purge"}
STAGE = StageStatus("root", "stage", "/", True, 5.0, "used 96% is above 95%", ("purge", "reboot"))
ALLOWED = Permission(ActionsMode.ON, paused=False)
VERDICT = Verdict(
    Mount("/", "overlay", "overlay", super_block_ref(0, 40)),
    (),
    1,
    1,
    None,
    None,
    frozenset(),
    None,
    None,
    reclaimable=True,
)


SEEN = Observation(Survey((), {}, (), ()), (VERDICT,), {"/": NO_FORECAST}, (STAGE,), ())


def decision(action: str) -> Decision:
    """A decision of the policy `root` at time 100."""
    return Decision("root", "stage", "/", action, "used 96% is above 95%", 100.0, VERDICT, NO_FORECAST)


@dataclass
class Recorder:
    """A second implementation of an action: it remembers what it was asked for."""

    name: str
    changes: bool = True
    resumable: bool = False
    refusal: str = ""
    again_in: float | None = None
    work: Callable[[], object] = lambda: None
    planned: list[Surroundings] = field(default_factory=list)
    applied: list[Plan] = field(default_factory=list)
    type: str = "recorder"

    def plan(self, decision: Decision, surroundings: Surroundings) -> Plan:
        """One step, or a refusal."""
        self.planned.append(surroundings)
        return Plan(self.name, self.type, decision, ("a step",), self.refusal, again_in=self.again_in)

    def apply(self, plan: Plan, surroundings: Surroundings) -> Outcome:
        """Do the work, and remember it."""
        self.work()
        self.applied.append(plan)
        one = plan.decision
        return Outcome(self.name, self.type, OutcomeKind.APPLIED, "done", surroundings.monotonic(), one.policy)


@dataclass
class Bench:
    """A dispatcher with recorders, on a clock that stands still, and what it wrote down."""

    actions: Sequence[Recorder]
    fail_to_record: bool = False
    no_process: bool = False
    recorded: list[dict[str, list[float]]] = field(default_factory=list)
    active: bool = True
    now: float = 5000.0
    owed: Owed = field(default_factory=Owed)
    ledger: Ledger = field(default_factory=Ledger)
    workers: list[InHand] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dispatcher = Dispatcher(
            {one.name: one for one in self.actions}, self.ledger, self.owed, self.record, lambda: None, self._start
        )

    def record(self) -> None:
        """Write the ledger down, or fail to."""
        if self.fail_to_record:
            raise OSError(28, "No space left on device")
        self.recorded.append(self.ledger.as_json())

    def _start(self, errand: Errand, leave: Callable[[], None]) -> InHand:
        del leave
        if self.no_process:
            raise OSError(11, "Resource temporarily unavailable")
        self.workers.append(InHand(errand))
        return self.workers[-1]

    @property
    def around(self) -> Surroundings:
        """What actions may ask."""
        return Surroundings(lambda _: None, 3600.0, self.ledger.past, lambda: self.now)

    def step(self, *names: str, permission: Permission = ALLOWED) -> list[Outcome]:
        """One tick with decisions for these actions."""
        told = self.dispatcher.accept([decision(name) for name in names], self.around)
        return told + self.dispatcher.proceed(lambda _: self.active, permission, self.around)

    def steps(self, *names: str, permission: Permission = ALLOWED) -> list[Outcome]:
        """Ticks until nothing is under way any more."""
        outcomes = self.step(*names, permission=permission)
        while self.dispatcher.worker is not None:
            outcomes += self.step(permission=permission)
        return outcomes

    def again(self, seconds: float) -> list[Outcome]:
        """So much later, what is owed is asked for again."""
        self.now += seconds
        return self.steps(*(one.action for one in self.owed.again(SEEN, self.now, self.dispatcher.waiting())))

    def killed(self) -> "Bench":
        """The daemon that comes after this one was killed: what it has was written down."""
        owed = Owed()
        owed.restore(self.owed.as_json(), self.now)
        return Bench(self.actions, owed=owed, ledger=Ledger.from_json(self.ledger.as_json()), now=self.now)


def kinds(outcomes: Sequence[Outcome]) -> list[OutcomeKind]:
    """How they ended."""
    return [one.kind for one in outcomes]
