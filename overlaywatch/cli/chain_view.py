# SPDX-License-Identifier: Apache-2.0
"""The way from one mount point down to RAM, drawn as a tree: layers, and the block devices between them.

This file must not print. What is above stands on what is below it; the limit is marked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from overlaywatch.cli.layout import flow
from overlaywatch.cli.screen import Screen, Style, printable
from overlaywatch.cli.words import state_in_words
from overlaywatch.model import BROKEN, Detail, Layer, Link, Reading, Ref, Survey, Verdict
from overlaywatch.units import format_size

LIMIT_MARK: Final = "◄ limit"
FIGURES: Final = len("  1023.9 MiB of 1023.9 MiB · 1023.9 MiB left  ◄ limit")


@dataclass(frozen=True, slots=True)
class Node:
    """One line of the tree and what stands below its name; `lead` draws it, `below` draws on."""

    name: str
    figures: str
    words: tuple[str, ...]
    alarm: tuple[str, ...]
    lead: str
    below: str
    is_limit: bool = False


def render_chain(verdict: Verdict, survey: Survey, now: float, screen: Screen) -> Iterator[str]:
    """The lines of the tree, the mount point first."""
    nodes = list(_Walk(verdict, survey, now).nodes())
    widest = max((len(node.lead) + len(node.name) for node in nodes), default=0)
    name = min(widest, max(0, screen.width - FIGURES))
    yield _mount_line(verdict, screen)
    for node in nodes:
        yield from _node_lines(node, name, screen)
        yield from _below(node, node.alarm, Style.ALARM, screen)
        yield from _below(node, node.words, Style.FAINT, screen)


def _mount_line(verdict: Verdict, screen: Screen) -> str:
    mount = verdict.mount
    parts = [mount.fstype if mount.source == mount.fstype else f"{mount.fstype} from {mount.source}"]
    parts += ["read-only"] if mount.read_only else []
    parts += [verdict.live_system] if verdict.live_system and mount.mount_point == "/" else []
    point, told = printable(mount.mount_point), printable(" · ".join(parts))
    return f"{screen.paint(point, Style.STRONG)}  {screen.paint(told, Style.FAINT)}"


def _node_lines(node: Node, width: int, screen: Screen) -> Iterator[str]:
    """The name with its figures beside it, or below it where the line would be too long."""
    mark = f"  {LIMIT_MARK}" if node.is_limit else ""
    name = screen.paint(node.name, Style.STRONG if node.is_limit else Style.PLAIN)
    drawn = screen.paint(node.lead, Style.FAINT) + name
    figures = node.figures + screen.paint(mark, Style.WARN)
    own = len(node.lead) + len(node.name)
    if max(own, width) + 2 + len(node.figures + mark) <= screen.width:
        yield f"{drawn}{' ' * (width - own)}  {figures}"
    else:
        yield drawn
        yield f"{screen.paint(node.below, Style.FAINT)}{figures}"


def _below(node: Node, parts: Sequence[str], style: Style, screen: Screen) -> Iterator[str]:
    lead = screen.paint(node.below, Style.FAINT)
    for line in flow(parts, screen.prose_width - len(node.below)):
        yield lead + screen.paint(line, style)


class _Walk:
    """One walk down the references of one mount; each thing is drawn once."""

    def __init__(self, verdict: Verdict, survey: Survey, now: float) -> None:
        self._verdict, self._readings, self._now = verdict, survey.readings, now
        self._providers: dict[Ref, Layer | Link] = {link.provides: link for link in survey.links}
        self._providers.update({ref: layer for layer in survey.layers for ref in layer.provides})
        self._seen: set[str] = set()

    def nodes(self) -> Iterator[Node]:
        yield from self._below([self._verdict.mount.rests_on], "")

    def _below(self, refs: Sequence[Ref], lead: str) -> Iterator[Node]:
        found = [provider for ref in refs if (provider := self._providers.get(ref)) and self._is_new(provider)]
        for index, provider in enumerate(found):
            last = index == len(found) - 1
            inner = lead + ("   " if last else "│  ")
            deeper = list(self._below(provider.rests_on, inner))
            yield self._node(provider, lead + ("└─ " if last else "├─ "), inner + ("│  " if deeper else "   "))
            yield from deeper

    def _is_new(self, provider: Layer | Link) -> bool:
        name = _name(provider)
        fresh = name not in self._seen
        self._seen.add(name)
        return fresh

    def _node(self, provider: Layer | Link, lead: str, below: str) -> Node:
        if isinstance(provider, Link):
            return Node(_name(provider), _figures_of_link(provider), (), (), lead, below)
        reading = self._readings.get(provider.id)
        return Node(
            name=_name(provider),
            figures=_figures(reading),
            words=tuple(kernel_words(provider, reading)),
            alarm=tuple(map(printable, state_in_words(reading, self._now))),
            lead=lead,
            below=below,
            is_limit=provider.id == self._verdict.limit,
        )


def _name(provider: Layer | Link) -> str:
    return printable(provider.id) if isinstance(provider, Layer) else provider.provides.replace(":", " ", 1)


def _figures_of_link(link: Link) -> str:
    size = "" if link.size_bytes is None else format_size(link.size_bytes)
    if not link.holes_bytes:
        return size
    holes = f"{format_size(link.holes_bytes)} not yet allocated below"
    return f"{size} · {holes}" if size else holes


def _figures(reading: Reading | None) -> str:
    if reading is None:
        return "unknown"
    used = "" if reading.used_bytes is None else format_size(reading.used_bytes)
    if used:
        used += " used" if reading.size_bytes is None else f" of {format_size(reading.size_bytes)}"
    return " · ".join(filter(None, (used, _room(reading)))) or "unknown"


def _room(reading: Reading) -> str:
    if reading.state in BROKEN:
        return "0 B left"
    if reading.headroom_bytes is not None:
        return f"{format_size(reading.headroom_bytes)} left"
    return "no limit of its own" if reading.cannot_overflow else ""


def kernel_words(layer: Layer, reading: Reading | None) -> Iterator[str]:
    """What the kernel itself calls it: device number, table line, counters."""
    if layer.device:
        yield f"device {layer.device}"
    details: Mapping[str, Detail] = {**layer.details, **(reading.details if reading else {})}
    yield from filter(None, (_word(key, value) for key, value in details.items()))
    if reading is not None:
        yield from _counters(reading)


def _word(key: str, value: Detail) -> str:
    if value is None or value is False or value in ((), ""):
        return ""
    if value is True:
        return key
    return printable(f"{key} {','.join(value) if isinstance(value, tuple) else value}")


def _counters(reading: Reading) -> Iterator[str]:
    if reading.inodes and reading.inodes_free is not None:
        yield f"inodes {reading.inodes - reading.inodes_free} of {reading.inodes}"
    if reading.pending_bytes:
        yield f"{format_size(reading.pending_bytes)} dirty"
    if reading.swap_bytes:
        yield f"{format_size(reading.swap_bytes)} of swap free"
    if reading.cannot_overflow and reading.size_bytes is not None:
        yield "cannot overflow: it has room for all that can come"
