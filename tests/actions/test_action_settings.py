# SPDX-License-Identifier: Apache-2.0
"""The keys of each type of action: what is wrong is said with file and key, and the manual lists them all."""

import contextlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from overlaywatch.actions import denied
from overlaywatch.actions.alertmanager import AlertmanagerAction, AlertmanagerSettings
from overlaywatch.actions.globs import parse_pattern
from overlaywatch.actions.purge import PurgeAction, PurgeSettings
from overlaywatch.actions.reboot import RebootAction, RebootSettings
from overlaywatch.actions.run import RunAction, RunSettings
from overlaywatch.actions.webhook import WebhookAction, WebhookSettings
from overlaywatch.config.errors import ConfigErrors
from overlaywatch.config.table import Table
from overlaywatch.ports import Action, ActionContext, Notifier
from overlaywatch.units import MIB
from tests.actions.facts import Desk, errors, table

Factory = Callable[[Table, ActionContext], Action]
FACTORIES: Final[dict[str, Factory]] = {
    "alertmanager": AlertmanagerAction.from_table,
    "webhook": WebhookAction.from_table,
    "purge": PurgeAction.from_table,
    "run": RunAction.from_table,
    "reboot": RebootAction.from_table,
}
ENOUGH: Final[dict[str, dict[str, object]]] = {
    "alertmanager": {"urls": ["http://alertmanager:9093"]},
    "webhook": {"url": "http://127.0.0.1:8080/overlay"},
    "purge": {"paths": ["/var/tmp/**"]},
    "run": {"command": ["journalctl", "--vacuum-size=16M"]},
    "reboot": {},
}
MANUAL: Final = (Path(__file__).resolve().parents[2] / "docs/configuration.md").read_text()


def test_the_least_that_must_be_written_is_enough() -> None:
    """Each type has defaults for everything else, and they are these."""
    assert AlertmanagerSettings.from_table(table(**ENOUGH["alertmanager"])) == AlertmanagerSettings(
        ("http://alertmanager:9093",), {}, {}, 10.0
    )
    assert WebhookSettings.from_table(table(**ENOUGH["webhook"])) == WebhookSettings(
        "http://127.0.0.1:8080/overlay", {}, 10.0
    )
    assert PurgeSettings.from_table(table(**ENOUGH["purge"])) == PurgeSettings(
        ("/var/tmp/**",), 3600.0, None, 10_000, None, 30.0
    )
    assert RunSettings.from_table(table(**ENOUGH["run"])) == RunSettings(("journalctl", "--vacuum-size=16M"), 30.0)
    assert RebootSettings.from_table(table(**ENOUGH["reboot"])) == RebootSettings(60.0, 1800.0, 1, 86400.0)


def test_keys_of_the_contract_are_understood() -> None:
    """What users have written by the contract's example means what it says."""
    purge = PurgeSettings.from_table(
        table(paths=["/var/cache/apt/archives/*.deb", "/var/tmp/**"], older_than="1h", until_headroom="256MiB")
    )
    assert (purge.older_than, purge.until_headroom) == (3600.0, 256 * MIB)
    budget = {"count": 1, "window": "24h"}
    reboot = RebootSettings.from_table(table(grace="60s", min_uptime="30m", max_per=budget))
    assert (reboot.grace, reboot.min_uptime, reboot.count, reboot.window) == (60.0, 1800.0, 1, 86400.0)


@pytest.mark.parametrize("kind", FACTORIES)
def test_actions_are_what_the_engine_expects(kind: str) -> None:
    """Name, type, and which of them change the machine or take back what they told."""
    action = FACTORIES[kind](table(**ENOUGH[kind]), Desk().context())
    tells = kind in {"alertmanager", "webhook"}
    assert (action.name, action.type, action.changes, action.resumable) == ("it", kind, not tells, kind == "reboot")
    assert isinstance(action, Notifier) is tells


