# SPDX-License-Identifier: Apache-2.0
"""The daemon as a real process: what it sees come and go, what it deletes or leaves, what load and time do to it."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.running import (
    BASE,
    Served,
    appending,
    cpu_seconds,
    descriptors,
    fields,
    resident_bytes,
    served,
    soon,
)
from tests.integration.daemon import Metrics

PURGE = """
[action.clean]
type = "purge"
paths = ["ROOM/cache/**"]
older_than = "0s"
until_headroom = "12MiB"
[[policy]]
name = "room"
mount_point = "ROOM"
[[policy.stage]]
name = "tight"
headroom_below = "4MiB"
actions = ["clean"]
"""

CHURN = """
import ctypes, sys, time
libc, place = ctypes.CDLL(None), sys.argv[1].encode()
while True:
    assert libc.mount(b"tmpfs", place, b"tmpfs", 0, b"size=1m") == 0
    time.sleep(0.011)
    assert libc.umount2(place, 0) == 0
    time.sleep(0.011)
    if sys.stdin in __import__("select").select([sys.stdin], [], [], 0)[0]:
        break
"""
"""Changes the mount table as often as the daemon looks, until its input ends; then nothing is mounted."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One daemon for all tests that leave it as they found it."""
    with served(tmp_path_factory.mktemp("shared"), BASE) as daemon:
        daemon.room.seen(daemon.room.path / "later").mkdir()
        daemon.start()
        yield daemon.ready()


# --- what comes and goes -----------------------------------------------------------------------------


def test_mount_is_seen_at_once_and_leaves_nothing_behind(shared: Served) -> None:
    """A mounted tmpfs is in /metrics within 200 ms; after umount every one of its series is gone as quickly."""
    later = str(shared.room.path / "later")
    assert later not in (shared.get("/metrics") or "")
    shared.room.mount(Path(later))
    assert soon(lambda: shared.value("mount_headroom_bytes", mount_point=later), "the mount", shared) < 0.2
    shared.room.umount(Path(later))
    assert soon(lambda: later not in (shared.get("/metrics") or later), "no trace of it", shared) < 0.2


# --- purge, dry run and pause ------------------------------------------------------------------------


def clutter(daemon: Served) -> None:
    """13 MiB in caches of different size, and 1 MiB that nobody may touch."""
    (daemon.room.inside / "cache/deep").mkdir(parents=True)
    for number in range(1, 4):
        daemon.room.fill(number, f"cache/{number}")
        daemon.room.fill(number, f"cache/deep/{number}")
    daemon.room.fill(1, "cache/.hidden")
    daemon.room.fill(1, "kept")


def tree(daemon: Served) -> dict[str, tuple[int, int]]:
    """Every file's size and time of change."""
    top = daemon.room.inside
    found = {str(path.relative_to(top)): path.stat() for path in top.rglob("*") if path.is_file()}
    return {name: (about.st_size, about.st_mtime_ns) for name, about in found.items()}


def count(daemon: Served, outcome: str, action: str = "clean", kind: str = "purge") -> float | None:
    """How often an action ended so."""
    return daemon.value("actions_total", action=action, type=kind, outcome=outcome)


def test_dry_run_touches_nothing(tmp_path: Path) -> None:
    """The stage fires and the outcome is dry_run; names, sizes and times of all files are as before."""
    with served(tmp_path, BASE.replace("[watch]", 'actions = "dry-run"\n[watch]') + PURGE) as daemon:
        clutter(daemon)
        before = tree(daemon)
        daemon.start()
        daemon.ready()
        soon(lambda: count(daemon, "dry_run") == 1, "the dry run", daemon)
        daemon.fresh()
        assert tree(daemon) == before
        assert count(daemon, "dry_run") == 1


def test_purge_waits_for_resume_and_deletes_what_was_planned(tmp_path: Path) -> None:
    """Paused, nothing goes; resumed, exactly the planned files go, once, and their bytes are counted."""
    with served(tmp_path, BASE + PURGE) as daemon:
        clutter(daemon)
        before = tree(daemon)
        daemon.verb("pause")
        daemon.start()
        daemon.ready().fresh()
        assert (daemon.value("paused"), count(daemon, "refused")) == (1, 1)
        assert tree(daemon) == before
        planned = planned_by(daemon, before)
        daemon.verb("resume")
        soon(lambda: count(daemon, "applied") == 1, "the purge", daemon)
        after = tree(daemon)
        assert before.keys() - after.keys() == planned
        assert after.items() <= before.items()
        freed = sum(before[name][0] for name in planned)
        assert daemon.value("action_freed_bytes_total", action="clean") == freed
        status = daemon.fresh()
        assert status["mounts"][0]["headroom_bytes"] >= 12 * 2**20
        # No file could have stayed: without the smallest of them there would be too little room.
        assert status["mounts"][0]["headroom_bytes"] - min(before[name][0] for name in planned) < 12 * 2**20
        assert count(daemon, "applied") == 1


