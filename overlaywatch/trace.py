# SPDX-License-Identifier: Apache-2.0
"""Looks written down, one a line: how the room of mount points went, to be gone through again at any speed.

This file must not know who recorded them or what is concluded from them. The format is told to people in
tests/traces/README.md:

    # any number of comments
    seconds headroom_bytes limit size_bytes state
    0.000 62914560 dm-snapshot:live-rw 67108864 ok
    1.002 61865984 dm-snapshot:live-rw 67108864 ok

The first line that is no comment names the columns, in any order; `seconds` and `headroom_bytes` must be
among them. `-` is unknown. What is not a column is unknown too, but for `mount_point` (`/`), `state` (`ok`)
and `reclaimable` (`no`). Each line is one look at one mount point; times are seconds of a clock that
runs evenly, from any zero. A mount point is written as in /proc/self/mountinfo: `\\040` for a space.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from overlaywatch.model import Failure, LayerId, LayerState, Mount, Reading, Ref, Verdict

Value = TypeVar("Value")

UNKNOWN: Final = "-"
COLUMNS: Final = (
    *("seconds", "mount_point", "headroom_bytes", "used_ratio", "inodes_ratio", "state", "limit"),
    *("size_bytes", "failure", "reclaimable"),
)
_NEEDED: Final = ("seconds", "headroom_bytes")
# ASCII digits, no more of them than 64 bits have: float() and int() take more than that.
_DIGITS: Final = re.compile("[0-9]{1,20}")
_DECIMAL: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


class TraceError(ValueError):
    """A line that cannot be read; the text names file and line, and what was expected."""


@dataclass(frozen=True, slots=True)
class Look:
    """One mount point at one moment. `states` are those of the layers of its chain; None is unknown."""

    at: float
    headroom_bytes: int | None
    mount_point: str = "/"
    used_ratio: float | None = None
    inodes_ratio: float | None = None
    states: frozenset[LayerState] = frozenset({LayerState.OK})
    limit: LayerId | None = None
    size_bytes: int | None = None
    failure: Failure | None = None
    reclaimable: bool = False

    def verdict(self) -> Verdict:
        """The same as the judge says it. What is known exactly is also the most that can be left."""
        return Verdict(
            mount=Mount(self.mount_point, "", "", Ref("")),
            chain=() if self.limit is None else (self.limit,),
            headroom_bytes=self.headroom_bytes,
            headroom_at_most_bytes=self.headroom_bytes,
            limit=self.limit,
            failure=self.failure,
            states=self.states,
            used_ratio=self.used_ratio,
            inodes_ratio=self.inodes_ratio,
            reclaimable=self.reclaimable,
        )

    def readings(self) -> Mapping[LayerId, Reading]:
        """What is known of the limit, as the forecast wants it."""
        if self.limit is None:
            return {}
        state = min(self.states, default=LayerState.UNKNOWN)
        return {self.limit: Reading(self.limit, state, size_bytes=self.size_bytes)}


def parse_trace(text: str, name: str = "trace") -> tuple[Look, ...]:
    """The looks of a trace, in the order of their times. Raises TraceError naming `name` and the line."""
    columns: Sequence[str] = ()
    looks: list[Look] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            if not columns:
                columns = _header(words)
                continue
            looks.append(_look(columns, words))
            _check_order(looks)
        except ValueError as error:
            raise TraceError(f"{name}:{number}: {error}") from None
    if not columns:
        raise TraceError(f"{name}: no columns; expected a line such as '{' '.join(COLUMNS)}'")
    return tuple(looks)


def format_trace(looks: Iterable[Look], comments: Iterable[str] = ()) -> str:
    """The text that parse_trace() reads: all columns, ratios to a hundredth of a percent."""
    lines = [*(f"# {comment}" for comment in comments), " ".join(COLUMNS)]
    return "\n".join([*lines, *(" ".join(_words(look)) for look in looks)]) + "\n"


def _words(look: Look) -> tuple[str, ...]:
    return (
        f"{look.at:.3f}",
        "".join(f"\\{ord(char):03o}" if char in " \t\n\\" else char for char in look.mount_point),
        _or_unknown(look.headroom_bytes),
        _ratio(look.used_ratio),
        _ratio(look.inodes_ratio),
        ",".join(sorted(look.states)) or UNKNOWN,
        _or_unknown(look.limit),
        _or_unknown(look.size_bytes),
        _or_unknown(look.failure),
        "yes" if look.reclaimable else "no",
    )


def _or_unknown(value: object) -> str:
    return UNKNOWN if value is None else str(value)


def _ratio(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}"


def _header(words: Sequence[str]) -> Sequence[str]:
    for word in words:
        if word not in COLUMNS:
            raise ValueError(f"no such column: {word!r}; expected some of {', '.join(COLUMNS)}")
    for needed in _NEEDED:
        if words.count(needed) != 1:
            raise ValueError(f"the column {needed} must be there once")
    return words


def _check_order(looks: Sequence[Look]) -> None:
    if len(looks) > 1 and looks[-1].at < looks[-2].at:
        raise ValueError(f"{looks[-1].at:g} s is before the line above; expected rising seconds")


def _look(columns: Sequence[str], words: Sequence[str]) -> Look:
    if len(words) != len(columns):
        raise ValueError(f"{len(words)} words; expected {len(columns)}, one for each column")
    given = {column: word for column, word in zip(columns, words, strict=True) if word != UNKNOWN}
    at = _get(given, "seconds", _number)
    if at is None:
        raise ValueError("the time must be known")
    return Look(
        at=at,
        headroom_bytes=_get(given, "headroom_bytes", _whole),
        mount_point=_get(given, "mount_point", _path) or "/",
        used_ratio=_get(given, "used_ratio", _number),
        inodes_ratio=_get(given, "inodes_ratio", _number),
        states=_states(given, columns),
        limit=_get(given, "limit", LayerId),
        size_bytes=_get(given, "size_bytes", _whole),
        failure=_get(given, "failure", Failure),
        reclaimable=_get(given, "reclaimable", _yes) or False,
    )


def _get(given: Mapping[str, str], column: str, parse: Callable[[str], Value]) -> Value | None:
    if column not in given:
        return None
    try:
        return parse(given[column])
    except ValueError as error:
        raise ValueError(f"{column}: {error}") from None


def _states(given: Mapping[str, str], columns: Sequence[str]) -> frozenset[LayerState]:
    if "state" not in columns:
        return frozenset({LayerState.OK})
    found = _get(given, "state", lambda text: frozenset(LayerState(word) for word in text.split(",")))
    return frozenset({LayerState.UNKNOWN}) if found is None else found


def _number(text: str) -> float:
    if _DECIMAL.fullmatch(text) is None:
        raise ValueError(f"not a number that can be: {text!r}; expected 0 or more, or '{UNKNOWN}'")
    return float(text)


def _whole(text: str) -> int:
    if _DIGITS.fullmatch(text) is None:
        raise ValueError(f"not a size: {text!r}; expected bytes, or '{UNKNOWN}' where they are unknown")
    return int(text)


def _yes(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError(f"neither yes nor no: {text!r}")
    return text == "yes"


def _path(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
