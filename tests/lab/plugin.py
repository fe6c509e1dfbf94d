# SPDX-License-Identifier: Apache-2.0
"""The host's half of the lab: tests marked `kernel` run in one guest, and look as if they had run here.

Where they run: in the guest itself or on a machine with root and device-mapper, directly; else in User
Mode Linux; else they are skipped at home and fail with CI=true. OVERLAYWATCH_LAB=uml asks for the
guest also where they could run directly. Tests marked `kernel(lab=True)` would hurt a real machine
(they end its memory, say) and run in the guest only. Those marked `boots` boot guests of their own.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.lab import uml

TIMEOUT: Final = 300.0
"""Seconds for the whole folder; the guest is killed when it overstays."""
GRACE: Final = 5.0
"""Seconds for the guest to end by itself when its tests are done: it saves the kernel's log."""
POLL: Final = 0.05
MEMORY: Final = "1G"


class Lab:
    """The guest in which the kernel tests of this session run; booted when the first is due."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._folder = Path(config.rootpath) / ".lab"
        self._results = self._folder
        self._running: uml.Running | None = None
        self._ended = False
        self._unread = ""
        self._offset = 0
        self._reports: dict[str, list[pytest.TestReport]] = {}
        self._errors: list[str] = []

    def start(self, items: Sequence[pytest.Item]) -> None:
        """Boot the guest with these tests, in this order."""
        self._folder.mkdir(exist_ok=True)
        self._results = Path(tempfile.mkdtemp(prefix="running-", dir=self._folder))
        files = tuple(dict.fromkeys(item.nodeid.partition("::")[0] for item in items))
        options = ("-p", "tests.lab.reporter", "-o", "cache_dir=/tmp/pytest-cache", "-q")
        command = (sys.executable, "-m", "pytest", *options, *files)
        kept = {name: os.environ[name] for name in ("CI",) if name in os.environ}
        guest = uml.Guest(command, self._results, TIMEOUT, MEMORY, environment=kept)
        self._running = uml.Running(guest)
        # The guest takes longer to boot than this takes to be written.
        (self._results / "selected.json").write_text(json.dumps([item.nodeid for item in items]))

    def reports_of(self, item: pytest.Item) -> Iterator[pytest.TestReport]:
        """The reports of one test, as they come; one made here if the guest ended without them."""
        seen = 0
        while True:
            self._read()
            mine = self._reports.get(item.nodeid, [])
            yield from mine[seen:]
            seen = len(mine)
            if mine and mine[-1].when == "teardown":
                return
            if self._ended:
                yield failure(item, self._explain())
                return
            self._wait()

    def _wait(self) -> None:
        assert self._running is not None
        if self._running.wait(POLL):
            self._ended = True
            self._read()

    def _read(self) -> None:
        """Take in the lines that the guest has written since the last look."""
        try:
            with (self._results / "reports.jsonl").open() as reports:
                reports.seek(self._offset)
                self._unread += reports.read()
                self._offset = reports.tell()
        except FileNotFoundError:
            return
        *lines, self._unread = self._unread.split("\n")
        for line in lines:
            self._take(json.loads(line))

    def _take(self, value: dict[str, object]) -> None:
        if "collection" in value:
            self._errors.append(f"cannot collect {value['collection']} in the guest:\n{value['error']}")
            return
        report = self._config.hook.pytest_report_from_serializable(config=self._config, data=value)
        assert isinstance(report, pytest.TestReport)
        self._reports.setdefault(report.nodeid, []).append(report)

    def _explain(self) -> str:
        assert self._running is not None
        return "\n".join([*self._errors, self._running.ending().explain()])

    def stop(self) -> None:
        """End the guest, in case that the session was interrupted; .lab/last is what the last one left."""
        if self._running is None:
            return
        self._running.wait(GRACE)
        self._running.kill()
        last = self._folder / "last"
        shutil.rmtree(last, ignore_errors=True)
        self._results.rename(last)


class Plugin:
    """Takes the kernel tests out of pytest's hands and puts the guest's reports in."""

    def __init__(self, config: pytest.Config) -> None:
        self._lab = Lab(config)
        self._mine: list[pytest.Item] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """The guest's tests come late: it works on them while the others run here. Then those that boot more."""
        items.sort(key=lambda item: 2 if item.get_closest_marker("boots") else int(for_guest(item)))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Boot the guest with its tests. Their time is bounded in there, and the guest's as a whole here."""
        self._mine = [item for item in session.items if for_guest(item)]
        for item in self._mine:
            item.add_marker(pytest.mark.timeout(0))
        if self._mine and not session.config.option.collectonly:
            self._lab.start(self._mine)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Instead of running a kernel test, wait for what the guest says of it."""
        if item not in self._mine:
            return None
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._lab.reports_of(item):
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_sessionfinish(self) -> None:
        """No guest outlives its session."""
        self._lab.stop()


def failure(item: pytest.Item, text: str) -> pytest.TestReport:
    """The report of a test whose guest is gone."""
    now = time.time()
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords={},
        outcome="failed",
        longrepr=text,
        when="call",
        start=now,
        stop=now,
    )


def inside() -> bool:
    """Whether this process runs in a lab guest."""
    return os.environ.get("OVERLAYWATCH_LAB") == "inside"


def can_run_here() -> bool:
    """Whether this machine has root and device-mapper, and nobody asked for the guest."""
    wanted = os.environ.get("OVERLAYWATCH_LAB", "")
    return inside() or (wanted != "uml" and os.geteuid() == 0 and os.access("/dev/mapper/control", os.R_OK | os.W_OK))


def for_guest(item: pytest.Item) -> bool:
    """Whether a test is one that the guest has to run for us."""
    marker = item.get_closest_marker("kernel")
    if marker is None or inside() or uml.missing():
        return False
    return not can_run_here() or bool(marker.kwargs.get("lab"))


def refusal(item: pytest.Item) -> str:
    """Why a test can run neither here nor in a guest; empty if it can, or needs no kernel of its own."""
    marker = item.get_closest_marker("kernel")
    if inside() or not (marker or item.get_closest_marker("boots")):
        return ""
    if marker and can_run_here() and not marker.kwargs.get("lab"):
        return ""
    reason = uml.missing()
    return f"needs a kernel of its own, and {reason}" if reason else ""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A kernel that is missing is a skip at home and a failure in CI."""
    if reason := refusal(item):
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin, except in the guest itself."""
    if not inside():
        config.pluginmanager.register(Plugin(config), "lab")
