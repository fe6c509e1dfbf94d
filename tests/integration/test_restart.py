# SPDX-License-Identifier: Apache-2.0
"""Killed at any moment and started again: it goes on as if nothing had happened, and nothing is done twice by that."""

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final

import pytest

from overlaywatch.engine.host import boot_id
from overlaywatch.engine.memory import read_ledger
from overlaywatch.engine.state_file import SLOT_BYTES
from tests.integration.daemon import PATIENCE, Daemon, until
from tests.integration.kernel_log import kernel_log
from tests.integration.stacks import mounted
from tests.tools import CHECKOUT

pytestmark = pytest.mark.kernel

CONFIG: Final = """
[daemon]
interval = "1s"
[watch]
include = ["{place}"]
[action.it]
{action}
[[policy]]
name = "always"
mount_point = "{place}"
[[policy.stage]]
name = "true"
headroom_below = "{below}"
actions = ["it"]
{cooldown}
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A small file system whose room is below any threshold."""
    with mounted("tmpfs", tmp_path / "place", "tmpfs", "size=16m") as mounted_at:
        yield mounted_at


class Phoenix(Daemon):
    """A daemon that can die often: each life is forked from a process that has everything loaded already."""

    NEST: ClassVar = """
import os, sys
import overlaywatch.service
from overlaywatch.cli import main
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        os.dup2(2, 1)
        os._exit(main(sys.argv[1:]))
    print(pid, flush=True)
    os.waitpid(pid, 0)
    print("dead", flush=True)
"""

    def __init__(self, folder: Path, config: str) -> None:
        super().__init__(folder, config)
        listen = f"127.0.0.1:{self.port}"
        command = [sys.executable, "-c", self.NEST, "run", "--config", str(self.config), "--web.listen-address", listen]
        with self.log_file.open("ab") as log:
            self._nest = subprocess.Popen(
                command, cwd=CHECKOUT, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        self._life = 0

    def start(self) -> None:
        """The next life."""
        self._life = int(self._ask())

    @property
    def pid(self) -> int:
        """The engine."""
        return self._life

    def wait(self) -> None:
        """Until it has died by itself."""
        assert self._answer() == "dead"
        self._life = 0

    def kill(self) -> None:
        """What a service manager does to a service whose main process was killed: nobody of it is left."""
        pids = self._family()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait()

    def kill_after_a_save(self, seconds: float) -> None:
        """A life that ends so many seconds after it first wrote its state down, or found no reason to."""
        before = self._slots(), self._lives
        self.start()
        deadline = time.monotonic() + PATIENCE
        while (self._slots(), self._lives) == before:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.0003)
        time.sleep(seconds)
        self.kill()

    def live_and_look(self) -> None:
        """A life that is not cut short: it looks around twice."""
        self.start()
        self.ready()
        self.fresh()

    def close(self) -> None:
        """No life, no nest."""
        if self._life:
            self.kill()
        self._nest.communicate()

    def _ask(self) -> str:
        assert self._nest.stdin is not None
        self._nest.stdin.write(b"\n")
        self._nest.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._nest.stdout is not None
        return self._nest.stdout.readline().decode().strip()

    def _family(self) -> list[int]:
        """The engine and its children: the frontend, and an action that may be under way."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [self.pid, *map(int, children.read_text().split())]

    @property
    def _lives(self) -> int:
        """How many of its lives got ready."""
        return self.log.count("ready: watching")

    def _slots(self) -> bytes:
        """The heads of both slots of the state file: others after each save."""
        try:
            with (self.state / "state").open("rb", buffering=0) as file:
                return file.read(24) + os.pread(file.fileno(), 24, SLOT_BYTES)
        except FileNotFoundError:
            return b""


@contextlib.contextmanager
def phoenix(folder: Path, place: Path, action: str, cooldown: str = "", below: str = "1TiB") -> Iterator[Phoenix]:
    """One that has not begun to live."""
    daemon = Phoenix(folder, CONFIG.format(place=place, action=action, cooldown=cooldown, below=below))
    try:
        yield daemon
    finally:
        daemon.close()
    assert "Traceback" not in daemon.log, daemon.log


def noted(daemon: Daemon) -> tuple[float, ...]:
    """When the action was begun, by the daemon's own book."""
    return read_ledger(daemon.state, boot_id()).past("it")


def lines(file: Path) -> list[str]:
    """What the action has written, a line each time."""
    return file.read_text().splitlines() if file.exists() else []


