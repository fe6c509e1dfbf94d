# SPDX-License-Identifier: Apache-2.0
"""How one value is read: a raw TOML value in, a typed one out, or what is wrong with it.

This file must not know keys, tables or files. A Reader says what it expects, in words that name the
range; its `read` raises MismatchError. The placeholder stands in for a value that could not be read, so
that the reading of the others can go on; it never reaches the program, because errors are raised in
the end.
"""

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from overlaywatch.config.spelling import join_path, shown
from overlaywatch.units import GIB, KIB, MIB, parse_duration, parse_ratio, parse_size

T = TypeVar("T")
N = TypeVar("N", int, float)
E = TypeVar("E", bound=StrEnum)

LARGEST_SIZE: Final = 1024 * 1024 * GIB
LONGEST_DURATION: Final = 366 * 86400.0
LARGEST_INTEGER: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a value. `place` is where in it, as the end of a key path: `[1]`, `.severity`."""

    problem: str
    expected: str
    place: str = ""


class MismatchError(ValueError):
    """A value is not what was expected."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.problem for fault in faults))


def _as_it_is(value: object) -> object:
    return value


@dataclass(frozen=True, slots=True)
class Reader(Generic[T]):
    """Reads values of one kind; `read(key, raw)` is given the key only to keep secrets out of messages.

    `spell(value)` is the way back: the TOML value that is read as this one.
    """

    expected: str
    placeholder: T
    read: Callable[[str, object], T]
    spell: Callable[[Any], object] = _as_it_is


# --- quantities ---------------------------------------------------------------------------------


def _spell(value: float, units: Sequence[tuple[str, float]]) -> str:
    """A value in the largest unit that it is a whole number of, as people write it in the file."""
    unit, factor = next(((unit, factor) for unit, factor in units if value and value % factor == 0), units[-1])
    if value % factor == 0:
        return f"{int(value // factor)}{unit}"
    return f"{value / factor:.9f}".rstrip("0") + unit


def spell_size(size: int) -> str:
    """A size as it is written in the file, exactly: `64MiB`, `4097B`."""
    return _spell(size, (("TiB", 1024 * GIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("B", 1)))


def spell_duration(seconds: float) -> str:
    """A duration as it is written in the file: `90s`, `1h`."""
    return _spell(seconds, (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)))


def spell_ratio(ratio: float) -> str:
    """A ratio as it is written in the file: `80%`."""
    return f"{ratio * 100:.6g}%"


@dataclass(frozen=True, slots=True)
class _Quantity(Generic[N]):
    """What sizes, ratios, durations and numbers have in common: a name, an example, a spelling."""

    name: str
    example: str
    spell: Callable[[N], str]
    convert: Callable[[object], N]


