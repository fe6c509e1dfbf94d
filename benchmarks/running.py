# SPDX-License-Identifier: Apache-2.0
"""The daemon as a process: start, memory, scrapes and idling, with node_exporter beside it in the same run.

Must be run as root: the daemon locks its memory and gives up privilege, which both costs something.
"""

import http.client
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SCRAPE = {
    # What Prometheus 2 and 3 send.
    "Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    "Accept-Encoding": "gzip",
    "User-Agent": "Prometheus/2.42.0",
}
PEER = "prometheus-node-exporter"


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running exporter: its main process, and where it listens."""

    pid: int
    port: int
    ready_seconds: float = 0.0

    @property
    def pids(self) -> list[int]:
        """The process and its children."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split()
        return [self.pid, *map(int, children)]

    def memory(self) -> tuple[int, int]:
        """(RSS, PSS) of all its processes together, in bytes (proc_pid_smaps(5), smaps_rollup)."""
        both = [_rollup(pid) for pid in self.pids]
        return sum(rss for rss, _ in both), sum(pss for _, pss in both)

    def cpu_seconds(self) -> float:
        """User and system time of all its processes so far."""
        ticks = 0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def _rollup(pid: int) -> tuple[int, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
    return sizes["Rss:"], sizes["Pss:"]


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def overlaywatch(interval: str = "10s") -> Iterator[Daemon]:
    """The daemon with default settings; waits for READY=1 as a service manager does."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{folder}/notify")
        manager.settimeout(30)
        config, port = Path(folder) / "config.toml", free_port()
        config.write_text(f'[daemon]\ninterval = "{interval}"\n', encoding="ascii")
        command = [sys.executable, "-m", "overlaywatch", "run", "--config", str(config)]
        # Packages compile what they install; where nothing may be compiled, a start takes twice as long.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"NOTIFY_SOCKET": f"{folder}/notify", "RUNTIME_DIRECTORY": folder}
        started = time.monotonic()
        process = _start([*command, "--web.listen-address", f"127.0.0.1:{port}"], environment)
        while b"READY=1" not in manager.recv(4096):
            pass
        ready = time.monotonic() - started
        with _ended(process):
            yield Daemon(process.pid, port, ready)


@contextmanager
def node_exporter() -> Iterator[Daemon | None]:
    """The peer with its defaults, or None if it is not installed."""
    program = shutil.which(PEER) or shutil.which("node_exporter")
    if program is None:
        yield None
        return
    port = free_port()
    started = time.monotonic()
    process = _start([program, f"--web.listen-address=127.0.0.1:{port}"], dict(os.environ))
    while time.monotonic() - started < 30:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.005)
    with _ended(process):
        yield Daemon(process.pid, port, time.monotonic() - started)


def _start(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def scrape(daemon: Daemon) -> float:
    """Seconds of one scrape as Prometheus makes it, over a new connection."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=10)
    started = time.perf_counter()
    connection.request("GET", "/metrics", headers=SCRAPE)
    connection.getresponse().read()
    took = time.perf_counter() - started
    connection.close()
    return took


def scrapes(daemons: Sequence[Daemon], times: int, pause: float) -> list[list[float]]:
    """The times of scrapes of each, in turn, so that both see the same machine. `pause` lets a new tick come."""
    taken: list[list[float]] = [[] for _ in daemons]
    for _ in range(times):
        for daemon, its in zip(daemons, taken, strict=True):
            its.append(scrape(daemon))
        time.sleep(pause)
    return taken


def idle_share(daemons: Sequence[Daemon], seconds: float) -> list[float]:
    """The part of one core that each takes while nobody asks."""
    before = [daemon.cpu_seconds() for daemon in daemons]
    time.sleep(seconds)
    return [(daemon.cpu_seconds() - then) / seconds for daemon, then in zip(daemons, before, strict=True)]


def starts(times: int) -> float:
    """The median of the seconds from exec to READY=1."""
    taken = []
    for _ in range(times):
        with overlaywatch() as daemon:
            taken.append(daemon.ready_seconds)
    return statistics.median(taken)
