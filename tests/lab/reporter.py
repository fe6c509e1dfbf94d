# SPDX-License-Identifier: Apache-2.0
"""The guest's half of the pytest plugin: runs the tests that the host names, and hands over each report.

It must not know the tests. Reports go one JSON line each to /run/lab/reports.jsonl, in pytest's own
serialised form, as soon as they are made, so that a guest that dies leaves all but the last.
"""

import json
from pathlib import Path

import pytest

RESULTS = Path("/run/lab")


class Reporter:
    """Writes the reports of the selected tests."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._wanted = frozenset(json.loads((RESULTS / "selected.json").read_text()))
        self._reports = (RESULTS / "reports.jsonl").open("a")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep what the host selected; its -k, -m and node ids have been at work there."""
        items[:] = [item for item in items if item.nodeid in self._wanted]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One line for each phase of each test."""
        self._write(self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported in the guest is an answer, too."""
        if report.failed:
            self._write({"collection": report.nodeid, "error": str(report.longrepr)})

    def _write(self, value: object) -> None:
        self._reports.write(json.dumps(value) + "\n")
        self._reports.flush()

    def pytest_unconfigure(self) -> None:
        """The last line is written; close the file."""
        self._reports.close()


def pytest_configure(config: pytest.Config) -> None:
    """Register the reporter."""
    config.pluginmanager.register(Reporter(config), "lab-reporter")
