# SPDX-License-Identifier: Apache-2.0
"""The daemon as a service of a real systemd, installed as an image builder installs it, in a lab guest."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.tools import CHECKOUT

UNIT = "overlaywatch.service"
DROP_INS = Path("/run/systemd/system") / f"{UNIT}.d"
CONFIG = Path("/etc/overlaywatch/overlaywatch.toml")
PATIENCE = 20.0
"""Seconds: the lab kernel is slow, and starting Python in it takes two."""


class Service:
    """The unit, as systemctl sees it."""

    def run(self, verb: str) -> subprocess.CompletedProcess[str]:
        """`systemctl VERB overlaywatch.service`."""
        return subprocess.run(["systemctl", verb, UNIT], capture_output=True, text=True, check=False)

    def show(self, name: str) -> str:
        """A property of the unit (systemctl show)."""
        command = ["systemctl", "show", "--property", name, "--value", UNIT]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    @property
    def pid(self) -> int:
        """The engine."""
        return int(self.show("MainPID"))

    def processes(self) -> list[int]:
        """All processes of the unit, by its control group."""
        listed = Path(f"/sys/fs/cgroup{self.show('ControlGroup')}/cgroup.procs")
        return [int(pid) for pid in listed.read_text().split()] if self.show("ControlGroup") else []

    @property
    def frontend(self) -> int:
        """The process that listens: the child of the engine."""
        engine = self.pid
        children = [pid for pid in self.processes() if fields(pid)["PPid"] == str(engine)]
        assert len(children) == 1, children
        return children[0]

    def journal(self) -> str:
        """What the unit and the service manager said of it since it was started first."""
        command = ["journalctl", "--unit", UNIT, "--no-pager", "--output=cat"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def configure(self, drop_in: str = "", config: str = "") -> None:
        """Directives of [Service] and a configuration for the next start; empty ones are taken away."""
        if write(DROP_INS / "test.conf", drop_in and f"[Service]\n{drop_in}\n"):
            subprocess.run(["systemctl", "daemon-reload"], check=True)
        write(CONFIG, config)


def write(path: Path, text: str) -> bool:
    """Have this text in a file, or no file if it is empty; True if that is a change."""
    if (path.read_text() if path.exists() else "") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if text:
        path.write_text(text)
    return True


def fields(pid: int) -> dict[str, str]:
    """/proc/PID/status, by name."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def get(path: str) -> str:
    """An answer of the daemon; OSError if it has none, or another status than 200."""
    connection = http.client.HTTPConnection("127.0.0.1", 10087, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(answer.status, text)
    return text


def metric(name: str) -> float:
    """The value of a metric that has no labels."""
    return next(float(line.split()[1]) for line in get("/metrics").splitlines() if line.startswith(f"{name} "))


def labels(name: str) -> str:
    """The labels of an info metric, as they are spelled."""
    return next(line.rpartition(" ")[0] for line in get("/metrics").splitlines() if line.startswith(name + "{"))


def status() -> dict[str, list[dict[str, object]]]:
    """The status document."""
    return cast(dict[str, list[dict[str, object]]], json.loads(get("/api/v1/status")))


def wait_until(condition: Callable[[], object], patience: float = PATIENCE) -> float:
    """Wait for a condition; the seconds it took. An error counts as not yet."""
    started = time.monotonic()
    while True:
        try:
            if condition():
                return time.monotonic() - started
        except (OSError, AssertionError):
            pass
        if time.monotonic() - started > patience:
            pytest.fail(f"not within {patience:.0f} s", pytrace=True)
        time.sleep(0.1)


@pytest.fixture(scope="session")
def installed() -> None:
    """`make install` into the guest's root, which is memory, and the user of the frontend."""
    environment = os.environ | {"PYTHON": sys.executable}
    install = CHECKOUT / "packaging/checkout/install.sh"
    subprocess.run([install, "", "/usr"], check=True, env=environment)
    subprocess.run(["systemd-sysusers"], check=True)
    subprocess.run(["systemctl", "daemon-reload"], check=True)


@pytest.fixture
def service(installed: None) -> Iterator[Service]:
    """The unit, as shipped, not started; stopped and forgotten afterwards. It never leaves a traceback."""
    del installed
    yield from used()


@pytest.fixture(scope="module")
def running(installed: None) -> Iterator[Service]:
    """The unit, started once for all tests of a file that leave it as it is."""
    del installed
    for unit in used():
        unit.configure(config='[watch]\ninclude = ["/", "/run", "/srv/later"]\n')
        assert unit.run("start").returncode == 0, unit.journal()
        yield unit


def used() -> Iterator[Service]:
    """A unit before its first start, and the end of it."""
    unit = Service()
    shutil.rmtree("/run/overlaywatch", ignore_errors=True)
    unit.configure()
    yield unit
    unit.run("stop")
    unit.run("reset-failed")
    assert "Traceback" not in unit.journal()
