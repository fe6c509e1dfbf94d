# SPDX-License-Identifier: Apache-2.0
"""What an output can show, tried on real terminals and pipes."""

import fcntl
import io
import os
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest

from overlaywatch.cli.screen import UNBOUNDED, Style, printable, screen_of


@contextmanager
def terminal(columns: int) -> Iterator[TextIO]:
    """A pseudo terminal of so many columns."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        with open(slave, "w", encoding="utf-8") as stream:
            yield stream
    finally:
        os.close(master)


@contextmanager
def pipe(encoding: str = "utf-8") -> Iterator[TextIO]:
    """The writing end of a pipe."""
    reader, writer = os.pipe()
    try:
        with open(writer, "w", encoding=encoding) as stream:
            yield stream
    finally:
        os.close(reader)


def test_terminal_has_its_width_and_colour() -> None:
    """On a terminal the real width is used, and colour."""
    with terminal(132) as out:
        screen = screen_of(out, {"TERM": "xterm-256color"})

    assert (screen.width, screen.colour, screen.glyphs) == (132, True, True)


@pytest.mark.parametrize(
    ("environ", "choice", "colour"),
    [
        ({"TERM": "linux"}, "auto", True),
        ({"TERM": "linux", "NO_COLOR": "1"}, "auto", False),
        ({"TERM": "linux", "NO_COLOR": ""}, "auto", True),
        ({"TERM": "dumb"}, "auto", False),
        ({}, "auto", False),
        ({"TERM": "linux"}, "never", False),
        ({"TERM": "dumb", "NO_COLOR": "1"}, "always", True),
    ],
)
def test_colour_is_as_the_user_wants_it(environ: dict[str, str], choice: str, colour: bool) -> None:
    """NO_COLOR (if it is not empty) and TERM=dumb turn it off; --color has the last word."""
    with terminal(80) as out:
        assert screen_of(out, environ, choice).colour is colour


def test_pipe_has_no_colour_and_no_width() -> None:
    """In a pipe nothing is coloured and nothing shortened, so that grep finds whole names."""
    with pipe() as out:
        screen = screen_of(out, {"TERM": "xterm"})
        wanted = screen_of(out, {"TERM": "xterm"}, "always")

    assert (screen.width, screen.colour, screen.glyphs) == (UNBOUNDED, False, True)
    assert wanted.colour


@pytest.mark.parametrize(("columns", "width"), [("100", 100), ("7", 60), ("0", 132), ("many", 132), ("", 132)])
def test_columns_in_the_environment_win(columns: str, width: int) -> None:
    """COLUMNS is believed if it is a number (watch(1) sets it), down to 60."""
    with terminal(132) as out:
        assert screen_of(out, {"COLUMNS": columns}).width == width


def test_terminal_that_does_not_know_its_width_has_80() -> None:
    """A serial console says 0 columns."""
    with terminal(0) as out:
        assert screen_of(out, {}).width == 80


def test_output_that_cannot_encode_glyphs_gets_none() -> None:
    """With an old character set the screen is ASCII."""
    with pipe("latin-1") as out:
        assert not screen_of(out, {}).glyphs
    assert not screen_of(io.StringIO(), {}).glyphs


def test_paint_marks_only_what_can_be_seen() -> None:
    """Blanks are not painted, and a screen without colour paints nothing."""
    with terminal(80) as out:
        coloured = screen_of(out, {"TERM": "linux"})
        plain = screen_of(out, {"TERM": "linux"}, "never")

    assert coloured.paint("full", Style.BAD) == "\x1b[1;31mfull\x1b[0m"
    assert (coloured.paint("  ", Style.BAD), plain.paint("full", Style.BAD)) == ("  ", "full")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/srv/größe", "/srv/größe"),
        ("/mnt/\x1b[2J", r"/mnt/\x1b[2J"),
        ("/mnt/a\nb", r"/mnt/a\nb"),
        ("/mnt/\u202egpj", r"/mnt/\u202egpj"),
        ("/mnt/\udcff", r"/mnt/\udcff"),
    ],
)
def test_names_cannot_move_the_cursor(text: str, shown: str) -> None:
    """What is not printable is escaped: control characters, changes of direction, bytes that are no UTF-8."""
    assert printable(text) == shown
