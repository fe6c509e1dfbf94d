# SPDX-License-Identifier: Apache-2.0
"""System calls whose answers are facts of the machine: how each is asked, and how its answer is written down.

This file must not know any of them: the file of each kernel interface has its own `Call`. That one line is all that a
new one needs to be recorded by `overlaywatch capture` and to be answered from a capture.
"""

import errno
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar, get_type_hints

Answer = TypeVar("Answer")
Value = int | bool | str

_PAIR: Final = re.compile(r"[0-9]{1,9}:[0-9]{1,9}", re.ASCII)
_ERROR: Final = "error"
_LARGEST: Final = 2**64


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """One system call. `ask(key)` gives its answer or raises OSError.

    `answer` is a dataclass of int, bool, str and (major, minor) fields. The key is a path (`takes_path`), a device
    number `major:minor` or the name of a device. A call that is only asked what there is (`probes`) has no errors that
    need to be written down.
    """

    name: str
    answer: type[Answer]
    ask: Callable[[str], Answer]
    takes_path: bool = False
    probes: bool = False


def encode_answer(answer: object) -> dict[str, Value]:
    """The fields of an answer by name; a device number as `major:minor`."""
    fields = {name: getattr(answer, name) for name in get_type_hints(type(answer))}
    return {name: "{}:{}".format(*value) if isinstance(value, tuple) else value for name, value in fields.items()}


def encode_error(error: OSError) -> dict[str, Value]:
    """An error by its name (`ENOENT`), as errno(3) lists them."""
    return {_ERROR: errno.errorcode.get(error.errno or 0, "EIO")}


def decode(call: Call[Answer], entry: Mapping[str, object]) -> Answer:
    """The answer that is written down. Raises OSError if it is an error, and ValueError if it makes no sense."""
    if _ERROR in entry:
        number = next((number for number, name in errno.errorcode.items() if name == entry[_ERROR]), None)
        if number is None:
            raise ValueError(f"error: expected a name such as ENOENT, found {entry[_ERROR]!r}")
        raise OSError(number, os.strerror(number))
    hints = get_type_hints(call.answer)
    unknown = sorted(entry.keys() - hints.keys())
    if unknown:
        raise ValueError(f"{unknown[0]}: no such field; expected {', '.join(hints)}")
    try:
        return call.answer(**{name: _field(name, hints[name], value) for name, value in entry.items()})
    except TypeError:
        missing = ", ".join(name for name in hints if name not in entry)
        raise ValueError(f"missing: {missing}") from None


def _field(name: str, expected: object, value: object) -> object:
    if expected in (bool, str) and type(value) is expected:
        return value
    if expected is int and type(value) is int and 0 <= value < _LARGEST:
        return value
    if expected == tuple[int, int] and isinstance(value, str) and _PAIR.fullmatch(value):
        major, _, minor = value.partition(":")
        return int(major), int(minor)
    kind = {bool: "true or false", int: "a number, not negative", str: "text"}.get(expected, "'MAJOR:MINOR'")  # type: ignore[call-overload]
    raise ValueError(f"{name}: expected {kind}, found {value!r}")
