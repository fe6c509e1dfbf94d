# SPDX-License-Identifier: Apache-2.0
"""Bars, shortened names and wrapped sentences: text in, plain text of a known width out.

This file must not know what the text says, nor about colours.
"""

import textwrap
from collections.abc import Iterable, Sequence

from overlaywatch.units import format_size


def bar(ratio: float | None, width: int) -> str:
    """A bar of `width` columns in half steps: full only when it is full, never empty when it is not."""
    if ratio is None:
        return "·" * width
    halves = min(int(ratio * width * 2), width * 2)
    if ratio > 0:
        halves = max(halves, 1)
    return ("█" * (halves // 2) + "▌" * (halves % 2)).ljust(width, "░")


def shorten(text: str, width: int) -> str:
    """The text, its middle left out if it is too long: both ends of a device name or path tell it apart."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """A sentence in lines of at most `width` columns, each after `indent`; words are never cut."""
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def flow(parts: Iterable[str], width: int) -> list[str]:
    """Parts joined by ` · ` in lines of at most `width` columns; a part is never cut."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 3 + len(part) <= width:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return lines


def size_or_unknown(size: int | None) -> str:
    """A size for people; unknown is a word, not a number."""
    return "unknown" if size is None else format_size(size)


def columns(rows: Iterable[Sequence[str]]) -> list[int]:
    """The width that each column needs; rows may be shorter than others."""
    widths: list[int] = []
    for row in rows:
        widths.extend([0] * (len(row) - len(widths)))
        for index, cell in enumerate(row):
            widths[index] = max(widths[index], len(cell))
    return widths
