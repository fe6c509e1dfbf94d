# SPDX-License-Identifier: Apache-2.0
"""The documentation and the sample file say what the code does."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from overlaywatch.config.checked import read_daemon, read_watch
from overlaywatch.config.fragments import DROP_IN_FOLDERS, MAIN_FILE
from overlaywatch.config.load import load
from overlaywatch.config.policies import read_policy, read_stage
from overlaywatch.config.settings import ActionsMode, DaemonSettings, DmReaderChoice, WatchSettings
from overlaywatch.config.table import Table
from overlaywatch.model import LayerState

HERE = Path(__file__).resolve().parents[2]
MANUAL = (HERE / "docs/configuration.md").read_text()
SAMPLE = HERE / "packaging/overlaywatch.toml.example"
ROW = re.compile(r"\| `(?P<key>\w+)` \|")


READERS: dict[str, Callable[[Table], object]] = {
    "[daemon]": read_daemon,
    "[watch]": read_watch,
    "[[policy]]": lambda table: read_policy(table, (), WatchSettings()),
    "[[policy.stage]]": lambda table: read_stage(table, (), set()),
}


def asked_keys(section: str) -> set[str]:
    """The keys that the code asks for when it reads a section."""
    table = Table({})
    READERS[section](table)
    return set(table.known)


def chapter(section: str) -> str:
    """The part of the manual under the heading of a section."""
    found = re.search(rf"^## `{re.escape(section)}`\n(.*?)(?=^## )", MANUAL, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no heading for {section}"
    return found[1]


def uncommented() -> str:
    """The sample file with every setting in force."""
    return "\n".join(line[1:] if re.match(r"#[^ #\n]", line) else line for line in SAMPLE.read_text().splitlines())


@pytest.mark.parametrize("section", list(READERS))
def test_manual_lists_exactly_the_keys_of_the_code(section: str) -> None:
    """A key that is new, or gone, must be so in docs/configuration.md."""
    assert set(ROW.findall(chapter(section))) == asked_keys(section) != set()


@pytest.mark.parametrize("section", list(READERS))
def test_sample_shows_every_key(section: str) -> None:
    """Every key stands in the sample file as a setting that can be uncommented."""
    keys = asked_keys(section) - {"stage"}
    assert keys - {key for key in keys if re.search(rf"^#{key} = ", SAMPLE.read_text(), re.MULTILINE)} == set()


@pytest.mark.parametrize("words", [LayerState, ActionsMode, DmReaderChoice])
def test_manual_lists_every_word(words: type[LayerState] | type[ActionsMode] | type[DmReaderChoice]) -> None:
    """Closed lists of words are complete in the manual."""
    assert [word.value for word in words if f"`{word.value}`" not in MANUAL] == []


def test_manual_and_sample_give_the_defaults_of_the_code(tmp_path: Path) -> None:
    """The defaults of [daemon] in the sample, uncommented, are those of an empty configuration."""
    text = re.sub(r"(?s)^#\[watch\].*", "", SAMPLE.read_text(), flags=re.MULTILINE)
    path = tmp_path / "x.toml"
    path.write_text(re.sub(r"(?m)^#(?=[^ #\n])", "", text))
    assert "interval" in path.read_text()
    assert load(tmp_path, (), path)[0].daemon == DaemonSettings()
    assert '| `interval` | duration | `"10s"` |' in MANUAL
    assert '| `actions` | word | `"on"` |' in MANUAL
    assert '| `dm_reader` | word | `"auto"` |' in MANUAL


def test_manual_names_every_place() -> None:
    """The table of files is in the order in which they are read."""
    places = [f"/{DROP_IN_FOLDERS[0]}/*.toml", f"/{DROP_IN_FOLDERS[1]}/*.toml", f"/{MAIN_FILE}"]
    positions = [MANUAL.index(f"`{place}`") for place in [*places, f"/{DROP_IN_FOLDERS[2]}/*.toml"]]
    assert positions == sorted(positions)


def test_sample_says_nothing_as_it_stands(tmp_path: Path) -> None:
    """Installed unchanged it is the same as no file."""
    assert load(tmp_path, (), SAMPLE)[0].hash == load(tmp_path)[0].hash


def test_sample_is_valid_when_uncommented(tmp_path: Path) -> None:
    """All of it at once is a configuration without an error or a warning."""
    path = tmp_path / "x.toml"
    path.write_text(uncommented())
    settings, warnings = load(tmp_path, (), path)
    assert warnings == ()
    assert [action.type for action in settings.actions] == ["alertmanager", "webhook", "purge", "run", "reboot"]
    assert [stage.name for stage in settings.policies[0].stages] == ["warn", "purge", "last-resort"]


def test_examples_of_the_manual_are_valid(tmp_path: Path) -> None:
    """What is copied from the manual works, and means what the English below it says."""
    blocks = re.findall(r"```toml\n(.*?)```", MANUAL, re.DOTALL)
    assert blocks
    path = tmp_path / "x.toml"
    for block in blocks:
        path.write_text(block)
        settings, warnings = load(tmp_path, (), path)
        assert (len(settings.policies[0].stages), warnings) == (3, ())


@pytest.mark.parametrize("kind", ["alertmanager", "webhook", "purge", "run", "reboot"])
def test_manual_has_a_chapter_for_each_type_of_action(kind: str) -> None:
    """Whoever looks for a type finds its heading."""
    assert f"\n### `{kind}`\n" in MANUAL
