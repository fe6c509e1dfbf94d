# SPDX-License-Identifier: Apache-2.0
"""The host's half of the lab: tests marked `kernel` run in a guest, and look as if they had run here.

Where they run: in the guest itself or on a machine with root and device-mapper, directly; else in User
Mode Linux; else they are skipped at home and fail with CI=true. OVERLAYWATCH_LAB=uml asks for the
guest also where they could run directly. Tests marked `kernel(lab=True)` would hurt a real machine
(they end its memory, say) and run in the guest only; those marked `kernel(systemd=True)` run in a guest
with systemd as process 1, and nowhere else. Those marked `boots` boot guests of their own.
"""

import os
import zlib
from typing import Final

import pytest

from tests.lab import uml
from tests.lab.batch import Batch

MOST_AT_ONCE: Final = 2
"""Guests; each is one busy process, and so is a test that runs here."""

PARTS: Final = 2
"""Into so many guests the tests that need no systemd are divided, file by file: two take half as long as one."""


class Plugin:
    """Takes the kernel tests out of pytest's hands and puts the guests' reports in."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._batches: list[Batch] = []
        self._batch_of: dict[pytest.Item, Batch] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """The guests' tests come last: the guests work while the others run here."""
        items.sort(key=order)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Boot the first guest. Tests are timed in there, and the guest as a whole here."""
        kinds: dict[tuple[str, uml.Init], list[pytest.Item]] = {}
        for item in session.items:
            if kind := guest_for(item):
                kinds.setdefault((part_of(item, kind), kind), []).append(item)
        for (name, kind), items in kinds.items():
            self._add(Batch(self._config, name, kind, items), items)
        if self._batches and not session.config.option.collectonly:
            self._batches[0].start()

    def _add(self, batch: Batch, items: list[pytest.Item]) -> None:
        for item in items:
            item.add_marker(pytest.mark.timeout(0))
        self._batches.append(batch)
        self._batch_of.update(dict.fromkeys(items, batch))

    def _keep_busy(self, most: int) -> None:
        """Boot what was not yet, so that at most so many guests run."""
        free = most - sum(batch.is_running for batch in self._batches)
        for batch in [batch for batch in self._batches if not batch.is_started][: max(0, free)]:
            batch.start()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Instead of running a kernel test, wait for what the guest says of it."""
        batch = self._batch_of.get(item)
        if batch is None:
            self._keep_busy(MOST_AT_ONCE - 1)
            return None
        self._keep_busy(MOST_AT_ONCE)
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in batch.reports_of(item):
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_sessionfinish(self) -> None:
        """No guest outlives its session."""
        for batch in self._batches:
            batch.stop()


def inside() -> bool:
    """Whether this process runs in a lab guest."""
    return os.environ.get("OVERLAYWATCH_LAB") == "inside"


def can_run_here() -> bool:
    """Whether this machine has root and device-mapper, and nobody asked for the guest."""
    wanted = os.environ.get("OVERLAYWATCH_LAB", "")
    return inside() or (wanted != "uml" and os.geteuid() == 0 and os.access("/dev/mapper/control", os.R_OK | os.W_OK))


def needs_guest(marker: pytest.Mark) -> bool:
    """Whether a test must not run on a real machine."""
    return bool(marker.kwargs.get("lab") or marker.kwargs.get("systemd"))


def guest_for(item: pytest.Item) -> uml.Init | None:
    """The kind of guest that has to run a test for us; None if it runs here, or cannot run."""
    marker = item.get_closest_marker("kernel")
    if marker is None or inside() or uml.missing():
        return None
    if can_run_here() and not needs_guest(marker):
        return None
    return "systemd" if marker.kwargs.get("systemd") else "command"


def part_of(item: pytest.Item, kind: uml.Init) -> str:
    """The name of the guest that runs a test: by file, so that what the tests of a file share is made once."""
    if kind == "systemd":
        return kind
    part = zlib.crc32(item.path.name.encode()) % PARTS
    return f"{kind}-{part + 1}"


def order(item: pytest.Item) -> tuple[int, str]:
    """Tests that run here, then those that boot guests themselves, then one guest after the other."""
    if item.get_closest_marker("boots"):
        return 1, ""
    kind = guest_for(item)
    return (2, part_of(item, kind)) if kind else (0, "")


def refusal(item: pytest.Item) -> str:
    """Why a test can run neither here nor in a guest; empty if it can, or needs no kernel of its own."""
    marker = item.get_closest_marker("kernel")
    if inside() or not (marker or item.get_closest_marker("boots")):
        return ""
    if marker and can_run_here() and not needs_guest(marker):
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
