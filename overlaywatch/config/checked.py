# SPDX-License-Identifier: Apache-2.0
"""The merged text becomes Settings, or all the reasons why it cannot.

This file must not know files, or what the types of actions want: `check_action`, if it is given,
reads an ActionTable, returns its warnings or raises ConfigErrors, and both are told together with all
others (`table.warnings` after `table.finish()`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from overlaywatch.config.defaults import Defaults
from overlaywatch.config.errors import ConfigErrors
from overlaywatch.config.merge import Merged
from overlaywatch.config.policies import NAME, NAME_EXPECTED, read_policies
from overlaywatch.config.settings import (
    ActionsMode,
    ActionTable,
    DaemonSettings,
    DmReaderChoice,
    Settings,
    WatchSettings,
)
from overlaywatch.config.table import Findings, Table

CheckAction = Callable[[ActionTable], Sequence[str]]

RESERVED: Final = ("guard", "fleetlock")

SLOW_INTERVAL: Final = 60.0
"""Seconds. In that time a writer at 100 MB/s fills 6 GB; an interval above it earns a warning."""


def check(merged: Merged, check_action: CheckAction | None = None) -> tuple[Settings, tuple[str, ...]]:
    """The settings, and warnings about unwise ones. Raises ConfigErrors with everything that is wrong."""
    findings = Findings(list(merged.errors))
    root = Table(merged.values, origins=merged.origins, findings=findings)
    settings = _read(root, merged)
    for key in RESERVED:
        root.reserve(key, "reserved for a later version", "remove it")
    root.close()
    if check_action is not None:
        _check_actions(settings.actions, check_action, findings)
    if findings.errors:
        raise ConfigErrors(findings.errors)
    return settings, root.warnings


def defaults_of(merged: Merged, of_action: Callable[[ActionTable], Defaults]) -> Defaults:
    """What is in force without being written, whatever else is right or wrong; `of_action` tells it of one action."""
    root = Table(merged.values, origins=merged.origins)
    actions = _read(root, merged).actions
    return {**root.defaults, **{path: keys for one in actions for path, keys in of_action(one).items()}}


def _read(root: Table, merged: Merged) -> Settings:
    """Everything but what the types of actions want. With placeholders, if there are errors among the findings."""
    daemon = read_daemon(root.table("daemon", expected="expected [daemon]"))
    watch = read_watch(root.table("watch", expected="expected [watch]"))
    section = root.table("action", expected="expected [action.NAME]")
    actions = read_actions(section)
    policies = read_policies(root, section.keys, watch)
    return Settings(daemon, watch, actions, policies, dict(merged.origins), merged.fingerprint)


def read_daemon(table: Table) -> DaemonSettings:
    """`[daemon]`."""
    usual = DaemonSettings()
    interval = table.duration("interval", default=usual.interval, minimum=1.0, maximum=3600.0)
    if interval > SLOW_INTERVAL:
        table.warn("interval", "more than a minute between two looks: a burst can fill an overlay in between")
    return DaemonSettings(
        interval=interval,
        actions=table.choice("actions", ActionsMode, default=usual.actions),
        dm_reader=table.choice("dm_reader", DmReaderChoice, default=usual.dm_reader),
    )


def read_watch(table: Table) -> WatchSettings:
    """`[watch]`. A mount point in both lists is excluded: a stronger file can so take one out."""
    return WatchSettings(table.path_strings("include", default=()), table.path_strings("exclude", default=()))


def read_actions(section: Table) -> tuple[ActionTable, ...]:
    """`[action.NAME]`: only the name and the type are read here; actions that lack them are left out."""
    actions = [_read_action(section, name) for name in section.keys]
    return tuple(action for action in actions if action is not None)


def _read_action(section: Table, name: str) -> ActionTable | None:
    table = section.table(name, expected="expected [action.NAME], and its keys below")
    if not isinstance(section.raw(name), Mapping):
        return None
    if NAME.fullmatch(name) is None:
        section.error(name, "cannot be the name of an action", NAME_EXPECTED)
        table.rest()
        return None
    kind = table.string("type", expected='expected the type of the action, such as "purge"')
    values = table.rest()
    return ActionTable(name, kind, values, table.origins_within()) if kind else None


def _check_actions(actions: Sequence[ActionTable], check_action: CheckAction, findings: Findings) -> None:
    for action in actions:
        try:
            findings.warnings += check_action(action)
        except ConfigErrors as error:
            findings.errors += error.errors
