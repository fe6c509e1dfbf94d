# SPDX-License-Identifier: Apache-2.0
"""When which action was carried out: what budgets are counted from, over restarts of the daemon.

Must not know where it is kept. Times are monotonic seconds of this boot; a ledger of another boot
is not read at all.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

MOST_PER_ACTION: Final = 100
_NEVER: Final = 1e12


class Ledger:
    """The last hundred times of each action."""

    def __init__(self, past: Mapping[str, Sequence[float]] | None = None) -> None:
        self._past = {name: deque(times, maxlen=MOST_PER_ACTION) for name, times in (past or {}).items()}

    def note(self, action: str, now: float) -> None:
        """The action is about to be carried out."""
        self._past.setdefault(action, deque(maxlen=MOST_PER_ACTION)).append(now)

    def take_back(self, action: str) -> None:
        """What was noted last is not carried out after all."""
        self._past[action].pop()

    def past(self, action: str) -> tuple[float, ...]:
        """When it was carried out, oldest first."""
        return tuple(self._past.get(action, ()))

    def as_json(self) -> dict[str, list[float]]:
        """For the state file."""
        return {name: list(times) for name, times in self._past.items()}

    @classmethod
    def from_json(cls, value: object) -> "Ledger":
        """What the state file held; anything that is not a ledger is an empty one."""
        if not isinstance(value, dict):
            return cls()
        return cls({name: times for name, times in value.items() if _is_times(name, times)})


def _is_times(name: object, times: object) -> bool:
    return isinstance(name, str) and isinstance(times, list) and all(_is_time(time) for time in times)


def _is_time(time: object) -> bool:
    """Seconds of a clock: neither infinite, nor NaN, nor beyond what a float can hold."""
    return isinstance(time, int | float) and not isinstance(time, bool) and 0 <= time < _NEVER
