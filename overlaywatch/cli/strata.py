# SPDX-License-Identifier: Apache-2.0
"""The layers as they lie on each other: what is below is drawn below, RAM at the bottom.

This file must not know how full a layer is. A tree with its root at the bottom: several layers lie
on one, rarely one on several, and then it is drawn on the first.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from overlaywatch.model import Layer, LayerId


@dataclass(frozen=True, slots=True)
class Stratum:
    """A layer with the lines that lead from it to what it lies on; `below` continues them a line down."""

    layer: Layer
    lead: str
    below: str


def strata(layers: Sequence[Layer], backing: Callable[[Layer], Sequence[LayerId]]) -> list[Stratum]:
    """All layers, each once, each above the one that it lies on."""
    shown = {layer.id: layer for layer in layers}
    lying_on: dict[LayerId, list[Layer]] = {}
    bases: list[Layer] = []
    for layer in layers:
        below = next((found for found in backing(layer) if found in shown and found != layer.id), None)
        (bases if below is None else lying_on.setdefault(below, [])).append(layer)
    drawn = list(_draw_all(bases, lying_on))
    missing = _missing(layers, drawn)
    return drawn + [Stratum(layer, "", "  ") for layer in missing]


def _draw_all(bases: Iterable[Layer], lying_on: Mapping[LayerId, Sequence[Layer]]) -> Iterator[Stratum]:
    for base in bases:
        yield from _draw_upon(base, lying_on, "")
        yield Stratum(base, "", "  ")


def _draw_upon(base: Layer, lying_on: Mapping[LayerId, Sequence[Layer]], lead: str) -> Iterator[Stratum]:
    for index, layer in enumerate(lying_on.get(base.id, ())):
        yield from _draw_upon(layer, lying_on, lead + ("│ " if index else "  "))
        yield Stratum(layer, lead + ("├ " if index else "┌ "), lead + "│ ")


def _missing(layers: Iterable[Layer], drawn: Iterable[Stratum]) -> list[Layer]:
    """Layers that rest on each other in a circle: no kernel allows it, a wrong guess of ours might."""
    seen = {stratum.layer.id for stratum in drawn}
    return [layer for layer in layers if layer.id not in seen]
