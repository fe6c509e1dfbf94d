# SPDX-License-Identifier: Apache-2.0
"""The daemon as a real process on this host, in a mount namespace of its own, told on by a service manager.

It must not know what a test looks for. The namespace belongs to a process that does nothing, so it
outlives a daemon that is killed; the host's mount table is never touched.
"""

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.integration.daemon import PATIENCE, Daemon, until
from tests.tools import CHECKOUT, need

WATCHDOG_SECONDS: Final = 2.0
MIB: Final = 1024 * 1024

BASE: Final = """
[daemon]
interval = "1s"
[watch]
include = ["ROOM", "ROOM/later"]
"""

APPEND: Final = """
[action.note]
type = "run"
command = ["sh", "-c", "echo done >> FILE"]
[[policy]]
name = "room"
mount_point = "ROOM"
[[policy.stage]]
name = "half"
used_above = "50%"
cooldown = "1h"
actions = ["note"]
"""


class Room:
    """A mount namespace with a small tmpfs at `path`, which is an empty folder for everybody else."""

    def __init__(self, folder: Path, size: str = "16m") -> None:
        self.path = folder / "room"
        self.path.mkdir(parents=True)
        self._holder = subprocess.Popen(
            [need("unshare"), "--mount", "--propagation", "private", "sh", "-c", "echo here; exec cat >/dev/null"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self.mount(self.path, size)

    @property
    def inside(self) -> Path:
        """The tmpfs, seen from out here (proc(5), /proc/PID/root)."""
        return self.seen(self.path)

    def seen(self, path: Path) -> Path:
        """A path of the namespace as a path of this process."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def command(self, *words: str) -> list[str]:
        """The command that runs these words in the namespace."""
        return [need("nsenter"), f"--mount=/proc/{self._holder.pid}/ns/mnt", "--", *words]

    def run(self, *words: str) -> None:
        """Run a program in the namespace to its end."""
        subprocess.run(self.command(*words), check=True)

    def mount(self, path: Path, size: str = "1m") -> None:
        """Mount another tmpfs in there."""
        self.run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(path))

    def umount(self, path: Path) -> None:
        """And take it away."""
        self.run("umount", str(path))

    def fill(self, mebibytes: int, name: str = "fill") -> Path:
        """A file of so many MiB in the tmpfs."""
        file = self.inside / name
        file.write_bytes(bytes(mebibytes * MIB))
        return file

    def close(self) -> None:
        """With the last process in it, the namespace goes."""
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait(PATIENCE)


@dataclass(frozen=True, slots=True)
class Notification:
    """A datagram of sd_notify(3): its fields, and the monotonic time at which it was taken from the socket."""

    at: float
    fields: dict[str, str]


class Manager:
    """A service manager as far as sd_notify(3) goes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o777)

    def take(self, seconds: float) -> Notification | None:
        """The next notification, None if none comes in so many seconds."""
        if not select.select([self._socket], [], [], max(0.0, seconds))[0]:
            return None
        lines = self._socket.recv(65536).decode().splitlines()
        return Notification(time.monotonic(), dict(line.split("=", 1) for line in lines))

    def listen(self, seconds: float) -> list[Notification]:
        """All that comes in so many seconds, and what waits already."""
        deadline, heard = time.monotonic() + seconds, []
        while one := self.take(deadline - time.monotonic()):
            heard.append(one)
        return heard

    def until(self, key: str, seconds: float = PATIENCE) -> list[Notification]:
        """All up to the first that has this field."""
        deadline, heard = time.monotonic() + seconds, list[Notification]()
        while one := self.take(deadline - time.monotonic()):
            heard.append(one)
            if key in one.fields:
                return heard
        raise AssertionError(f"no {key} within {seconds} s, only {[one.fields for one in heard]}")

    def close(self) -> None:
        """Nobody is told anything any more."""
        self._socket.close()


class Served(Daemon):
    """A daemon in a room, under a manager. `wrapper` is put before its command, such as setpriv and its options."""

    def __init__(self, room: Room, manager: Manager, folder: Path, config: str, wrapper: tuple[str, ...] = ()) -> None:
        super().__init__(
            folder,
            config,
            {
                "NOTIFY_SOCKET": str(manager.path),
                "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1_000_000)),
                "PYTHONPATH": str(CHECKOUT),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )
        self.room, self.manager, self.wrapper = room, manager, wrapper

    def words(self, *listen: str) -> list[str]:
        """The whole command; every address is a `--web.listen-address`."""
        options = [word for address in listen for word in ("--web.listen-address", address)]
        run = [sys.executable, "-m", "overlaywatch", "run", "--config", str(self.config), *options]
        return self.room.command(*self.wrapper, *run)

    def start(self, host: str = "127.0.0.1") -> None:
        """Start it; nsenter and setpriv become it, so its process id is the engine's."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self.words(f"{host}:{self.port}"),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def ready(self) -> "Served":
        """Wait until it says so itself."""
        self.manager.until("READY")
        return self

    def attempt(self, *listen: str) -> subprocess.CompletedProcess[str]:
        """Start it with something that cannot work."""
        words = self.words(*(listen or (f"127.0.0.1:{self.port}",)))
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    def verb(self, *words: str) -> str:
        """What another verb prints, in the same room."""
        command = self.room.command(sys.executable, "-m", "overlaywatch", *words)
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout

    @property
    def frontend(self) -> int:
        """The process that listens; 0 while there is none."""
        return next((pid for pid in children_of(self.pid) if comm(pid) == "overlaywatch-fe"), 0)

    def value(self, name: str, **labels: str) -> float | None:
        """A metric; None if it is not there, or nobody answers."""
        return self.metrics().value(name, **labels) if self.get("/-/healthy") else None

    def finish(self) -> None:
        """Stop it: it must go in peace, and nothing may have gone wrong in it."""
        if self.process is None:
            return
        assert self.stop() == 0, self.log
        assert "Traceback" not in self.log, self.log
        assert "a fault of overlaywatch itself" not in self.log, self.log


def children_of(pid: int) -> list[int]:
    """Process ids of the children (proc(5)); none if there is no such process."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def comm(pid: int) -> str:
    """What ps(1) calls it; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def alive_with(word: str) -> list[int]:
    """Every process that has this word in its command line."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and word in (entry / "cmdline").read_text(errors="replace"):
                found.append(int(entry.name))
    return found


def fields(pid: int, file: str = "status") -> dict[str, str]:
    """/proc/PID/status, by name."""
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def cpu_seconds(pid: int) -> float:
    """What a process has used, in the kernel and outside (proc(5), stat: utime, stime)."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """What of it is in RAM."""
    return int(fields(pid)["VmRSS"].split()[0]) * 1024


def descriptors(pid: int) -> dict[str, str]:
    """Its open files and what they lead to."""
    folder = Path(f"/proc/{pid}/fd")
    return {name: os.readlink(folder / name) for name in os.listdir(folder)}


@contextlib.contextmanager
def served(folder: Path, config: str, wrapper: tuple[str, ...] = (), size: str = "16m") -> Iterator[Served]:
    """A daemon that is not started yet. `ROOM` in the configuration stands for the path of its tmpfs."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        room = Room(folder, size)
        stack.callback(room.close)
        manager = Manager(folder / "notify")
        stack.callback(manager.close)
        daemon = Served(room, manager, folder, config.replace("ROOM", str(room.path)), wrapper)
        try:
            yield daemon
        except BaseException:
            if daemon.process is not None:
                daemon.kill()
                print(daemon.log)
            raise
        daemon.finish()


def appending(folder: Path, base: str = BASE) -> tuple[str, Path]:
    """A configuration whose action adds a line to a file, and the file."""
    file = folder / "done"
    return base + APPEND.replace("FILE", str(file)), file


def lines(file: Path) -> int:
    """How often it was done."""
    return len(file.read_text().splitlines()) if file.exists() else 0


def soon(condition: Callable[[], object], what: str, daemon: Served, seconds: float = 5.0) -> float:
    """Wait for a condition; the seconds that took."""
    started = time.monotonic()
    until(condition, what, seconds, lambda: daemon.log)
    return time.monotonic() - started


def all_gone(pids: list[int], daemon: Served) -> None:
    """Wait until none of these processes is there any more."""
    soon(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "they end with the engine", daemon)