WRONG: Final = [
    ("alertmanager", {}, "action.it.urls: is missing"),
    ("alertmanager", {"urls": []}, "action.it.urls: "),
    ("alertmanager", {"urls": "http://a"}, "action.it.urls: "),
    ("alertmanager", {"urls": ["alertmanager:9093"]}, "action.it.urls[0]: alertmanager:9093 is not a URL"),
    ("alertmanager", {"urls": ["http://a", "ftp://b"]}, "action.it.urls[1]: ftp://b is not a URL"),
    ("alertmanager", {"urls": ["http://a:99999"]}, "action.it.urls[0]: http://a:99999 is not a URL"),
    ("alertmanager", {"urls": ["http://user:pw@a"]}, "action.it.urls[0]: "),
    ("alertmanager", {"urls": ["http://a"], "labels": {"a-b": "c"}}, "action.it.labels.a-b: a-b is not a name"),
    ("alertmanager", {"urls": ["http://a"], "labels": {"stage": "c"}}, "action.it.labels.stage: stage is set by"),
    ("alertmanager", {"urls": ["http://a"], "labels": {"a": 1}}, "action.it.labels.a: "),
    ("alertmanager", {"urls": ["http://a"], "annotations": "x"}, "action.it.annotations: "),
    ("alertmanager", {"urls": ["http://a"], "annotations": {"1a": "x"}}, "action.it.annotations.1a: "),
    ("alertmanager", {"urls": ["http://a"], "timeout": "0s"}, "action.it.timeout: "),
    ("alertmanager", {"urls": ["http://a"], "url": "http://a"}, 'action.it.url: unknown key; did you mean "urls"?'),
    ("webhook", {}, "action.it.url: is missing"),
    ("webhook", {"url": ["http://a"]}, "action.it.url: "),
    ("webhook", {"url": "http://"}, "action.it.url: http:// is not a URL"),
    ("webhook", {"url": "http://me:hunter2@a/x?token=hunter2"}, "action.it.url: http://… is not a URL"),
    ("webhook", {"url": "http://a:0/x/hunter2?token=hunter2"}, "action.it.url: http://a:0… is not a URL"),
    ("webhook", {"url": "a/x/hunter2"}, "action.it.url: a… is not a URL"),
    ("webhook", {"url": "http://a b/"}, "action.it.url: http://a b… is not a URL"),
    ("webhook", {"url": "http://a", "labels": {"policy": "x"}}, "action.it.labels.policy: "),
    ("webhook", {"url": "http://a", "timeout": 5}, "action.it.timeout: "),
    ("purge", {}, "action.it.paths: is missing"),
    ("purge", {"paths": ["var/tmp/*"]}, "action.it.paths[0]: var/tmp/* is not absolute"),
    ("purge", {"paths": ["/var/tmp/x", "/var/tmp/"]}, "action.it.paths[1]: /var/tmp/ names a folder"),
    ("purge", {"paths": ["/var/tmp/*", 3]}, "action.it.paths[1]: "),
    ("purge", {"paths": ["/**"]}, "action.it.paths[0]: /** begins in /, which is too wide"),
    ("purge", {"paths": ["/etc/*.bak"]}, "action.it.paths[0]: /etc/*.bak begins in /etc, where nothing is ever purged"),
    ("purge", {"paths": ["/var/tmp/*"], "older_than": "1 week"}, "action.it.older_than: "),
    ("purge", {"paths": ["/var/tmp/*"], "until_headroom": "80%"}, "action.it.until_headroom: "),
    ("purge", {"paths": ["/var/tmp/*"], "until_headroom": 0}, "action.it.until_headroom: "),
    ("purge", {"paths": ["/var/tmp/*"], "max_files": 0}, "action.it.max_files: "),
    ("purge", {"paths": ["/var/tmp/*"], "max_bytes": "-1"}, "action.it.max_bytes: "),
    ("purge", {"paths": ["/var/tmp/*"], "timeout": "1d"}, "action.it.timeout: "),
    ("run", {}, "action.it.command: is missing"),
    ("run", {"command": "journalctl --vacuum-size=16M"}, "action.it.command: "),
    ("run", {"command": ["bin/x"]}, "action.it.command[0]: bin/x is a relative path"),
    ("run", {"command": ["./x"]}, "action.it.command[0]: ./x is a relative path"),
    ("run", {"command": ["x", "a\0b"]}, "action.it.command[1]: "),
    ("run", {"command": ["x"], "timeout": "2h"}, "action.it.timeout: "),
    ("run", {"command": ["x"], "shell": True}, "action.it.shell: unknown key"),
    ("reboot", {"grace": "2h"}, "action.it.grace: "),
    ("reboot", {"grace": -1}, "action.it.grace: "),
    ("reboot", {"min_uptime": "30d"}, "action.it.min_uptime: "),
    ("reboot", {"max_per": 1}, "action.it.max_per: "),
    ("reboot", {"max_per": {"count": 0}}, "action.it.max_per.count: "),
    ("reboot", {"max_per": {"window": "1s"}}, "action.it.max_per.window: "),
    ("reboot", {"max_per": {"per": "1d"}}, "action.it.max_per.per: unknown key"),
]


