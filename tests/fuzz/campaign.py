# SPDX-License-Identifier: Apache-2.0
"""One parser over many inputs; a failing one is made small and kept, to be tried in every test run from then on.

This file must not know any parser. A shard is so many inputs from a seed of its own: how many processes there are
changes nothing of what is tried.
"""

import hashlib
import resource
import signal
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.mutator import LONGEST, Mutator
from tests.fuzz.oracles import sane
from tests.fuzz.table import HERE, Parser

FOUND: Final = HERE / "found"
SHARD: Final = 25_000

_PATIENCE: Final = 10.0
"""Seconds of CPU that one input may take before it is said to hang."""

_SLOWEST: Final = 0.25
"""Seconds of CPU for an input of LONGEST bytes: four microseconds a byte. Quadratic parsers need minutes."""

_MOST_MEMORY: Final = 2 * 1024**3


class HangsError(Exception):
    """The parser does not come back."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that a parser must not fail on as it does."""

    parser: str
    data: bytes
    problem: str

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return FOUND / f"{self.parser}-{hashlib.sha256(self.data).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Tally:
    """What came of a shard."""

    parser: str
    inputs: int
    accepted: int
    seconds: float
    finding: Finding | None = None


def examine(parser: Parser, data: bytes) -> bool:
    """Whether the parser accepts it. Raises whatever must not be: another error, what an oracle says, slowness."""
    started = time.process_time()
    try:
        result = parser.parse(data)
    except parser.refusals:
        return False
    finally:
        took = time.process_time() - started
        assert took < _SLOWEST, f"{took:.2f} s for {len(data)} bytes"
    if not parser.any_numbers:
        sane(result)
    parser.oracle(data, result, parser.parse)
    return True


def run(parser: Parser, shard: int, inputs: int, seed: int) -> Tally:
    """So many inputs, or until the first that fails."""
    mutator = Mutator(parser.corpus(), f"{seed}:{parser.name}:{shard}")
    accepted, started = 0, time.process_time()
    for number in range(1, inputs + 1):
        if number % 256 == 1:
            signal.setitimer(signal.ITIMER_VIRTUAL, _PATIENCE)
        data = mutator.input()
        try:
            if examine(parser, data):
                accepted += 1
                mutator.keep(data)
        except Exception as error:  # whatever it is, it is what is looked for
            finding = Finding(parser.name, smallest(parser, data, error), _words(error))
            return Tally(parser.name, number, accepted, time.process_time() - started, finding)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return Tally(parser.name, inputs, accepted, time.process_time() - started)


def prepare() -> None:
    """In a process that runs shards: what takes for ever or takes all memory is an error like others."""
    warnings.simplefilter("error")
    signal.signal(signal.SIGVTALRM, _hangs)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))


def _hangs(_number: int, _frame: object) -> None:
    raise HangsError(f"no end after {_PATIENCE:.0f} s")


def _words(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}: {error}"[:500]


# --- a small input that fails in the same way -----------------------------------------------------


def smallest(parser: Parser, data: bytes, error: Exception) -> bytes:
    """A piece of the input that still fails with the same type of error, found by taking parts away."""
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    if isinstance(error, HangsError):
        return data
    kind, size = type(error), max(1, len(data) // 2)
    deadline = time.monotonic() + 2 * _PATIENCE
    while size and time.monotonic() < deadline:
        smaller = next((one for one in _without_a_part(data, size) if _fails(parser, one, kind)), None)
        if smaller is None:
            size //= 2
        else:
            data = smaller
    return data


def _without_a_part(data: bytes, size: int) -> Iterator[bytes]:
    return (data[:at] + data[at + size :] for at in range(0, len(data), size) if len(data) <= LONGEST)


def _fails(parser: Parser, data: bytes, kind: type[Exception]) -> bool:
    try:
        examine(parser, data)
    except Exception as error:  # the same kind counts
        return type(error) is kind
    return False
