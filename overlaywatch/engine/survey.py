# SPDX-License-Identifier: Apache-2.0
"""One look through all sources: each in its own boundary, so that one that fails hides no other.

Must not know what any source does, or what is concluded from the layers.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

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


def take_survey(sources: Sequence[Source[View]], view: View, now: float, clock: Callable[[], float]) -> Survey:
    """Ask every source once. One that cannot read what it is for reports why, and yields nothing."""
    asked: list[tuple[Found, SourceReport]] = []
    started = clock()
    for source in sources:
        found, error = _ask(source, view, now)
        ended = clock()
        asked.append((found, SourceReport(source.name, not error, ended - started, error, found.unknown_statuses)))
        started = ended
    layers = [layer for found, _ in asked for layer in found.layers]
    links = tuple(link for found, _ in asked for link in found.links)
    missing = _missing(layers, links, frozenset(ref for found, _ in asked for ref in found.stacked))
    layers.extend(missing)
    readings = {reading.layer: reading for found, _ in asked for reading in found.readings}
    readings.update((layer.id, _unreachable(layer)) for layer in missing)
    return Survey(
        layers=tuple(layers),
        readings=readings,
        links=links,
        mounts=tuple(mount for found, _ in asked for mount in found.mounts),
        sources=tuple(report for _, report in asked),
    )


def _ask(source: Source[View], view: View, now: float) -> tuple[Found, str]:
    """What a source found, and what went wrong."""
    try:
        return source.survey(view, now), ""
    except (SourceError, OSError) as problem:
        return Found(), str(problem) or type(problem).__name__


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
