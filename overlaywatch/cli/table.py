# SPDX-License-Identifier: Apache-2.0
"""Tables of things that fill: a name, a bar, a ratio, the headroom, and what else is to be said.

This file must not know what the things are. Tables on one screen share their first columns, so that
the bars of all stand below each other and can be compared; the bar takes what room is left.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from overlaywatch.cli.layout import bar, columns, flow, shorten
from overlaywatch.cli.screen import Screen, Style
from overlaywatch.cli.words import Level
from overlaywatch.units import format_ratio

STYLES: Final = {Level.GOOD: Style.GOOD, Level.UNKNOWN: Style.FAINT, Level.WARN: Style.WARN, Level.BAD: Style.BAD}

GAP: Final = "  "
RATIO: Final = len("100.0%")
LEAST_BAR: Final = 8
MOST_BAR: Final = 24
LEAST_NAME: Final = 14
MUST_NAME: Final = 24
"""Cells are left out rather than names made shorter than this."""


@dataclass(frozen=True, slots=True)
class Note:
    """Parts of a line below a row; lines break between parts only."""

    parts: tuple[str, ...]
    style: Style = Style.FAINT


@dataclass(frozen=True, slots=True)
class Row:
    """One thing. `lead` is drawn before its name, `below` before its notes; `cells` end the line.

    `boundless` things have no bar at all; an unknown ratio is shown as such.
    """

    name: str
    ratio: float | None
    level: Level
    headroom: str
    cells: tuple[str, ...]
    notes: tuple[Note, ...] = ()
    lead: str = ""
    below: str = "  "
    boundless: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows below headings: of the name, the bar, the headroom, and of each cell."""

    headings: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def tail(self) -> list[int]:
        """The widths of the cells that end a line; a column in which nothing stands takes no room."""
        widths = columns(row.cells for row in self.rows)
        return [max(width, len(head)) if width else 0 for width, head in zip(widths, self.headings[3:], strict=False)]

    @property
    def name(self) -> int:
        """The width of the longest name, its lead included."""
        return max((len(row.lead) + len(row.name) for row in self.rows), default=0)


@dataclass(frozen=True, slots=True)
class Grid:
    """The widths that all tables on one screen have in common."""

    name: int
    bar: int
    headroom: int


def grid_of(tables: Iterable[Table], width: int) -> Grid:
    """Widths that fit: the bar takes what is left, within bounds; if nothing is, names are shortened."""
    tables = list(tables)
    name = max(_name(table, width) for table in tables)
    headroom = max([len("HEADROOM"), *(len(row.headroom) for table in tables for row in table.rows)])
    spare = width - max((_breadth(table, name, headroom) for table in tables), default=0)
    short = max(0, LEAST_BAR - spare)
    return Grid(max(LEAST_NAME, name - short), min(max(spare, LEAST_BAR), MOST_BAR), headroom)


def _name(table: Table, width: int) -> int:
    """A few long names must not leave the others without a bar: two fifths of the line at most."""
    return max(LEAST_NAME, min(table.name, width * 2 // 5))


def fits(table: Table, width: int, *, beside: Table | None = None) -> bool:
    """Whether the cells of a table fit beside the smallest bar, and beside the names of both tables or the shortest."""
    headroom = max([len("HEADROOM"), *(len(row.headroom) for row in table.rows)])
    name = max(_name(table, width), _name(beside, width)) if beside else MUST_NAME
    return _breadth(table, name, headroom) + LEAST_BAR <= width


def _breadth(table: Table, name: int, headroom: int) -> int:
    tail = sum(len(GAP) + width for width in table.tail if width)
    return name + len(GAP) + 1 + RATIO + len(GAP) + headroom + tail


def render_table(table: Table, grid: Grid, screen: Screen) -> Iterator[str]:
    """The lines of a table, headings first."""
    tail = table.tail
    yield screen.paint(_headings(table, grid, tail), Style.FAINT)
    for row in table.rows:
        yield _line(row, grid, tail, screen)
        yield from _notes(row, screen)


def _headings(table: Table, grid: Grid, tail: Sequence[int]) -> str:
    name, used, headroom, *others = table.headings
    cells = [head.ljust(width) for head, width in zip(others, tail, strict=False) if width]
    parts = [name.ljust(grid.name), used.ljust(grid.bar + 1 + RATIO), headroom.rjust(grid.headroom), *cells]
    return GAP.join(parts).rstrip()


def _line(row: Row, grid: Grid, tail: Sequence[int], screen: Screen) -> str:
    style = STYLES[row.level]
    room = grid.name - len(row.lead)
    name = screen.paint(row.lead, Style.FAINT) + shorten(row.name, room).ljust(room)
    ratio = "" if row.ratio is None else format_ratio(row.ratio)
    figures = screen.paint(ratio.rjust(RATIO), style)
    headroom = screen.paint(row.headroom.rjust(grid.headroom), style)
    cells = [cell.ljust(width) for cell, width in zip(row.cells, tail, strict=False) if width]
    gauge = " " * grid.bar if row.boundless else paint_bar(row.ratio, grid.bar, style, screen)
    return GAP.join([name, f"{gauge} {figures}", headroom, *cells])


def paint_bar(ratio: float | None, width: int, style: Style, screen: Screen) -> str:
    """A bar whose filled part has the style, and whose empty part stands back."""
    plain = bar(ratio, width)
    filled = plain.rstrip("░·")
    return screen.paint(filled, style) + screen.paint(plain[len(filled) :], Style.FAINT)


def _notes(row: Row, screen: Screen) -> Iterator[str]:
    lead = screen.paint(row.below, Style.FAINT)
    for note in row.notes:
        room = screen.width - len(row.below)
        for line in flow((shorten(part, room) for part in note.parts), room):
            yield lead + screen.paint(line, note.style)
