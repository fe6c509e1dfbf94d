# SPDX-License-Identifier: Apache-2.0
"""Policies: which stage is true, for how long, and what it therefore calls for.

This file must not know what an action does, what time it is (`now` is an argument), or where the
facts come from.
"""

from dataclasses import dataclass

from overlaywatch.model import LayerState


@dataclass(frozen=True, slots=True)
class Stage:
    """One rung of a policy. Any one of its conditions makes it true; `hold` is how long it must be so.

    `cooldown` None: the actions fire once when the stage becomes active, and not again until it has
    been inactive. A number: again after so many seconds while it is still active.
    """

    name: str
    actions: tuple[str, ...]
    used_above: float | None = None
    headroom_below: int | None = None
    inodes_above: float | None = None
    time_to_full_below: float | None = None
    state_is: frozenset[LayerState] = frozenset()
    hold: float = 0.0
    cooldown: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Stages for one mount point (None: for each watched mount point)."""

    name: str
    stages: tuple[Stage, ...]
    mount_point: str | None = None
