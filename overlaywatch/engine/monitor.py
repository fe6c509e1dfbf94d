# SPDX-License-Identifier: Apache-2.0
"""One step: a look through all sources, what follows from it, and what the policies call for.

Must not know any source, action or clock. It remembers what must be remembered from step to step:
the histories, the state of the policies, and the chains while nothing was plugged in or out.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from overlaywatch import policy
from overlaywatch.config.settings import Settings
from overlaywatch.engine.survey import Surveyor
from overlaywatch.forecast import Forecaster
from overlaywatch.livesystem import recognise, static_folders
from overlaywatch.model import (
    NO_FORECAST,
    Decision,
    Forecast,
    Layer,
    LayerId,
    Link,
    Mount,
    Reading,
    StageStatus,
    Survey,
    Verdict,
)
from overlaywatch.ports import Source
from overlaywatch.topology import Topology, judge
from overlaywatch.watch import choose

View = TypeVar("View")


@dataclass(frozen=True, slots=True)
class Observation:
    """What one step found out and decided, before anything is done about it."""

    survey: Survey
    verdicts: tuple[Verdict, ...]
    forecasts: Mapping[str, Forecast]
    stages: tuple[StageStatus, ...]
    decisions: tuple[Decision, ...]

    def decision(self, stage: StageStatus, action: str, now: float) -> Decision | None:
        """One more decision for an active stage, with the figures of this look; None if its mount was not seen."""
        verdict = next((one for one in self.verdicts if one.mount.mount_point == stage.mount_point), None)
        if verdict is None:
            return None
        forecast = self.forecasts.get(stage.mount_point, NO_FORECAST)
        return Decision(stage.policy, stage.stage, stage.mount_point, action, stage.reason, now, verdict, forecast)


class Judge:
    """From a survey to the verdicts of the watched mounts; keeps chains while the machine is the same."""

    def __init__(self) -> None:
        self._key: tuple[Sequence[Layer], Sequence[Link]] = ((), ())
        self._topology = Topology((), ())
        self._mounts: Sequence[Mount] = ()
        self._watched: tuple[Mount, ...] = ()
        self._system: str | None = None
        self._kept: dict[Mount, tuple[list[Reading | None], Verdict]] = {}
        self._depends: dict[Mount, tuple[LayerId, ...]] = {}

    def verdicts(self, survey: Survey, settings: Settings) -> tuple[Verdict, ...]:
        """One verdict for each watched mount point, in the order of the mount table."""
        if (survey.layers, survey.links) != self._key or survey.mounts != self._mounts:
            self._survey_changed(survey, settings)
        return tuple(self._verdict(mount, survey) for mount in self._watched)

    def _verdict(self, mount: Mount, survey: Survey) -> Verdict:
        """The verdict of last time if none of the readings it rests on is another object than then."""
        readings = [survey.readings.get(one) for one in self._depends_on(mount)]
        kept = self._kept.get(mount)
        if kept is not None and len(kept[0]) == len(readings) and all(map(operator.is_, kept[0], readings)):
            return kept[1]
        verdict = judge(mount, self._topology.chain(mount.rests_on), survey.readings, self._system)
        self._kept[mount] = (readings, verdict)
        return verdict

    def _depends_on(self, mount: Mount) -> tuple[LayerId, ...]:
        """The layers whose readings a verdict is made of, found once."""
        if mount not in self._depends:
            # What rests on the same store is no part of the chain, but its dirty data is.
            chain = self._topology.chain(mount.rests_on)
            beside = dict.fromkeys(one for step in chain for one in (step.layer.id, *step.above))
            self._depends[mount] = tuple(beside)
        return self._depends[mount]

    def mount_points(self) -> tuple[str, ...]:
        """The watched mount points of the last survey."""
        return tuple(mount.mount_point for mount in self._watched)

    def settings_changed(self) -> None:
        """The watched mounts may be others now."""
        self._mounts = ()

    def _survey_changed(self, survey: Survey, settings: Settings) -> None:
        self._kept.clear()
        self._depends.clear()
        self._key, self._mounts = (survey.layers, survey.links), survey.mounts
        self._topology = Topology(survey.layers, survey.links)
        self._system = recognise(survey.mounts)
        static = static_folders(self._system)
        self._watched = choose(survey.mounts, settings.watch.include, settings.watch.exclude, static)


class Monitor(Generic[View]):
    """The memory between steps. `clock` only measures how long each source takes."""

    def __init__(self, settings: Settings, sources: Sequence[Source[View]], clock: Callable[[], float]) -> None:
        self.settings = settings
        self.forecaster = Forecaster()
        self.policy_state = policy.PolicyState()
        self._surveyor = Surveyor(sources, clock)
        self._judge = Judge()
        self._telling: frozenset[str] = frozenset()

    def measure(self, view: View, now: float) -> tuple[Survey, tuple[Verdict, ...]]:
        """Look, and say what is left where. Changes nothing that a decision depends on."""
        survey = self._surveyor.survey(view, now)
        return survey, self._judge.verdicts(survey, self.settings)

    def step(self, view: View, now: float) -> Observation:
        """Look, forecast, and decide."""
        survey, verdicts = self.measure(view, now)
        forecasts = self.forecaster.look(verdicts, survey.readings, now)
        facts = policy.facts_of(verdicts, forecasts)
        found = policy.evaluate(self.settings.policies, self.policy_state, facts, now, self._telling)
        self.policy_state = found.state
        return Observation(survey, verdicts, forecasts, found.stages, found.decisions)

    def reconfigure(self, settings: Settings, telling: frozenset[str]) -> None:
        """Other policies, other watched mounts; what was learned about the machine stays.

        `telling` names the actions that change nothing.
        """
        self.settings = settings
        self._telling = telling
        self._judge.settings_changed()

    def watched(self) -> tuple[str, ...]:
        """The mount points that are watched."""
        return self._judge.mount_points()
