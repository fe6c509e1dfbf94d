# SPDX-License-Identifier: Apache-2.0
"""The manual pages say what the program does."""

import re
from pathlib import Path

import pytest

from overlaywatch.cli.parser import general_help, parser_of
from overlaywatch.cli.problem import Exit
from overlaywatch.cli.verbs import VERBS, Verb
from overlaywatch.config.fragments import DROP_IN_FOLDERS, MAIN_FILE
from overlaywatch.config.load import load
from overlaywatch.engine.pause import PAUSE_FILE
from overlaywatch.model import LayerState
from tests.tools import CHECKOUT

PROGRAM = (CHECKOUT / "docs/man/overlaywatch.8.md").read_text().replace("\\", "")
FORMAT = (CHECKOUT / "docs/man/overlaywatch.toml.5.md").read_text().replace("\\", "")
MANUAL = (CHECKOUT / "docs/configuration.md").read_text()
SYNOPSIS = PROGRAM.partition("# SYNOPSIS")[2].partition("# DESCRIPTION")[0]


def options_of(verb: Verb) -> set[str]:
    """Every way to spell an option of a verb."""
    return {name for action in parser_of(verb)._actions for name in action.option_strings}


def metavars_of(verb: Verb) -> set[str]:
    """What an option or the verb itself takes."""
    return {action.metavar for action in parser_of(verb)._actions if isinstance(action.metavar, str)}


def chapter(page: str, heading: str) -> str:
    """The text below a heading."""
    found = re.search(rf"^# {re.escape(heading)}\n(.*?)(?=^# |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no heading {heading}"
    return found[1]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_and_option_is_in_the_manual(verb: Verb) -> None:
    """The synopsis has exactly the options of the verb, and each is described."""
    line = re.search(rf"^\| \*\*overlaywatch {verb.name}\*\*(.*)$", SYNOPSIS, re.MULTILINE)
    assert line is not None
    assert set(re.findall(r"--[a-z][a-z.-]*", line[1])) == options_of(verb) - {"--help", "-h"}
    assert metavars_of(verb) <= set(re.findall(r"\*([A-Z_:]+(?:\.tar)?)\*", line[1]))

    assert re.search(rf"^\*\*{verb.name}\*\*", chapter(PROGRAM, "VERBS"), re.MULTILINE)
    described = chapter(PROGRAM, "OPTIONS")
    assert [option for option in options_of(verb) if f"**{option}**" not in described] == []


def test_the_manual_has_no_verb_or_option_of_its_own() -> None:
    """What is gone, or not there yet, is not in the manual either."""
    verbs = re.findall(r"^\| \*\*overlaywatch ([a-z ]+)\*\*", SYNOPSIS, re.MULTILINE)
    described = set(re.findall(r"\*\*(--[a-z][a-z.-]*)\*\*", chapter(PROGRAM, "OPTIONS")))

    assert sorted(verbs) == sorted(verb.name for verb in VERBS)
    assert described == {option for verb in VERBS for option in options_of(verb) if option != "-h"} | {"--version"}


def test_every_exit_status_is_in_the_manual() -> None:
    """Each status that a verb may end with has its entry."""
    described = {int(number) for number in re.findall(r"\*\*(\d+)\*\*", chapter(PROGRAM, "EXIT STATUS"))}

    assert described >= {status.value for status in Exit}


def test_files_are_in_the_manual() -> None:
    """Both pages name the files of the configuration, the first the pause file, too."""
    for path in (*DROP_IN_FOLDERS, MAIN_FILE):
        assert f"/{path}" in chapter(PROGRAM, "FILES")
        assert f"/{path}" in chapter(FORMAT, "DESCRIPTION")
    assert f"/run/overlaywatch/{PAUSE_FILE}" in chapter(PROGRAM, "FILES")


def parts(text: str, level: str) -> dict[str, str]:
    """Heading to text, for the headings of one level; backquotes are left out."""
    found = re.findall(rf"^{level} (.+?)\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    return {heading.replace("`", ""): body for heading, body in found}


def keys_in_the_handbook() -> dict[str, set[str]]:
    """Section, or type of action, to keys, as docs/configuration.md has them (held against the code elsewhere)."""
    sections = {**parts(MANUAL, "##"), **parts(parts(MANUAL, "##")["[action.NAME]"], "###")}
    rows = {heading: set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) for heading, text in sections.items()}
    del rows["[action.NAME]"]
    return {heading: keys for heading, keys in rows.items() if keys}


@pytest.mark.parametrize("section", sorted(keys_in_the_handbook()))
def test_every_key_is_in_the_manual(section: str) -> None:
    """overlaywatch.toml(5) has every section and every key of docs/configuration.md, and no others."""
    sections = {**parts(FORMAT, "#"), **parts(FORMAT, "##")}
    entries = re.findall(r"^(\*\*.+\*\*)\n:", sections[section], re.MULTILINE)

    assert set(re.findall(r"\*\*(\w+)\*\*", " ".join(entries))) == keys_in_the_handbook()[section]


def test_every_state_is_in_the_manual() -> None:
    """The words of `state_is`."""
    described = set(re.findall(r"\*(\w+)\*", chapter(FORMAT, "[[policy.stage]]")))

    assert {state.value for state in LayerState} <= described


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    """The example of overlaywatch.toml(5) can be used as it is."""
    example = chapter(FORMAT, "EXAMPLE")
    file = tmp_path / "example.toml"
    file.write_text("".join(f"{line[4:]}\n" for line in example.splitlines() if line.startswith("    ")))

    settings, warnings = load(explicit=file)

    assert ([policy.name for policy in settings.policies], warnings) == (["root"], ())


def test_help_and_manual_agree_on_the_verbs() -> None:
    """`overlaywatch --help` lists the verbs of the manual."""
    for verb in VERBS:
        assert f"  {verb.name} {verb.takes}".rstrip() in general_help()