def test_killed_by_its_own_action(tmp_path: Path, place: Path) -> None:
    """The daemon dies in the very middle of what it does: what was begun is not begun again."""
    count, pid = tmp_path / "count", tmp_path / "pid"
    script = f"echo once >>{count}; kill -9 $(cat {pid})"
    action = f'type = "run"\ncommand = ["sh", "-c", "{script}"]'
    with phoenix(tmp_path, place, action) as daemon:
        daemon.start()
        pid.write_text(str(daemon.pid))
        daemon.wait()
        for _ in range(2):
            daemon.live_and_look()
            daemon.kill()
        assert lines(count) == ["once"]


def test_cooldown_holds_however_often_it_is_killed(tmp_path: Path, place: Path) -> None:
    """At any moment, with a stage that calls for its action every two seconds: never sooner, and it goes on."""
    count, chance = tmp_path / "count", random.Random(815)
    action = f'type = "run"\ncommand = ["sh", "-c", "echo once >>{count}"]'
    with phoenix(tmp_path, place, action, 'cooldown = "2s"') as daemon:
        deadline = time.monotonic() + 3 * PATIENCE  # most of its lives are too short to begin anything
        while len(noted(daemon)) < 4:
            assert time.monotonic() < deadline, daemon.log
            daemon.kill_after_a_save(chance.choice((0.0, 0.02, 0.1, 0.6, 1.5)))
        begun = noted(daemon)
    # The cooldown runs from the decision; the first look of a new life takes a while until it begins.
    assert min(later - earlier for earlier, later in itertools.pairwise(begun)) > 1.2, begun
    assert 1 <= len(lines(count)) <= len(begun)


def test_purge_is_not_repeated(tmp_path: Path, place: Path) -> None:
    """Files that came after the purge stay within its cooldown, although there is no room again, crash or not."""
    cache = place / "cache"
    cache.mkdir()
    for number in range(48):
        (cache / f"old{number:02}").write_bytes(b"x" * 262144)
    action = f'type = "purge"\npaths = ["{cache}/*"]\nolder_than = "0s"\nuntil_headroom = "8MiB"'
    with phoenix(tmp_path, place, action, 'cooldown = "1h"', below="6MiB") as daemon:
        daemon.live_and_look()
        until(lambda: len(list(cache.iterdir())) == 32, "the purge", also=lambda: daemon.log)
        daemon.kill()
        left = {file.name for file in cache.iterdir()}
        new = {f"new{number:02}" for number in range(16)}
        for name in new:
            (cache / name).write_bytes(b"x" * 262144)
        for _ in range(3):
            daemon.kill_after_a_save(0.05)
        daemon.live_and_look()
        assert {file.name for file in cache.iterdir()} == left | new
        assert len(noted(daemon)) == 1


@pytest.mark.kernel(lab=True)
def test_reboot_that_was_cut_off_in_its_grace_goes_on_and_counts_once(tmp_path: Path, place: Path) -> None:
    """Killed with everything that it had started: each new daemon goes on with it, and none begins another one."""
    action = 'type = "reboot"\ngrace = "1h"\nmin_uptime = "0s"'
    with kernel_log() as log, phoenix(tmp_path, place, action) as daemon:
        log.synchronise()
        daemon.start()
        until(lambda: log.first("overlaywatch: rebooting"), "the reboot", also=lambda: daemon.log)
        daemon.kill()
        for _ in range(3):
            daemon.kill_after_a_save(0.1)
        log.synchronise()
        daemon.start()
        until(lambda: log.first("(going on, in 59 min"), "the same reboot", also=lambda: daemon.log)
        daemon.ready().fresh()
        assert len(noted(daemon)) == 1


@pytest.mark.kernel(lab=True)
def test_reboot_that_comes_too_early_is_only_late(tmp_path: Path, place: Path) -> None:
    """Refused for min_uptime, and killed while it waits: it is announced when the machine is up for so long."""
    moment = time.clock_gettime(time.CLOCK_BOOTTIME) + 12
    action = f'type = "reboot"\ngrace = "1h"\nmin_uptime = "{moment:.0f}s"'
    with kernel_log() as log, phoenix(tmp_path, place, action) as daemon:
        log.synchronise()
        daemon.live_and_look()
        assert daemon.log.count("it: refused: the machine is up for") == 1, daemon.log
        daemon.kill()
        daemon.live_and_look()
        early = log.first("overlaywatch: rebooting")
        until(lambda: log.first("overlaywatch: rebooting"), "the reboot", also=lambda: daemon.log)
        assert early is None
        assert time.clock_gettime(time.CLOCK_BOOTTIME) >= round(moment)
        assert daemon.log.count("it: refused: the machine is up for") == 2, daemon.log
