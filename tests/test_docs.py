# SPDX-License-Identifier: Apache-2.0
"""Papers that can be wrong: links that lead nowhere, rules that Prometheus refuses, metrics that do not exist."""

import re
from pathlib import Path

import pytest

from overlaywatch.livesystem import SYSTEMS
from tests.tools import CHECKOUT, output_of

PAPERS = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")
METRIC = re.compile(r"overlaywatch_[a-z_]+")


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: str(paper.relative_to(CHECKOUT)))
def test_links_lead_somewhere(paper: Path) -> None:
    """Each relative link of each paper is a file or folder of the project."""
    missing = [link for link in LINK.findall(paper.read_text()) if not (paper.parent / link).exists()]

    assert missing == []


def test_alert_rules_are_what_prometheus_takes() -> None:
    """promtool has nothing to say about docs/alerts.yml."""
    done = output_of(["promtool", "check", "rules", CHECKOUT / "docs" / "alerts.yml"])

    assert done.returncode == 0, done.stdout


def test_alert_rules_fire_for_what_they_are_for() -> None:
    """Prometheus evaluates each rule on a healthy machine and on one in trouble."""
    done = output_of(["promtool", "test", "rules", CHECKOUT / "tests" / "alerts.test.yml"])

    assert done.returncode == 0, done.stdout


def test_every_alert_has_its_line_in_the_runbook_and_its_case() -> None:
    """Whoever is called finds what to do; a rule without a case could have stopped firing long ago."""
    rules = (CHECKOUT / "docs" / "alerts.yml").read_text()
    alerts = set(re.findall(r"- alert: (\w+)", rules))
    runbook = (CHECKOUT / "docs" / "operations.md").read_text()
    cases = (CHECKOUT / "tests" / "alerts.test.yml").read_text()

    assert set(re.findall(r"^\| `(\w+)` \|", runbook, re.MULTILINE)) == alerts
    assert set(re.findall(r"- alertname: (\w+)", cases)) == alerts
    assert set(re.findall(r"{alertname: (\w+)", cases)) == alerts


@pytest.mark.parametrize("paper", ["README.md", "docs/alerts.yml", "docs/operations.md"])
def test_metrics_that_are_named_exist(paper: str) -> None:
    """Every metric of the examples is in docs/metrics.md, which is generated from the code."""
    known = set(METRIC.findall((CHECKOUT / "docs" / "metrics.md").read_text()))

    assert set(METRIC.findall((CHECKOUT / paper).read_text())) <= known


def test_readme_is_one_screen_and_names_the_commands_of_the_makefile() -> None:
    """At most 120 lines, and every `make` that it tells of is a target."""
    text = (CHECKOUT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))

    assert len(text.splitlines()) <= 120
    assert {"run", "test", "demo"} <= set(re.findall(r"[`\n]make ([a-z]+)", text)) <= targets


def test_contributing_names_every_target_and_every_folder_of_tests() -> None:
    """What can be done with a checkout is there or in the README; each folder of tests has its line, and no other."""
    text = (CHECKOUT / "CONTRIBUTING.md").read_text()
    shown = set(re.findall(r"^([a-z]+):.*##", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z]+(?: [a-z]+)*) ", text + (CHECKOUT / "README.md").read_text()))
    folders = {path.name for path in (CHECKOUT / "tests").iterdir() if path.is_dir() and path.name[0] not in "._"}

    assert shown - {word for words in named for word in words.split()} <= {"help", "install", "clean"}
    assert set(re.findall(r"`tests/([a-z]+)`", text)) == folders


def test_every_live_system_has_its_line_as_the_code_has_it() -> None:
    """The same names in the same order, what helps now, and the parameter of the next boot."""
    text = (CHECKOUT / "docs" / "live-systems.md").read_text()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| `")]

    rows = [(system.name, system.now.value, system.next_boot) for system in SYSTEMS]
    assert [(line[0].strip("`"), line[5], line[6].strip("`")) for line in lines] == rows