def _size(raw: object) -> int:
    """Plain numbers are bytes; but true is not 1 byte."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    return parse_size(_text(raw))


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise TypeError
    return raw


def _integer(raw: object) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise TypeError
    return raw


_SIZE: Final[_Quantity[int]] = _Quantity("size", '"64MiB"', spell_size, _size)
_RATIO: Final[_Quantity[float]] = _Quantity("percentage", '"80%"', spell_ratio, lambda raw: parse_ratio(_text(raw)))
_DURATION: Final[_Quantity[float]] = _Quantity(
    "duration", '"90s"', spell_duration, lambda raw: parse_duration(_text(raw))
)
_INTEGER: Final[_Quantity[int]] = _Quantity("whole number", "3", str, _integer)


def _quantity_reader(kind: _Quantity[N], minimum: N, maximum: N) -> Reader[N]:
    example = f", such as {kind.example}"
    expected = f"expected a {kind.name} from {kind.spell(minimum)} to {kind.spell(maximum)}{example}"

    def read(key: str, raw: object) -> N:
        try:
            value = kind.convert(raw)
        except (TypeError, ValueError):
            raise MismatchError(Fault(f"{shown(key, raw)} is not a {kind.name}", expected)) from None
        if not minimum <= value <= maximum:
            word = "less than the minimum" if value < minimum else "more than the maximum"
            raise MismatchError(Fault(f"{shown(key, raw)} is {word}", expected))
        return value

    return Reader(expected, minimum, read, _as_it_is if kind.name == _INTEGER.name else kind.spell)


def size_reader(minimum: int = 0, maximum: int = LARGEST_SIZE) -> Reader[int]:
    """Bytes: a text with a binary unit, or a plain whole number."""
    return _quantity_reader(_SIZE, minimum, maximum)


def ratio_reader(minimum: float = 0.0, maximum: float = 1.0) -> Reader[float]:
    """A ratio from 0 to 1, written as a percentage."""
    return _quantity_reader(_RATIO, minimum, maximum)


def duration_reader(minimum: float = 0.0, maximum: float = LONGEST_DURATION) -> Reader[float]:
    """Seconds, written with a unit. A plain number is refused: nobody can know what it is a number of."""
    return _quantity_reader(_DURATION, minimum, maximum)


def integer_reader(minimum: int = 0, maximum: int = LARGEST_INTEGER) -> Reader[int]:
    """A whole number."""
    return _quantity_reader(_INTEGER, minimum, maximum)


# --- words --------------------------------------------------------------------------------------


def boolean_reader() -> Reader[bool]:
    """True or false, nothing that only looks like it."""
    expected = "expected true or false"

    def read(key: str, raw: object) -> bool:
        if not isinstance(raw, bool):
            raise MismatchError(Fault(f"{shown(key, raw)} is neither true nor false", expected))
        return raw

    return Reader(expected, False, read)


def string_reader(pattern: re.Pattern[str] | None = None, expected: str = "expected a text") -> Reader[str]:
    """A text that is not empty, has no NUL (no path and no argument can carry one), and fits the pattern."""

    def read(key: str, raw: object) -> str:
        if not isinstance(raw, str):
            raise MismatchError(Fault(f"{shown(key, raw)} is not a text", expected))
        if not raw or "\0" in raw or (pattern is not None and pattern.fullmatch(raw) is None):
            problem = f"{shown(key, raw)} cannot be used" if raw else "is empty"
            raise MismatchError(Fault(problem, expected))
        return raw

    return Reader(expected, "", read)


def path_reader() -> Reader[str]:
    """An absolute path, brought into its shortest form: `/var/` is `/var`."""
    expected = 'expected an absolute path without "..", such as "/var"'
    text = string_reader(expected=expected)

    def read(key: str, raw: object) -> str:
        path = text.read(key, raw)
        if not path.startswith("/") or ".." in path.split("/") or not path.isprintable():
            raise MismatchError(Fault(f"{shown(key, raw)} cannot be used", expected))
        # normpath keeps a double slash at the beginning (POSIX lets it mean something); Linux does not.
        return posixpath.normpath("/" + path.lstrip("/"))

    return Reader(expected, "/", read)


def choice_reader(choices: type[E]) -> Reader[E]:
    """One word of a closed list."""
    words = [choice.value for choice in choices]
    expected = f"expected one of {', '.join(words)}"

    def read(key: str, raw: object) -> E:
        if not isinstance(raw, str) or raw not in words:
            raise MismatchError(Fault(f"{shown(key, raw)} is not a known word", expected))
        return choices(raw)

    return Reader(expected, next(iter(choices)), read, lambda choice: choice.value)


# --- several ------------------------------------------------------------------------------------


def list_reader(item: Reader[T], at_least: int = 0) -> Reader[tuple[T, ...]]:
    """A list, each item read alike; everything that is wrong with any of them is told."""
    what = item.expected.removeprefix("expected ")
    expected = f"expected a list, each item {what}" + (f"; at least {at_least}" if at_least else "")

    def read(key: str, raw: object) -> tuple[T, ...]:
        if not isinstance(raw, list | tuple):
            raise MismatchError(Fault(f"{shown(key, raw)} is not a list", expected))
        if len(raw) < at_least:
            raise MismatchError(Fault("the list is empty" if not raw else "the list is too short", expected))
        return tuple(_read_parts(key, item, [(f"[{index}]", value) for index, value in enumerate(raw)]))

    return Reader(expected, (), read, lambda items: [item.spell(one) for one in items])


def string_table_reader(item: Reader[str]) -> Reader[dict[str, str]]:
    """A table of texts, such as labels."""
    expected = f"expected a table, each value {item.expected.removeprefix('expected ')}"

    def read(key: str, raw: object) -> dict[str, str]:
        if not isinstance(raw, Mapping):
            raise MismatchError(Fault(f"{shown(key, raw)} is not a table", expected))
        # join_path gives what follows the key's own path: `.severity`.
        places = [(join_path("x", name)[1:], value) for name, value in raw.items()]
        return dict(zip(raw, _read_parts(key, item, places), strict=True))

    return Reader(expected, {}, read, dict)


def _read_parts(key: str, item: Reader[T], parts: Sequence[tuple[str, object]]) -> list[T]:
    """Read each (place, value); raise one MismatchError with the faults of all."""
    values: list[T] = []
    faults: list[Fault] = []
    for place, raw in parts:
        try:
            values.append(item.read(key + place, raw))
        except MismatchError as mismatch:
            faults += [Fault(fault.problem, fault.expected, place + fault.place) for fault in mismatch.faults]
    if faults:
        raise MismatchError(*faults)
    return values