def planned_by(daemon: Served, names: dict[str, tuple[int, int]]) -> set[str]:
    """The files that `overlaywatch plan` says will go; one that stays must not be among them."""
    plan = json.loads(daemon.verb("plan", "--json", "--config", str(daemon.config)))["plans"][0]
    words = {word.strip(",:;'\"") for step in plan["steps"] for word in step.split()}
    planned = {name for name in names if str(daemon.room.path / name) in words}
    assert planned, plan
    assert "kept" not in planned
    return planned


# --- load --------------------------------------------------------------------------------------------


def ticks(found: Metrics, at_most: str = "+Inf") -> float:
    """How many ticks took at most so many seconds."""
    value = found.value("tick_duration_seconds_bucket", le=at_most)
    assert value is not None
    return value


def longer(found: Metrics, than: str) -> float:
    """How many ticks took longer."""
    return ticks(found) - ticks(found, than)


def test_storm_of_scrapes_does_not_reach_the_engine(shared: Served) -> None:
    """Under 200 connections that do nothing but ask, and 50 silent ones, ticks come in time and stay short."""
    before, used = shared.metrics(), cpu_seconds(shared.pid)
    address = ("127.0.0.1", shared.port)
    idle = [socket.create_connection(address) for _ in range(50)]
    answered, deadline = 0, time.monotonic() + 2
    while time.monotonic() < deadline:
        asking = [socket.create_connection(address) for _ in range(200)]
        for one in asking:
            one.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        answered += sum(is_answered(one) for one in asking)
    for one in idle:
        one.close()
    shared.fresh()
    after = shared.metrics()
    assert answered > 0
    assert ticks(after) - ticks(before) >= 2
    assert longer(after, "0.05") == longer(before, "0.05")
    assert cpu_seconds(shared.pid) - used < 0.2


def is_answered(connection: socket.socket) -> bool:
    """Read to the end, and close; whether that was an answer. Too many are turned away, and that is right."""
    connection.settimeout(5)
    with connection:
        try:
            start = connection.recv(65536)
            while connection.recv(65536):
                pass
        except OSError:
            return False
    return start.startswith(b"HTTP/1.1 200")


def test_hundreds_of_ticks_leave_no_trace(shared: Served) -> None:
    """After four hundred ticks, forced by mounts that come and go, memory and descriptors are what they were."""
    churn(shared, 50)
    shared.fresh()
    first, memory, files = ticks(shared.metrics()), resident_bytes(shared.pid), len(descriptors(shared.pid))
    churn(shared, 400)
    shared.fresh()
    assert ticks(shared.metrics()) - first >= 400
    assert len(descriptors(shared.pid)) == files
    assert resident_bytes(shared.pid) - memory < 2 * 2**20


def churn(daemon: Served, wanted: int) -> None:
    """Change the mount table until so many ticks have been made."""
    first = ticks(daemon.metrics())
    command = daemon.room.command(sys.executable, "-c", CHURN, str(daemon.room.path / "later"))
    with subprocess.Popen(command, stdin=subprocess.PIPE) as mounting:
        try:
            soon(lambda: ticks(daemon.metrics()) - first >= wanted, "so many ticks", daemon, 20)
        finally:
            assert mounting.stdin is not None
            mounting.stdin.close()
    assert mounting.returncode == 0


# --- privilege ---------------------------------------------------------------------------------------


def test_what_listens_can_do_nothing(shared: Served) -> None:
    """The listening process is nobody in particular, has no capability, can gain none, and holds no file."""
    about = fields(shared.frontend)
    assert "0" not in about["Uid"].split()
    assert {about[name].strip("0") for name in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")} == {""}
    assert about["NoNewPrivs"] == "1"
    files = {one for one in descriptors(shared.frontend).values() if one.startswith("/")}
    assert files <= {"/dev/null", str(shared.log_file)}
    assert listens(shared.frontend)
    assert not listens(shared.pid)


def listens(pid: int) -> bool:
    """Whether a process holds a TCP socket that listens (state 0A in /proc/PID/net/tcp)."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        rows = [row.split() for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]]
        inodes |= {f"socket:[{row[9]}]" for row in rows if row[3] == "0A"}
    return bool(inodes & set(descriptors(pid).values()))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that an ordinary user can reach, which pytest's own cannot."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_ordinary_user_sees_what_can_be_seen_and_changes_nothing(open_folder: Path) -> None:
    """Without privilege it starts, says what it cannot do, exports the room, and withholds the action."""
    config, done = appending(open_folder)
    wrapper = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    with served(open_folder, config, wrapper) as daemon:
        daemon.room.fill(10)
        daemon.start()
        daemon.ready().fresh()
        assert daemon.value("mount_headroom_bytes", mount_point=str(daemon.room.path)) == 6 * 2**20
        assert "nothing is changed on this machine" in daemon.log
        assert count(daemon, "refused", "note", "run") == 1
        assert not done.exists()