@pytest.mark.parametrize(("kind", "values", "expected"), WRONG)
def test_wrong_values_are_errors_with_file_and_key(kind: str, values: dict[str, object], expected: str) -> None:
    """One error, which names the file, the key, and what was expected instead."""
    found = errors(FACTORIES[kind], **values)
    assert [error.startswith(f"x.toml: {expected}") for error in found] == [True], found


@pytest.mark.parametrize("kind", FACTORIES)
def test_all_errors_are_told_at_once(kind: str) -> None:
    """Every key of every type is checked in the same run."""
    keys = known_keys(kind)
    assert {
        re.split(r"[:\[.]", error.removeprefix("x.toml: action.it."))[0]
        for error in errors(FACTORIES[kind], **dict.fromkeys(keys, 0.5))
    } == keys


@pytest.mark.parametrize("kind", FACTORIES)
def test_manual_lists_exactly_the_keys_of_the_code(kind: str) -> None:
    """A key that is new, or gone, must be so in docs/configuration.md."""
    found = re.search(rf"^### `{kind}`\n(.*?)(?=^##)", MANUAL, re.MULTILINE | re.DOTALL)
    assert found is not None
    assert set(re.findall(r"^\| `(\w+)` \|", found[1], re.MULTILINE)) == known_keys(kind)


def known_keys(kind: str) -> set[str]:
    """The keys that the code asks for."""
    asked = table()
    with contextlib.suppress(ConfigErrors):
        FACTORIES[kind](asked, Desk().context())
    return set(asked.known)


def test_unwise_values_are_warned_of() -> None:
    """They are allowed, because tests and odd machines need them."""
    purge, reboot = table(paths=["/var/tmp/*"], older_than="0s"), table(min_uptime="0s")
    PurgeSettings.from_table(purge)
    RebootSettings.from_table(reboot)
    assert "older_than" in purge.warnings[0]
    assert "again and again" in reboot.warnings[0]


@pytest.mark.parametrize("tree", [*denied.TREES, *denied.own_trees()])
def test_nothing_in_protected_trees_can_be_named(tree: str) -> None:
    """Neither the tree, nor anything in it, nor one file of it, whatever the wildcard."""
    for pattern in (f"{tree}/**", f"{tree}/*", f"{tree}/a/b/*.log", f"{tree}/file", tree):
        assert errors(PurgeAction.from_table, paths=[pattern]), pattern


@pytest.mark.parametrize("wide", denied.TOO_WIDE)
def test_patterns_cannot_begin_too_wide(wide: str) -> None:
    """Right in these folders everything of the system lies."""
    for pattern in ("**", "*", "*/cache/**", "**/*.log"):
        assert errors(PurgeAction.from_table, paths=[f"{wide.rstrip('/')}/{pattern}"]), pattern


@pytest.mark.parametrize(
    "pattern",
    [
        "/var/cache/apt/archives/*.deb",
        "/var/tmp/**",
        "/var/log/**/*.gz",
        "/var/lib/systemd/coredump/*",
        "/run/log/journal/**",
        "/srv/scratch/**",
        "/etcetera/*",
        "/homeless/*",
        "/tmp/**",
    ],
)
def test_what_people_purge_is_allowed(pattern: str) -> None:
    """The protected trees are whole names, not beginnings of names."""
    assert errors(PurgeAction.from_table, paths=[pattern]) == []


def test_daemon_protects_itself() -> None:
    """Its own code and the interpreter's environment, wherever they are installed."""
    package = str(Path(denied.__file__).resolve().parents[1])
    for place in (package, str(Path(sys.prefix).resolve())):
        assert denied.refusal(parse_pattern(f"{place}/x/*"), denied.own_trees())
