# SPDX-License-Identifier: Apache-2.0
"""What holds for every test: it leaves no child process, no thread and no file descriptor behind."""

import os
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

pytest_plugins = ["tests.lab.plugin"]

# pytest's own capturing and the caches of the standard library may open these at any time.
HARMLESS = ("/dev/urandom", "/dev/null")


def children() -> frozenset[int]:
    """Process ids of the living and dead children of this process (proc(5))."""
    tasks = Path("/proc/self/task")
    return frozenset(int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split())


def descriptors() -> dict[int, str]:
    """Open file descriptors and what they lead to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the descriptor of this very listing
    return {number: target for number, target in found.items() if target not in HARMLESS}


def threads() -> frozenset[threading.Thread]:
    """The threads that are alive."""
    return frozenset(thread for thread in threading.enumerate() if thread.is_alive())


PROCESSOR = "another processor: "
"""How the reason of a skip begins that no installation can mend."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing is skipped for want of a right, a module or a program: it is a failure that says so."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and PROCESSOR not in str(report.longrepr):
        report.outcome, report.longrepr = "failed", f"{item.nodeid} was skipped, and CI=true: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """A test that leaves a child, a thread or a descriptor behind fails: the next one must not pay for it."""
    before = children(), threads(), descriptors()
    yield
    leaks = [f"child process {pid}" for pid in children() - before[0]]
    leaks += [f"thread {thread.name}" for thread in threads() - before[1]]
    now = descriptors()
    leaks += [f"descriptor {number} of {now[number]}" for number in now.keys() - before[2].keys()]
    if leaks:
        pytest.fail(f"left behind: {', '.join(sorted(leaks))}", pytrace=False)
