# SPDX-License-Identifier: Apache-2.0
"""What policies have called for and nobody has begun: so that neither a pause nor a crash loses it.

Must not know what an action does, or who may act. A policy calls for an action once; whether it is
carried out then is not its affair. What had to wait (for another action, for the end of a pause, for
a daemon that was killed in between) is done when it can be, if its stage is still active by then.
"""

from collections.abc import Collection
from typing import Final

from overlaywatch.engine.monitor import Observation
from overlaywatch.model import Decision

Key = tuple[str, str, str, str]
"""Policy, stage, mount point, action."""

MOST_KEPT: Final = 64


def key_of(decision: Decision) -> Key:
    """What makes it the same action for the same reason."""
    return decision.policy, decision.stage, decision.mount_point, decision.action


class Owed:
    """The keys, oldest first, each once."""

    def __init__(self) -> None:
        self._keys: dict[Key, None] = {}

    def add(self, decision: Decision) -> None:
        """It was called for. Beyond all measure, the oldest is forgotten."""
        self._keys[key_of(decision)] = None
        while len(self._keys) > MOST_KEPT:
            del self._keys[next(iter(self._keys))]

    def settle(self, decision: Decision) -> None:
        """It is about to begin, or it has been decided that it will not."""
        self._keys.pop(key_of(decision), None)

    def again(self, seen: Observation, now: float, but: Collection[Key] = ()) -> list[Decision]:
        """What is owed, as decisions of this look, `but` for some. What is no longer called for is forgotten."""
        if not self._keys:
            return []
        stages = {(stage.policy, stage.stage, stage.mount_point): stage for stage in seen.stages}
        found = []
        for key in [key for key in self._keys if key not in but]:
            stage = stages.get(key[:3])
            if stage is None or stage.active is False or key[3] not in stage.actions:
                del self._keys[key]
            elif stage.active and (decision := seen.decision(stage, key[3], now)):
                found.append(decision)
        return found

    def as_json(self) -> list[list[str]]:
        """For the state file."""
        return [list(key) for key in self._keys]

    def restore(self, value: object) -> None:
        """What the state file held; anything else is nothing."""
        for entry in value if isinstance(value, list) else []:
            if isinstance(entry, list) and len(entry) == 4 and all(isinstance(text, str) for text in entry):
                policy, stage, mount_point, action = entry
                self._keys[policy, stage, mount_point, action] = None
