# SPDX-License-Identifier: Apache-2.0
"""Lines that stay, and below them on a terminal a picture that is drawn again and again.

It must not know what is told. Where the output is no terminal no line is broken, the picture is left out, and one
line of it, now and then, stays instead. A lab guest's console is always a terminal: the host says what it leads to.
"""

import json
import os
import re
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Self

VARIABLE: Final = "OVERLAYWATCH_DEMO"
WIDEST: Final = 100
QUIET: Final = 2.0
"""Seconds between two lines that stand for the picture."""
LABEL: Final = 10
"""Columns of a word in capitals that may begin a paragraph; what follows it is set beside it."""
PLAIN, FAINT, STRONG, GOOD, WARN, BAD = "0", "2", "1", "32", "33", "1;31"
_SGR: Final = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Style:
    """What the output is, since when (Unix seconds) it is written to, and how fast the overlay fills (MiB/s).

    `width` and `height` are columns and rows.
    """

    terminal: bool
    colour: bool
    width: int
    height: int
    began: float
    rate: float

    @classmethod
    def of_this_terminal(cls, rate: float) -> Self:
        """As standard output is."""
        terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        columns, rows = shutil.get_terminal_size((WIDEST, 24))
        colour = terminal and not os.environ.get("NO_COLOR")
        width = max(60, min(WIDEST, columns - 1)) if terminal else WIDEST
        return cls(terminal, colour, width, rows, time.time(), rate)

    @classmethod
    def from_environment(cls) -> Self:
        """As the process that began the demonstration has said."""
        return cls(**json.loads(os.environ[VARIABLE]))

    def environment(self) -> Mapping[str, str]:
        """For from_environment()."""
        return {VARIABLE: json.dumps(asdict(self))}


class Screen:
    """May be used from several threads."""

    def __init__(self, style: Style) -> None:
        self.style = style
        self._lock = threading.Lock()
        self._picture: list[str] = []
        self._instead = 0.0

    def tell(self, text: str, colour: str = PLAIN) -> None:
        """A paragraph that stays, with the time. It may begin with a label, see LABEL."""
        with self._lock:
            self._tell(text, colour)

    def show(self, picture: Sequence[str], instead: str) -> None:
        """The picture as it is now; `instead` is what it comes to in one line."""
        with self._lock:
            if self.style.terminal:
                self._draw(picture)
            elif time.monotonic() >= self._instead:
                self._instead = time.monotonic() + QUIET
                self._tell(instead, PLAIN)

    def keep(self, picture: Sequence[str]) -> None:
        """A picture that stays, also where the output is no terminal."""
        with self._lock:
            self._draw([])
            self._write([line if self.style.colour else _SGR.sub("", line) for line in picture])

    def close(self) -> None:
        """The last picture stays as it is."""
        with self._lock:
            self._picture = []

    def _tell(self, text: str, colour: str) -> None:
        stamp = f"{time.time() - self.style.began:6.1f} s  "
        label, body = (text[:LABEL], text[LABEL:]) if text[:LABEL].strip().isupper() else ("", text)
        width = self.style.width - len(stamp) - len(label) if self.style.terminal else len(text) + 1
        first, *others = textwrap.wrap(body, width, break_on_hyphens=False) or [""]
        lines = [self._paint(stamp, FAINT) + self._paint(label + first, colour)]
        lines += [" " * (len(stamp) + len(label)) + self._paint(other, colour) for other in others]
        picture = self._picture
        self._draw([])
        self._write(lines)
        self._draw(picture)

    def _paint(self, text: str, colour: str) -> str:
        return text if colour == PLAIN or not self.style.colour else f"\x1b[{colour}m{text}\x1b[0m"

    def _draw(self, picture: Sequence[str]) -> None:
        """Over the last picture, which is wiped out: up so many lines, clear to the end (console_codes(4)).

        What has left the screen at its top cannot be wiped out: a picture is never higher than the screen.
        """
        if self._picture:
            sys.stdout.write(f"\x1b[{len(self._picture)}A\r\x1b[J")
        self._picture = [_cut(line, self.style.width) for line in picture[-self.style.height + 1 :]]
        self._write(self._picture)

    def _write(self, lines: Sequence[str]) -> None:
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()


def _cut(line: str, width: int) -> str:
    """A line that is too long would take two on the terminal, and the next picture would be drawn amiss."""
    return line if len(_SGR.sub("", line)) <= width else _SGR.sub("", line)[:width]
