# SPDX-License-Identifier: Apache-2.0
"""What the output can show: how wide it is, whether it has colours, whether it has more than ASCII.

This file must not know what is shown. Text is measured and padded plain, and painted last. Every
glyph is one that the kernel's own console font has (code page 437), because that console is where a
live system in trouble is looked at; the ellipsis alone is not, and is rare.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TextIO

NARROW: Final = 80
UNBOUNDED: Final = 1000
"""Columns in a pipe: one line for each thing and nothing shortened, so that grep finds it whole."""
LEAST: Final = 60
"""Narrower terminals break lines themselves: a bar without a name beside it says nothing."""
PROSE: Final = 96
"""Lines of running text grow no longer than this: longer ones are hard to read."""

_ASCII: Final = str.maketrans("┌├│└─█▌░·…◄≤", ",+|`-#=..~<<")


class Style(Enum):
    """What a piece of text means, as the SGR parameters that show it."""

    PLAIN = ""
    FAINT = "2"
    STRONG = "1"
    GOOD = "32"
    WARN = "33"
    BAD = "1;31"
    ALARM = "31"


@dataclass(frozen=True, slots=True)
class Screen:
    """The abilities of one output. The default is what a golden test wants: 80 columns, no colour."""

    width: int = NARROW
    colour: bool = False
    glyphs: bool = True

    def paint(self, text: str, style: Style) -> str:
        """The text in its style; unchanged without colour, or where there is nothing to see."""
        if not self.colour or style is Style.PLAIN or not text.strip():
            return text
        return f"\x1b[{style.value}m{text}\x1b[0m"

    @property
    def prose_width(self) -> int:
        """How wide running text is set."""
        return min(self.width, PROSE)

    def finish(self, lines: Iterable[str]) -> list[str]:
        """The lines as they can be written: no trailing blanks, ASCII where there is nothing more."""
        done = [line.rstrip() for line in lines]
        return done if self.glyphs else [line.translate(_ASCII) for line in done]


def screen_of(out: TextIO, environ: Mapping[str, str], choice: str = "auto") -> Screen:
    """The abilities of `out`. `choice` is that of --color: auto, always or never."""
    terminal = out.isatty()
    return Screen(
        width=max(LEAST, _columns(environ) or _terminal_columns(out, terminal)),
        colour=_has_colour(terminal, environ, choice),
        glyphs=_encodes("┌█", getattr(out, "encoding", None)),
    )


def printable(text: str) -> str:
    r"""The text with everything escaped that would move a cursor or break a line: `\x1b`, `\u202e`.

    Names come from users: with FUSE anybody may choose a mount point.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _has_colour(terminal: bool, environ: Mapping[str, str], choice: str) -> bool:
    """An option is stronger than NO_COLOR (https://no-color.org: present and not empty)."""
    if choice != "auto":
        return choice == "always"
    return terminal and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"


def _columns(environ: Mapping[str, str]) -> int | None:
    text = environ.get("COLUMNS", "")
    return int(text) if text.isascii() and text.isdigit() and int(text[:6]) > 0 else None


def _terminal_columns(out: TextIO, terminal: bool) -> int:
    if not terminal:
        return UNBOUNDED
    try:
        return os.get_terminal_size(out.fileno()).columns or NARROW
    except OSError:
        return NARROW


def _encodes(glyphs: str, encoding: str | None) -> bool:
    try:
        glyphs.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
