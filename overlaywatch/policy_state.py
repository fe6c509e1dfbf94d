# SPDX-License-Identifier: Apache-2.0
"""The state of policies as plain JSON values, to go on after a restart as if nothing had happened.

This file must not know where it is kept. Times are on the monotonic clock, which goes on over a restart
of the daemon and begins anew with the machine: keep the state where a reboot forgets it (/run).

What was saved is checked to the last value, and one that cannot be makes the state a fresh one: a
daemon that guards a root must start, whatever it finds.
"""

from collections.abc import Mapping
from typing import Final

from overlaywatch.phases import ENGAGED, Phase, StageState
from overlaywatch.policy import PolicyState, StageKey

VERSION: Final = 1

_OPTIONAL: Final = ("active_since", "fired_at", "unsure_since")


def to_json(state: PolicyState) -> dict[str, object]:
    """Plain values; see from_json."""
    return {"version": VERSION, "stages": [_entry(key, one) for key, one in state.stages.items()]}


def from_json(document: object, now: float) -> PolicyState:
    """What to_json gave; a fresh state if it is anything else, or speaks of times after `now`."""
    try:
        return PolicyState(dict(_parsed(entry, now) for entry in _entries(document)))
    except _UnusableError:
        return PolicyState()


class _UnusableError(Exception):
    """Not what to_json gave."""


def _entry(key: StageKey, state: StageState) -> dict[str, object]:
    return {
        "policy": key.policy,
        "stage": key.stage,
        "mount_point": key.mount_point,
        "doubt": key.doubt,
        "phase": state.phase.value,
        "since": state.since,
        "active_since": state.active_since,
        "fired_at": state.fired_at,
        "unsure_since": state.unsure_since,
    }


def _entries(document: object) -> list[object]:
    if not isinstance(document, Mapping) or document.get("version") != VERSION:
        raise _UnusableError
    entries = document.get("stages")
    if not isinstance(entries, list):
        raise _UnusableError
    return entries


def _parsed(entry: object, now: float) -> tuple[StageKey, StageState]:
    if not isinstance(entry, Mapping):
        raise _UnusableError
    names = [entry.get(name) for name in ("policy", "stage", "mount_point")]
    doubt, phase = entry.get("doubt"), entry.get("phase")
    if not all(isinstance(name, str) for name in names) or type(doubt) is not bool or phase not in list(Phase):
        raise _UnusableError
    since = _time(entry.get("since"), now)
    active_since, fired_at, unsure_since = (_time(entry.get(name), now) for name in _OPTIONAL)
    if since is None or (active_since is None) is (phase in ENGAGED):
        raise _UnusableError
    key = StageKey(str(names[0]), str(names[1]), str(names[2]), doubt)
    return key, StageState(Phase(phase), since, active_since, fired_at, unsure_since)


def _time(value: object, now: float) -> float | None:
    if value is None:
        return None
    if not isinstance(value, float | int) or isinstance(value, bool) or not 0 <= value <= now:
        raise _UnusableError
    return float(value)
