# SPDX-License-Identifier: Apache-2.0
"""The daemon as a real process, and what it says: over HTTP, in its log, and as exit status.

It must not know what a test fills. Each daemon has a folder of its own for its configuration, its log and
its state, so that several tests, and a daemon of the machine itself, do not get into each other's way.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from tests.tools import CHECKOUT

PATIENCE: Final = 20.0
"""Seconds until something is taken to never come. Nothing here is so slow, not even in the lab kernel."""

PREFIX: Final = "overlaywatch_"

Document = dict[str, Any]
T = TypeVar("T")


class Daemon:
    """`overlaywatch run` beside the test. `restart` of the same object goes on with the same folder."""

    def __init__(self, folder: Path, config: str, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.config = folder / "overlaywatch.toml"
        self.log_file = folder / "log"
        self.state = folder / "state"
        self.state.mkdir(parents=True, exist_ok=True)
        self.environment = {**os.environ, "RUNTIME_DIRECTORY": str(self.state), **(environment or {})}
        self.configure(config)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, config: str) -> None:
        """Write the configuration; a running daemon reads it at SIGHUP."""
        self.config.write_text(config)

    def start(self) -> None:
        """Start it; it is not ready yet."""
        listen = f"127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "overlaywatch", "run", "--config", str(self.config)]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--web.listen-address", listen],
                cwd=CHECKOUT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        """The engine."""
        assert self.process is not None
        return self.process.pid

    def ready(self) -> "Daemon":
        """Wait until it is."""
        until(self._is_ready, "the daemon does not get ready", also=lambda: self.log)
        return self

    def _is_ready(self) -> bool:
        assert self.process is None or self.process.poll() is None, self.log
        return self.get("/-/ready") is not None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the engine."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until the kernel has cleared it away."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    @property
    def log(self) -> str:
        """All that it and those before it in this folder have said."""
        return self.log_file.read_text(errors="replace")

    def get(self, path: str) -> str | None:
        """What it serves there; None if it does not (yet)."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE) as answer:
                text: str = answer.read().decode()
                return text
        except (urllib.error.URLError, OSError):
            return None

    def status(self) -> Document:
        """The newest tick that it has published."""
        answer = self.get("/api/v1/status")
        assert answer is not None, self.log
        document: Document = json.loads(answer)
        return document

    def fresh(self) -> Document:
        """A tick that began after this call."""
        now = time.time()
        return self.until(lambda status: status if status["at"] > now + 0.001 else None, "a new tick")

    def until(self, wanted: Callable[[Document], T | None], what: str, seconds: float = PATIENCE) -> T:
        """What `wanted` makes of the first tick of which it makes anything."""
        return until(lambda: wanted(self.status()), f"{what} does not come", seconds, lambda: self.log)

    def metrics(self) -> "Metrics":
        """A scrape."""
        answer = self.get("/metrics")
        assert answer is not None, self.log
        return Metrics(answer)

    def command(self, *words: str) -> str:
        """What another verb of the program prints, with the same configuration; bad news (1) is an answer too."""
        done = subprocess.run(
            [sys.executable, "-m", "overlaywatch", *words],
            cwd=CHECKOUT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    def look(self) -> Document:
        """`overlaywatch status --json`: another process, one look."""
        document: Document = json.loads(self.command("status", "--json", "--config", str(self.config)))
        return document


class Metrics:
    """A scrape, read by Prometheus' own parser. Names are without the prefix."""

    def __init__(self, text: str) -> None:
        self._samples = {
            (sample.name.removeprefix(PREFIX), frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        """The value of one series; None if there is none."""
        return self._samples.get((name, frozenset(labels.items())))

    def labels(self, name: str, **some: str) -> list[dict[str, str]]:
        """The labels of all series of this name that have these labels among them."""
        wanted = some.items()
        return [dict(labels) for found, labels in self._samples if found == name and wanted <= dict(labels).items()]


@contextlib.contextmanager
def running(folder: Path, config: str, environment: Mapping[str, str] | None = None) -> Iterator[Daemon]:
    """A daemon that is ready. In the end it must go without complaint, and nothing may have gone wrong in it."""
    daemon = Daemon(folder, config, environment)
    daemon.start()
    try:
        yield daemon.ready()
    finally:
        status = daemon.stop()
    assert status == 0, daemon.log
    assert "Traceback" not in daemon.log, daemon.log


def until(
    wanted: Callable[[], T | None], what: str, seconds: float = PATIENCE, also: Callable[[], str] = lambda: ""
) -> T:
    """The first thing that `wanted` gives that is something; fails with `what` if that takes too long."""
    deadline = time.monotonic() + seconds
    while not (found := wanted()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} ({seconds:.0f} s)\n{also()}")
        time.sleep(0.02)
    return found


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def layer(status: Document, layer_id: str) -> Document:
    """One layer of a status document."""
    found: Document = next(one for one in status["layers"] if one["id"] == layer_id)
    return found


def mount(status: Document, mount_point: Path | str) -> Document:
    """One watched mount point of a status document."""
    found: Document = next(one for one in status["mounts"] if one["mount_point"] == str(mount_point))
    return found
