# SPDX-License-Identifier: Apache-2.0
"""Which part of the daemon's memory is kept if not all of it has room: the most important first.

Must not know where it is kept. From the most to the least important:

1. what was done and what is owed (`past`, `owed`): without it an action might be done twice. It is bounded by itself;
2. stages that have called for something, the latest first: without one, its actions may be called for once more. A
   reboot is not done twice by that, as it is counted in `past`;
3. stages that wait for their hold, those that have waited longest first: without one, it waits anew;
4. alerts that fire, the latest first: without one, it may be told twice;
5. what was learned for forecasts: without it they are late.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

State = Mapping[str, Any]


def encoded(value: object) -> bytes:
    """As it is kept."""
    return json.dumps(value, separators=(",", ":")).encode()


def fitted(state: State, room: int) -> State:
    """The state without what is least important and does not fit into `room` bytes; (1) is kept in any case.

    `state` is what Memory.save() makes: `policies.stages` and `alerts` are lists of entries.
    """
    policies = state["policies"]
    kept = {name: value for name, value in state.items() if name != "forecasts"}
    kept |= {"policies": {**policies, "stages": []}, "alerts": []}
    stages, left = _first_that_fit(policies["stages"], _latest_call, room - len(encoded(kept)))
    alerts, left = _first_that_fit(state["alerts"], _latest_beginning, left)
    kept |= {"policies": {**policies, "stages": stages}, "alerts": alerts}
    whole = {**kept, "forecasts": state["forecasts"]}
    return whole if len(encoded(whole)) <= room else kept


def _first_that_fit(entries: Sequence[State], importance: Callable[[State], Any], room: int) -> tuple[list[State], int]:
    """The most important entries, the most important last as it is the newest; and what is left of the room."""
    kept: list[State] = []
    for entry in sorted(entries, key=importance, reverse=True):
        size = len(encoded(entry)) + len(",")
        if size > room:
            break
        kept.append(entry)
        room -= size
    return kept[::-1], room


def _latest_call(stage: State) -> tuple[bool, float]:
    fired_at = stage["fired_at"]
    return (False, -stage["since"]) if fired_at is None else (True, fired_at)


def _latest_beginning(alert: State) -> float:
    return float(alert["starts_at"])
