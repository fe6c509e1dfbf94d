# SPDX-License-Identifier: Apache-2.0
"""From words to a verb, and from what goes wrong to a message and an exit status."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from overlaywatch import __version__
from overlaywatch.cli.verbs import VERBS
from overlaywatch.model import SourceReport, Tick
from tests.cli import plans, ticks
from tests.cli.worlds import Stage
from tests.tools import CHECKOUT

SEE = "see 'overlaywatch --help'"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), f"overlaywatch: a verb is missing; try 'overlaywatch status', or {SEE}"),
        (("statsu",), "overlaywatch: statsu: no such verb; did you mean 'status'?"),
        (("dance",), f"overlaywatch: dance: no such verb; {SEE}"),
        (("\x1b[2J",), rf"overlaywatch: \x1b[2J: no such verb; {SEE}"),
        (("config",), f"overlaywatch: config: expected 'config check' or 'config show'; {SEE}"),
        (("config", "edit"), f"overlaywatch: config: expected 'config check' or 'config show'; {SEE}"),
        (
            ("status", "--jso"),
            "overlaywatch: status: unrecognized arguments: --jso; see 'overlaywatch status --help'",
        ),
        (
            ("status", "--color=mauve"),
            (
                "overlaywatch: status: argument --color: invalid choice: 'mauve' "
                "(choose from 'auto', 'always', 'never'); see 'overlaywatch status --help'"
            ),
        ),
        (("simulate",), f"overlaywatch: simulate: no such verb; {SEE}"),
    ],
)
def test_wrong_usage_says_what_to_do(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    """One line on standard error, nothing on standard output, exit status 2; no option is guessed."""
    stage = Stage(tmp_path)

    assert stage.run(*words) == 2
    # Python 3.12 no longer quotes the choices.
    assert stage.complained.rstrip("\n") in (told, told.replace("'auto', 'always', 'never'", "auto, always, never"))
    assert stage.said == ""


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("help",)])
def test_help_names_every_verb(words: tuple[str, ...], tmp_path: Path) -> None:
    """`--help` fits 80 columns and shows each verb with what it does."""
    stage = Stage(tmp_path)

    assert stage.run(*words) == 0
    for verb in VERBS:
        assert any(line.startswith(f"  {verb.name} ") and verb.summary in line for line in stage.said.splitlines())
    assert max(map(len, stage.said.splitlines())) <= 80


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_verb_has_help(verb: str, tmp_path: Path) -> None:
    """`overlaywatch VERB --help` goes to standard output and ends with 0."""
    stage = Stage(tmp_path)

    assert stage.run(*verb.split(), "--help") == 0
    assert stage.said.startswith(f"usage: overlaywatch {verb} ")
    assert stage.complained == ""


def test_version(tmp_path: Path) -> None:
    """`--version` is the version of the package."""
    stage = Stage(tmp_path)

    assert (stage.run("--version"), stage.said) == (0, f"overlaywatch {__version__}\n")


def blind() -> Tick:
    """A look in which the mount table could not be read."""
    tick = ticks.nothing_watched()
    return replace(tick, survey=replace(tick.survey, sources=(SourceReport("mounts", False, 0.0, "it is gone"),)))


def root_only() -> Tick:
    """The unprivileged look, with only `/` watched."""
    tick = ticks.unprivileged()
    return replace(tick, verdicts=tick.verdicts[:1])


@pytest.mark.parametrize(
    ("tick", "status", "of_run"),
    [
        (ticks.fresh, 0, 0),
        (ticks.filling, 0, 0),
        (ticks.overflowed, 1, 0),
        (ticks.invalid, 1, 0),
        (ticks.unprivileged, 0, 0),
        (root_only, 3, None),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_exit_status_is_the_answer(
    tick: Callable[[], Tick], status: int, of_run: int | None, form: tuple[str, ...], tmp_path: Path
) -> None:
    """0, 1 if a layer is broken, 3 if no headroom is known at all; `explain` speaks of what was asked only."""
    assert Stage(tmp_path, tick).run("status", *form) == status
    assert Stage(tmp_path, tick).run("explain", "/", *form) == (3 if tick is ticks.unprivileged else status)
    if of_run is not None:
        assert Stage(tmp_path, tick).run("explain", "/run/user", *form) == of_run


@pytest.mark.parametrize(("tick", "status"), [(ticks.nothing_watched, 0), (blind, 3)])
def test_nothing_to_watch_is_an_answer_only_for_those_who_could_look(
    tick: Callable[[], Tick], status: int, tmp_path: Path
) -> None:
    """A read-only machine is fine; a mount table that cannot be read is not."""
    assert Stage(tmp_path, tick).run("status") == status
    assert Stage(tmp_path, tick).run("plan") == status


def test_plan_for_programs(tmp_path: Path) -> None:
    """Each plan with its steps, its reason, and its refusal or null; a plan is no bad news."""
    stage = Stage(tmp_path, ticks.filling, plans.some(ticks.filling()))

    assert stage.run("plan", "--json") == 0
    document = json.loads(stage.said)
    assert (document["version"], document["actions"], document["paused"]) == (1, "on", False)
    assert [(plan["action"], plan["stage"], len(plan["steps"]), plan["refusal"]) for plan in document["plans"]] == [
        ("free-caches", "purge", 2, None),
        ("reboot", "purge", 0, "up for 12 min, which is less than min_uptime (30 min)"),
        ("page", "warn", 1, None),
    ]


GOOD = """
[daemon]
interval = "5s"
[action.page]
type = "webhook"
url = "http://127.0.0.1:1/"
[[policy]]
name = "root"
[[policy.stage]]
name = "warn"
used_above = "70%"
actions = ["page"]
"""


def test_right_configuration_is_summed_up(tmp_path: Path) -> None:
    """What was read, in a line, or as JSON."""
    file = tmp_path / "good.toml"
    file.write_text(GOOD)
    words, form = Stage(tmp_path), Stage(tmp_path)

    assert words.run("config", "check", str(file)) == 0
    assert words.said == f"ok: 1 action, 1 policy with 1 stage in 1 file: {file}\n"
    assert form.run("config", "check", str(file), "--json") == 0
    assert json.loads(form.said) == {"version": 1, "ok": True, "files": [str(file)], "warnings": [], "errors": []}


def test_no_configuration_is_fine(tmp_path: Path) -> None:
    """Without any file the daemon watches, and the check says so."""
    stage = Stage(tmp_path)

    assert stage.run("config", "check") == 0
    assert stage.said == "ok: there is no configuration; overlaywatch watches, exports, and changes nothing\n"


@pytest.mark.parametrize("verb", ["config check FILE", "status --config FILE", "plan --config FILE"])
def test_wrong_configuration_ends_with_78(verb: str, tmp_path: Path) -> None:
    """Every error has a line of its own that names file and key, for every verb that reads the configuration."""
    file = tmp_path / "bad.toml"
    file.write_text('[daemon]\ninterval = 5\nactoins = "on"\n')
    stage = Stage(tmp_path)

    assert stage.run(*verb.replace("FILE", str(file)).split()) == 78
    lines = stage.complained.splitlines()
    assert [line.split(": ")[:3] for line in lines] == [
        ["overlaywatch", str(file), "daemon.interval"],
        ["overlaywatch", str(file), "daemon.actoins"],
    ]
    assert stage.said == ""


def test_wrong_configuration_for_programs(tmp_path: Path) -> None:
    """`config check --json` has file, key, problem and what was expected."""
    file = tmp_path / "bad.toml"
    file.write_text("[daemon]\ninterval = 5\n")
    stage = Stage(tmp_path)

    assert stage.run("config", "check", "--json", str(file)) == 78
    document = json.loads(stage.said)
    assert document["ok"] is False
    assert [(error["file"], error["key"]) for error in document["errors"]] == [(str(file), "daemon.interval")]
    assert set(document["errors"][0]) == {"file", "key", "problem", "expected"}


def test_config_show_names_the_origin_of_values(tmp_path: Path) -> None:
    """As TOML with the file of each value, and as JSON."""
    folder = tmp_path / "etc/overlaywatch"
    folder.mkdir(parents=True)
    (folder / "overlaywatch.toml").write_text('[daemon]\ninterval = "5s"\n')
    words, form = Stage(tmp_path), Stage(tmp_path)

    assert words.run("config", "show") == 0
    first, second, third, *_ = words.said.splitlines()
    assert (first, second) == ("[daemon]", f'interval = "5s"  # from {folder}/overlaywatch.toml')
    assert third == 'actions = "on"  # default'
    assert form.run("config", "show", "--json") == 0
    document = json.loads(form.said)
    assert document["settings"]["daemon"] == {"interval": "5s", "actions": "on", "dm_reader": "auto"}
    assert document["origins"]["daemon.actions"] == "default"
    assert document["origins"]["daemon.interval"] == f"{folder}/overlaywatch.toml"


def test_run_hands_its_options_on(tmp_path: Path) -> None:
    """`run` is given what was said, and nothing is made up."""
    stage = Stage(tmp_path)
    words = ("--web.listen-address", "[::1]:1", "--web.listen-address=off", "--config", "a.toml")

    assert (stage.run("run", *words), stage.run("run")) == (0, 0)
    assert [(options.config, options.listen) for options in stage.ran] == [("a.toml", ("[::1]:1", "off")), (None, ())]


def interrupted() -> Tick:
    """A look during which somebody presses Ctrl-C."""
    raise KeyboardInterrupt


LOOK = "look for why in the kernel's log (dmesg)"


def unreadable() -> Tick:
    """A look that meets an error nobody foresaw."""
    raise OSError(5, "Input/output error", "/proc/self/mountinfo")


@pytest.mark.parametrize(
    ("tick", "status", "told"),
    [
        (interrupted, 130, ""),
        (unreadable, 1, f"overlaywatch: status: /proc/self/mountinfo: Input/output error; {LOOK}\n"),
    ],
)
def test_what_ends_a_verb_early_is_told_without_a_traceback(
    tick: Callable[[], Tick], status: int, told: str, tmp_path: Path
) -> None:
    """Ctrl-C is quiet; an I/O error names its file."""
    stage = Stage(tmp_path, tick)

    assert stage.run("status") == status
    assert stage.complained == told


def program(word: str, stdout: int) -> "subprocess.Popen[str]":
    """The real program."""
    command = [sys.executable, "-m", "overlaywatch", word]
    return subprocess.Popen(command, cwd=CHECKOUT, stdout=stdout, stderr=subprocess.PIPE, text=True)


def test_reader_that_has_gone_is_no_error() -> None:
    """`overlaywatch --help | true` says nothing, and ends as other programs do (128 + SIGPIPE)."""
    reader, writer = os.pipe()
    os.close(reader)
    with program("--help", writer) as running:
        os.close(writer)
        _, complained = running.communicate()

    assert (running.returncode, complained) == (141, "")


def test_full_disk_is_told() -> None:
    """Output that cannot be written ends with 1 and the reason, not with a traceback at exit."""
    with open("/dev/full", "w", encoding="utf-8") as full, program("--help", full.fileno()) as running:
        _, complained = running.communicate()

    told = "overlaywatch: standard output: No space left on device; let it go to where there is room\n"
    assert (running.returncode, complained) == (1, told)
