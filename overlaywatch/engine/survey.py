# SPDX-License-Identifier: Apache-2.0
"""One look through all sources: each in its own boundary, so that one that fails hides no other.

Must not know what any source does, or what is concluded from the layers.
"""

import traceback
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from overlaywatch.model import (
    Failure,
    Layer,
    LayerId,
    LayerKind,
    LayerState,
    Link,
    Reading,
    Ref,
    SourceReport,
    Survey,
)
from overlaywatch.ports import Found, Source, SourceError

View = TypeVar("View")


class Surveyor(Generic[View]):
    """Asks all sources, and remembers which layers there were: mostly they are the same as last time."""

    def __init__(self, sources: Sequence[Source[View]], clock: Callable[[], float]) -> None:
        self._sources = sources
        self._clock = clock
        self._parts: list[object] = []
        self._layers: tuple[Layer, ...] = ()
        self._links: tuple[Link, ...] = ()
        self._missing: dict[LayerId, Reading] = {}

    def survey(self, view: View, now: float) -> Survey:
        """Ask every source once. One that cannot read what it is for reports why, and yields nothing."""
        found, reports = self._ask_all(view, now)
        parts: list[object] = [part for one in found for part in (one.layers, one.links, one.stacked)]
        if parts != self._parts:
            self._parts = parts
            self._assemble(found)
        readings = {reading.layer: reading for one in found for reading in one.readings}
        readings.update(self._missing)
        mounts = tuple(mount for one in found for mount in one.mounts)
        return Survey(self._layers, readings, self._links, mounts, tuple(reports))

    def _ask_all(self, view: View, now: float) -> tuple[list[Found], list[SourceReport]]:
        found, reports, started = [], [], self._clock()
        for source in self._sources:
            one, error = _ask(source, view, now)
            ended = self._clock()
            found.append(one)
            reports.append(SourceReport(source.name, not error, ended - started, error, one.unknown_statuses))
            started = ended
        return found, reports

    def _assemble(self, found: Sequence[Found]) -> None:
        layers = [layer for one in found for layer in one.layers]
        self._links = tuple(link for one in found for link in one.links)
        missing = _missing(layers, self._links, frozenset(ref for one in found for ref in one.stacked))
        self._layers = (*layers, *missing)
        self._missing = {layer.id: _unreachable(layer) for layer in missing}


def take_survey(sources: Sequence[Source[View]], view: View, now: float, clock: Callable[[], float]) -> Survey:
    """One survey for who does not need to remember."""
    return Surveyor(sources, clock).survey(view, now)


def _ask(source: Source[View], view: View, now: float) -> tuple[Found, str]:
    """What a source found, and what went wrong."""
    try:
        return source.survey(view, now), ""
    except (SourceError, OSError) as problem:
        return Found(), str(problem) or type(problem).__name__
    except Exception as fault:
        # A parser that meets what its author did not think of must not blind the others, nor end the daemon.
        place = traceback.extract_tb(fault.__traceback__)[-1]
        where = f"{place.name}, line {place.lineno}"
        return Found(), f"a fault of overlaywatch itself: {fault!r} in {where}; please report it"


def _missing(layers: Sequence[Layer], links: Sequence[Link], stacked: frozenset[Ref]) -> list[Layer]:
    """A layer for each thing that something rests on and that no source found.

    Without it a chain would end too early, and show more room than there is. A block device is missed
    only if it is known to lie on others: a chain that ends on a disk is whole.
    """
    provided = {ref for layer in layers for ref in layer.provides} | {link.provides for link in links}
    wanted = [ref for layer in layers for ref in layer.rests_on] + [ref for link in links for ref in link.rests_on]
    lost = dict.fromkeys(ref for ref in wanted if ref not in provided)
    return [_stand_in(ref) for ref in lost if ref in stacked or not ref.startswith("block:")]


def _stand_in(ref: Ref) -> Layer:
    name = ref.partition(":")[2]
    return Layer(
        id=LayerId(f"filesystem:{name}"),
        kind=LayerKind.FILESYSTEM,
        provides=(ref,),
        rests_on=(),
        failure=Failure.IO_ERROR,
        reclaimable=False,
    )


def _unreachable(layer: Layer) -> Reading:
    reason = "what it lies on cannot be seen from here; root can see device-mapper and the files behind loops"
    return Reading(layer=layer.id, state=LayerState.UNREADABLE, reason=reason)
