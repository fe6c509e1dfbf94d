# SPDX-License-Identifier: Apache-2.0
"""What must hold of everything that a parser accepts: no number out of thin air, and the same again when printed again.

Must not know which parser it is for. An oracle gets the input, what was parsed of it, and the parser; it raises
AssertionError.
"""

import re
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from overlaywatch.actions.globs import Pattern, PatternSet
from overlaywatch.frontend.alertmanager import payload
from overlaywatch.frontend.notice import Notice, Target
from overlaywatch.kernel.devmapper import DmTarget
from overlaywatch.kernel.meminfo import Swap
from overlaywatch.units import KIB, printable

Parse = Callable[[bytes], Any]
Oracle = Callable[[bytes, Any, Parse], None]

_DIGITS: Final = re.compile(rb"[0-9]+")
_LARGEST: Final = 10**20
_LEAVES: Final = frozenset({str, bytes, int, float, type(None), re.Pattern})


def leaves(value: object) -> Iterator[object]:
    """The texts and numbers in a result, however deep."""
    todo = [value]
    while todo:
        one = todo.pop()
        kind = type(one)
        if kind in _LEAVES:
            yield one
        elif isinstance(one, tuple | list | set | frozenset):
            todo += one
        elif isinstance(one, Mapping):
            todo += [*one.keys(), *one.values()]
        elif kind is not bool and not isinstance(one, Enum):
            assert is_dataclass(kind), f"a {kind.__name__} in the result"
            todo += [getattr(one, name) for name in kind.__dataclass_fields__]


def sane(result: object) -> None:
    """No number below 0 or beyond what twenty digits of KiB hold; every text can be said and sent."""
    for leaf in leaves(result):
        if isinstance(leaf, int | float):
            assert 0 <= leaf < _LARGEST * KIB, f"{leaf} is out of range"
        elif isinstance(leaf, str) and not (leaf.isascii() and leaf.isprintable()):
            assert printable(leaf).isprintable()


def anything(_data: bytes, _result: object, _parse: Parse) -> None:
    """Nothing more than that."""


def numbers(result: object) -> Iterator[int]:
    """The whole numbers in a result."""
    return (leaf for leaf in leaves(result) if isinstance(leaf, int))


def in_text(*units: int) -> Oracle:
    """Every number stands in the input as a whole run of digits, times one of the units (none given: as it is)."""

    def check(data: bytes, result: object, _parse: Parse) -> None:
        found = {number for number in numbers(result) if number}
        printed = {int(digits) for digits in _DIGITS.findall(data) if len(digits) <= 40} if found else set()
        for number in found:
            assert any(number % unit == 0 and number // unit in printed for unit in units or (1,)), f"{number}?"

    return check


def _spelled(leaf: object) -> object:
    """A text by its bytes, as two that are no characters may make one; a number as it is written, as NaN is not NaN."""
    try:
        return leaf.encode("utf-8", "surrogateescape") if isinstance(leaf, str) else repr(leaf)
    except UnicodeEncodeError:
        return leaf


def again(render: Callable[[Any], str | bytes]) -> Oracle:
    """What was parsed, printed as the kernel would (by second hands), is parsed to the same."""

    def check(_data: bytes, result: object, parse: Parse) -> None:
        text = render(result)
        printed = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
        reread = parse(printed)
        same = list(map(_spelled, leaves(reread))) == list(map(_spelled, leaves(result)))
        assert same, f"printed again as {printed!r} it is {reread!r}, not {result!r}"

    return check


def both(one: Oracle, other: Oracle) -> Oracle:
    """The one and the other."""

    def check(data: bytes, result: object, parse: Parse) -> None:
        one(data, result, parse)
        other(data, result, parse)

    return check


def within(lowest: float, highest: float) -> Oracle:
    """One number, between these."""

    def check(_data: bytes, result: Any, _parse: Parse) -> None:
        assert result is None or lowest <= result <= highest, f"{result}?"

    return check


# --- of single kinds of results -------------------------------------------------------------------


def quantity(factors: Mapping[str, float], round_to_whole: bool) -> Oracle:
    """The sum of every number times the factor of its unit, reckoned in decimals."""

    def check(data: bytes, result: Any, _parse: Parse) -> None:
        parts = re.findall(r"([0-9.]+) ?([A-Za-z%]*)", data.decode("utf-8", "surrogateescape"))
        exact = sum((Decimal(number) * Decimal(str(factors[unit])) for number, unit in parts), start=Decimal())
        slip = max(abs(exact) * Decimal("1e-12"), Decimal(int(round_to_whole)))
        assert abs(Decimal(result) - exact) <= slip, f"{result} for {exact}"

    return check


def pending_sum(data: bytes, result: int, _parse: Parse) -> None:
    """Two figures of the text, added, in KiB."""
    printed = [int(digits) for digits in _DIGITS.findall(data) if len(digits) <= 20]
    assert result // KIB in {one + other for one in printed for other in printed}


def sum_of_all(data: bytes, result: int, _parse: Parse) -> None:
    """No more than all figures of the text together."""
    assert 0 <= result <= sum(int(digits) for digits in _DIGITS.findall(data) if len(digits) <= 20)


def swaps_in_text(data: bytes, swaps: Sequence[Swap], parse: Parse) -> None:
    """Sizes in KiB; a priority may be below 0."""
    in_text(1, KIB)(data, [(swap.size, swap.used, abs(swap.priority)) for swap in swaps], parse)


def device_numbers(data: bytes, result: Sequence[int], _parse: Parse) -> None:
    """Every number of a list stands in it, byte by byte; there are no more than fit."""
    assert len(result) <= len(data) // 13
    for number in result:
        assert struct.pack("=Q", number) in data


def dm_targets(data: bytes, result: Sequence[DmTarget], _parse: Parse) -> None:
    """Each target stands in the answer with its numbers and its parameters."""
    assert len(result) <= len(data) // 41
    for one in result:
        assert struct.pack("=QQ", one.start, one.length) in data
        assert one.params.encode("utf-8", "surrogateescape") in data


def frames_in_order(data: bytes, payloads: Sequence[bytes], _parse: Parse) -> None:
    """With their lengths before them the payloads are what the stream begins with."""
    again = b"".join(len(payload).to_bytes(4, "big") + payload for payload in payloads)
    assert data.startswith(again)


def matching_is_quick(_data: bytes, pattern: Pattern, _parse: Parse) -> None:
    """Names made to be hard are matched or not in a time that nobody notices."""
    walk = PatternSet([pattern])
    started = time.process_time()
    for name in (*pattern.prefix, "a" * 255, "a.b" * 85, ".", "\udcff\n"):
        walk.step(walk.start(), name)
    assert time.process_time() - started < 0.25


def a_good_target(data: bytes, target: Target, _parse: Parse) -> None:
    """What can be connected to, and named."""
    assert target.host
    assert 0 <= target.port <= 65535
    assert target.port in (80, 443) or str(target.port).encode() in data
    assert target.path.isascii()


def a_good_notice(_data: bytes, notice: Notice, _parse: Parse) -> None:
    """What can be sent: a time that a calendar has, a patience that a socket takes."""
    assert 0 < notice.timeout <= 60
    assert payload([notice], notice.starts_at)
    sane((notice.starts_at, notice.ends_at, notice.timeout))


_SIZES: Final = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
SIZE: Final = quantity(_SIZES, round_to_whole=True)
RATIO: Final = quantity({"%": 0.01}, round_to_whole=False)
DURATION: Final = quantity({"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}, round_to_whole=False)
