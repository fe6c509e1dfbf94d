# SPDX-License-Identifier: Apache-2.0
"""The units that people write and read: `64MiB`, `80%`, `10m`; and names made fit to be read.

This file must not know what is measured; it only knows how quantities are spelled. Inside the
program sizes are integers of bytes, ratios are floats from 0 to 1, durations are floats of seconds.
"""

import re
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

_SIZE_FACTORS: Final = {
    "": 1,
    "B": 1,
    "KiB": KIB,
    "MiB": MIB,
    "GiB": GIB,
    "TiB": 1024 * GIB,
}
_DURATION_FACTORS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

# ASCII digits, and no more of them than a 64-bit figure has: a longer number is a slip, and neither
# int() (which refuses 4300 digits with an error of its own) nor float() (infinity) would say so.
_NUMBER: Final = r"([0-9]{1,19}(?:\.[0-9]{1,9})?)"
_SIZE = re.compile(_NUMBER + r" ?([A-Za-z]*)")
_RATIO = re.compile(_NUMBER + r" ?%")
_DURATION_PART = re.compile(r"\s*" + _NUMBER + r" ?(ms|s|m|h|d)")


class UnitError(ValueError):
    """A quantity that cannot be read; the text says what was expected."""


def parse_size(text: str) -> int:
    """Bytes of a size such as `64MiB`, `1.5GiB` or `4096` (a plain number is bytes)."""
    match = _SIZE.fullmatch(text.strip())
    factor = _SIZE_FACTORS.get(match[2]) if match else None
    if match is None or factor is None:
        raise UnitError(f"not a size: {text!r}; expected a number with KiB, MiB, GiB or TiB, such as '64MiB'")
    return int(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor


def parse_ratio(text: str) -> float:
    """A ratio from 0 to 1 of a percentage such as `80%`."""
    match = _RATIO.fullmatch(text.strip())
    if match is None or float(match[1]) > 100:
        raise UnitError(f"not a ratio: {text!r}; expected a percentage from 0% to 100%, such as '80%'")
    return float(match[1]) / 100


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `90s`, `10m`, `2h` or `1h30m`."""
    stripped, seconds, end = text.strip(), 0.0, 0
    while match := _DURATION_PART.match(stripped, end):
        seconds += float(match[1]) * _DURATION_FACTORS[match[2]]
        end = match.end()
    if end < len(stripped) or not stripped:
        raise UnitError(f"not a duration: {text!r}; expected a number with ms, s, m, h or d, such as '90s'")
    return seconds


def format_size(size: int) -> str:
    """A size for people, three digits at most: `512 B`, `63.2 MiB`, `32.0 GiB`."""
    if abs(size) < KIB:
        return f"{size} B"
    value, units = size / KIB, ["KiB", "MiB", "GiB", "TiB"]
    # 1023.95 would be printed as 1024.0: the next unit is the one that reads well.
    while abs(value) >= 1023.95 and len(units) > 1:
        value /= 1024
        del units[0]
    return f"{value:.1f} {units[0]}"


def format_ratio(ratio: float) -> str:
    """A ratio for people: `83.4%`. Never rounded up to 100 % while something is left."""
    percent = min(ratio * 100, 99.9) if ratio < 1 else ratio * 100
    return f"{percent:.1f}%"


def format_duration(seconds: float) -> str:
    """A duration for people, two units at most: `0 s`, `90 s`, `12 min`, `3 h 20 min`, `4 d 2 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 1 or seconds <= 0 else f"{seconds * 1000:.0f} ms"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 48:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h" if hours % 24 else f"{hours // 24} d"


def printable(name: str) -> str:
    r"""A file's name for a log or a document: any byte that is no printable text becomes `\xff`, `\n`, …"""
    try:
        text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        text = name  # halves of a pair that stand for no byte: JSON can spell them
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
