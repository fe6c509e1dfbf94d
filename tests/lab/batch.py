# SPDX-License-Identifier: Apache-2.0
"""A batch of tests in a guest: boots it with them, reads its reports as they come, boots again if it dies.

It must not know how pytest shows results here; it only turns what the guest wrote into reports.
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

TIMEOUT: Final = 3600.0
"""Seconds for one guest and all its tests; it is killed when it overstays."""
SILENCE: Final = 240.0
"""Seconds without a word from the guest after which it hangs: twice what a single test may take in there."""
GRACE: Final = 5.0
"""Seconds for the guest to end by itself when its tests are done: it saves the kernel's log."""
POLL: Final = 0.05
MEMORY: Final = "1G"
OPTIONS: Final = ("-p", "tests.lab.reporter", "-o", "cache_dir=/tmp/pytest-cache", "-q")
PASSED_ON: Final = ("CI",)


class Batch:
    """Tests for one guest. What it leaves is kept in .lab afterwards, in a folder that is called after `name`."""

    def __init__(self, config: pytest.Config, name: str, kind: uml.Init, items: Sequence[pytest.Item]) -> None:
        self._config = config
        self._name = name
        self._kind = kind
        self._items = items
        self._folder = Path(config.rootpath) / ".lab"
        self._running: uml.Running | None = None
        self._results = self._folder
        self._reports: dict[str, list[pytest.TestReport]] = {}

    @property
    def is_started(self) -> bool:
        """Whether its guest was booted."""
        return self._running is not None

    @property
    def is_running(self) -> bool:
        """Whether its guest is at work."""
        return self._running is not None and not self._ended and not self._running.wait(0)

    def start(self) -> None:
        """Boot the guest with all of the batch, if it was not booted yet."""
        if self._running is None:
            self._boot(self._items)

    def _boot(self, items: Sequence[pytest.Item]) -> None:
        self._folder.mkdir(exist_ok=True)
        self._results = Path(tempfile.mkdtemp(prefix="running-", dir=self._folder))
        self._ended = False
        self._unread = ""
        self._offset = 0
        self._errors: list[str] = []
        self._heard = time.monotonic()
        files = dict.fromkeys(item.nodeid.partition("::")[0] for item in items)
        command = (sys.executable, "-m", "pytest", *OPTIONS, *files)
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment["PYTHONPATH"] = str(uml.CHECKOUT)
        guest = uml.Guest(
            command,
            self._results,
            TIMEOUT,
            MEMORY,
            self._kind,
            environment=environment,
            directory=self._config.rootpath,
        )
        self._running = uml.Running(guest)
        # The guest takes longer to boot than this takes to be written.
        (self._results / "selected.json").write_text(json.dumps([item.nodeid for item in items]))

    def reports_of(self, item: pytest.Item) -> Iterator[pytest.TestReport]:
        """The reports of one test, as they come; one made here if the guest ended without them."""
        self.start()
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
                self._go_on_after(item)
                return
            self._wait()

    def _go_on_after(self, item: pytest.Item) -> None:
        """A guest that this test has killed is booted again for those that follow."""
        ending = self._guest().ending()
        rest = self._items[self._items.index(item) + 1 :]
        if rest and ending.status is None and not ending.timed_out:
            self._put_away(f"crashed-{self._name}")
            self._boot(rest)

    def _guest(self) -> uml.Running:
        assert self._running is not None
        return self._running

    def _wait(self) -> None:
        if self._guest().wait(POLL):
            self._ended = True
        elif time.monotonic() - self._heard > SILENCE:
            self._errors.append(f"nothing was heard of it for {SILENCE:.0f} s")
            self._guest().kill()
            self._ended = True
        if self._ended:
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
            self._heard = time.monotonic()
            self._take(json.loads(line))

    def _take(self, value: dict[str, object]) -> None:
        if "collection" in value:
            self._errors.append(f"cannot collect {value['collection']} in the guest:\n{value['error']}")
            return
        # Where and why of a skip: JSON has no tuples, and pytest insists on one.
        if isinstance(where_and_why := value.get("longrepr"), list):
            value["longrepr"] = tuple(where_and_why)
        report = self._config.hook.pytest_report_from_serializable(config=self._config, data=value)
        assert isinstance(report, pytest.TestReport)
        self._reports.setdefault(report.nodeid, []).append(report)

    def _explain(self) -> str:
        return "\n".join([*self._errors, self._guest().ending().explain()])

    def stop(self) -> None:
        """End the guest, in case that the session was interrupted, and keep what it left."""
        if self._running is not None:
            self._running.wait(GRACE)
            self._running.kill()
            self._put_away(f"last-{self._name}")

    def _put_away(self, name: str) -> None:
        shutil.rmtree(self._folder / name, ignore_errors=True)
        self._results.rename(self._folder / name)


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
