# SPDX-License-Identifier: Apache-2.0
"""`[[policy]]` and `[[policy.stage]]` become policy.Policy and policy.Stage.

This file must not know what an action does: only which names there are.
"""

import re
from collections.abc import Sequence
from typing import Final

from overlaywatch.config.settings import WatchSettings
from overlaywatch.config.spelling import join_path, toml_string
from overlaywatch.config.table import Table, suggestion
from overlaywatch.model import UNSURE, LayerState
from overlaywatch.policy import Policy, Stage

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Names of policies, stages and actions become labels of metrics: short, and plain everywhere."""

NAME_EXPECTED: Final = "expected at most 64 letters, digits, - and _, the first a letter or a digit"

CONDITIONS: Final = ("used_above", "headroom_below", "inodes_above", "time_to_full_below", "state_is")

# 0 % is always exceeded and 100 % never is: neither can be what somebody wants.
_LOWEST_RATIO: Final = 0.01
_HIGHEST_RATIO: Final = 0.999
_DAY: Final = 86400.0
_MONTH: Final = 30 * _DAY

LONG_HOLD: Final = 600.0
"""Seconds. A stage that waits longer than this may come too late; it earns a warning."""


def read_policies(root: Table, action_names: Sequence[str], watch: WatchSettings) -> tuple[Policy, ...]:
    """All policies, in the order of the files."""
    tables = root.tables("policy", expected="expected [[policy]], with two brackets on each side")
    return tuple(read_policy(table, action_names, watch) for table in tables)


def read_policy(table: Table, action_names: Sequence[str], watch: WatchSettings) -> Policy:
    """One `[[policy]]`."""
    name = table.string("name", pattern=NAME, expected=NAME_EXPECTED)
    mount_point = table.path_string("mount_point", default=None)
    if mount_point is not None and not _is_watched(mount_point, watch):
        table.warn("mount_point", f"{mount_point} is not watched by what [watch] says: this policy never acts")
    stages = table.tables("stage", expected="expected [[policy.stage]], with two brackets on each side")
    if not table.raw("stage"):
        table.error("", "the policy has no stage", "add a [[policy.stage]]")
    seen: set[str] = set()
    return Policy(name, tuple(read_stage(stage, action_names, seen) for stage in stages), mount_point)


def _is_watched(mount_point: str, watch: WatchSettings) -> bool:
    """Whether [watch] lets a mount point be watched at all; exclude wins over include."""
    return mount_point not in watch.exclude and (not watch.include or mount_point in watch.include)


def read_stage(table: Table, action_names: Sequence[str], seen: set[str]) -> Stage:
    """One `[[policy.stage]]`; `seen` collects the names of the stages of its policy."""
    states = table.choices("state_is", LayerState, default=None, at_least=1)
    stage = Stage(
        name=table.string("name", pattern=NAME, expected=NAME_EXPECTED),
        actions=table.strings("actions", at_least=1, expected="expected the name of an action"),
        used_above=table.ratio("used_above", default=None, minimum=_LOWEST_RATIO, maximum=_HIGHEST_RATIO),
        headroom_below=table.size("headroom_below", default=None, minimum=1),
        inodes_above=table.ratio("inodes_above", default=None, minimum=_LOWEST_RATIO, maximum=_HIGHEST_RATIO),
        time_to_full_below=table.duration("time_to_full_below", default=None, minimum=1.0, maximum=_MONTH),
        state_is=frozenset(states or ()),
        hold=table.duration("hold", default=0.0, maximum=_DAY),
        cooldown=table.duration("cooldown", default=None, minimum=1.0, maximum=_MONTH),
    )
    _check_name(table, stage.name, seen)
    _check_conditions(table, stage)
    _check_actions(table, stage.actions, action_names)
    return stage


def _check_name(table: Table, name: str, seen: set[str]) -> None:
    if name and name in seen:
        table.error("name", "two stages of this policy have this name", "give each a name of its own")
    seen.add(name)


def _check_conditions(table: Table, stage: Stage) -> None:
    if not any(key in table for key in CONDITIONS):
        table.error("", "the stage has no condition", f"add one of {', '.join(CONDITIONS)}")
    if LayerState.OK in stage.state_is:
        table.warn("state_is", '"ok" is true on a healthy machine')
    for state in sorted(UNSURE & stage.state_is):
        table.warn("state_is", f'"{state}" sends alerts, but changes nothing: nobody knows what is wrong')
    if stage.hold > LONG_HOLD:
        table.warn("hold", "waits for more than ten minutes: an overlay can be full long before")


def _check_actions(table: Table, actions: Sequence[str], known: Sequence[str]) -> None:
    for index, action in enumerate(actions):
        if action not in known:
            hint = suggestion(action, known) if known else "there is no [action.NAME] at all"
            table.error("actions", f"there is no [{join_path('action', action)}]", hint, place=f"[{index}]")
        elif action in actions[:index]:
            table.error("actions", f"{toml_string(action)} is named twice", "name it once", place=f"[{index}]")
