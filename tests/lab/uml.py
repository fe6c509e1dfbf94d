# SPDX-License-Identifier: Apache-2.0
"""Boots a guest: Debian's User Mode Linux (package user-mode-linux), on the host's files, read-only.

This file runs on the host and must not know what the guest is for. A guest is one process group; it
is killed when it overstays. What it leaves is in its results folder: `status` (of the command),
`boots`, `dmesg.txt`, `console.txt` if the console was kept, and what the command put there.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Self

from tests.lab import xstate

KERNEL: Final = "linux.uml"
TOOLS: Final = ("insmod", "modprobe", "taskset", "prlimit")
CHECKOUT: Final = Path(__file__).parents[2]
GUEST: Final = Path(__file__).with_name("guest.py")
ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "linux",
    "OVERLAYWATCH_LAB": "inside",
}


Init = Literal["command", "systemd"]
Root = Literal["overlay", "snapshot"]
Store = Literal["N", "P", "PO"]
Console = Literal["kept", "shown", "typed"]
"""A file in the results folder; the standard output of this process; that and its standard input."""


class LabError(Exception):
    """The lab cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest to be booted: a command, and what it may use.

    `results` is a folder on the host that the guest sees as /run/lab. With `init` = "systemd" the command
    runs as a unit after logind is up, else right below process 1. A guest that boots more often than
    `boots` is powered off at once. `timeout` is seconds of wall time over all its boots. See rootfs.py for
    `root`; `store` and `store_mib` are the exception store of a snapshot root.
    """

    command: tuple[str, ...]
    results: Path
    timeout: float
    memory: str = "1G"
    init: Init = "command"
    boots: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = CHECKOUT
    root: Root = "overlay"
    store: Store = "PO"
    store_mib: int = 64


@dataclass(frozen=True, slots=True)
class Ending:
    """How a guest ended. `status` is None if the command did not come to its end: panic, reboot, timeout."""

    status: int | None
    boots: int
    timed_out: bool
    seconds: float
    console: str

    @property
    def panicked(self) -> bool:
        """Whether the guest's kernel gave up."""
        return "Kernel panic" in self.console

    def explain(self) -> str:
        """Why there is no result, in words, with the end of the console."""
        reason = (
            "its kernel panicked"
            if self.panicked
            else "it overstayed and was killed"
            if self.timed_out
            else f"it ended in boot {self.boots} without a result"
        )
        return f"the lab guest: {reason} after {self.seconds:.1f} s; its console ends with:\n{self.console[-4000:]}"


def missing() -> str:
    """What keeps the lab from being used here; empty if nothing."""
    lacking = [tool for tool in (KERNEL, *TOOLS) if find(tool) is None]
    if not lacking:
        return xstate.missing()
    return f"{', '.join(lacking)} not found: apt-get install user-mode-linux kmod util-linux (Debian)"


def find(tool: str) -> str | None:
    """A program, also where only root's PATH leads."""
    return shutil.which(tool, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")


class Running:
    """A guest that was booted; a context manager that leaves no process behind.

    Nor does a runner that is killed: a shell in the guest's process group reads from a pipe whose other end
    only the runner has, and kills the group when it ends.
    """

    def __init__(self, guest: Guest, console: Console = "kept") -> None:
        if reason := missing():
            raise LabError(reason)
        self.guest = guest
        self._file = guest.results / "console.txt"
        self._console = console
        self._started = time.monotonic()
        self._timed_out = False
        prepare(guest)
        self._scratch = tempfile.mkdtemp(prefix="overlaywatch-uml-")
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        argv = kernel_command(self.guest, self._scratch)
        watched, self._life = os.pipe()
        try:
            with self._file.open("wb") if self._console == "kept" else contextlib.nullcontext() as file:
                return subprocess.Popen(
                    ["/bin/sh", "-c", f'(read _ </proc/self/fd/{watched}; kill -KILL 0) & exec "$@"', "guest", *argv],
                    start_new_session=True,
                    pass_fds=[watched],
                    stdin=None if self._console == "typed" else subprocess.DEVNULL,
                    stdout=file,
                    stderr=None if file is None else subprocess.STDOUT,
                )
        finally:
            os.close(watched)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def wait(self, timeout: float) -> bool:
        """Wait for the end, `timeout` seconds at most; True if the guest has ended or was made to."""
        left = self._started + self.guest.timeout - time.monotonic()
        try:
            self._process.wait(min(timeout, max(left, 0)))
        except subprocess.TimeoutExpired:
            self._timed_out = left <= timeout
            if not self._timed_out:
                return False
        self.kill()
        return True

    def kill(self) -> None:
        """End every process of the guest: a kernel that panicked leaves some of them behind."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._life >= 0:
            os.close(self._life)
            self._life = -1
        shutil.rmtree(self._scratch, ignore_errors=True)

    def ending(self) -> Ending:
        """How it ended; ask only when it has."""
        status = read_or(self.guest.results / "status", "")
        return Ending(
            status=int(status) if status else None,
            boots=int(read_or(self.guest.results / "boots", "0")),
            timed_out=self._timed_out,
            seconds=time.monotonic() - self._started,
            console=read_or(self._file, "").replace("\r", ""),
        )


def prepare(guest: Guest) -> None:
    """An empty results folder, but for what the guest has to know and its first instruction."""
    if guest.results.is_dir() and any(guest.results.iterdir()):
        if not (guest.results / "guest.json").exists():
            raise LabError(f"{guest.results}: is not a folder of a guest and would be emptied; name another one")
        shutil.rmtree(guest.results)
    guest.results.mkdir(parents=True, exist_ok=True)
    wanted = {
        "command": guest.command,
        "directory": str(guest.directory),
        "environment": {**ENVIRONMENT, **guest.environment},
        "init": guest.init,
        "boots": guest.boots,
        "root": guest.root,
        "store": guest.store,
        "store_mib": guest.store_mib,
        "keep": [str(guest.directory), str(CHECKOUT), sys.prefix, sys.base_prefix],
    }
    (guest.results / "guest.json").write_text(json.dumps(wanted, indent=1))
    first = guest.results / "init"
    python = f'exec "{sys.executable}" -I -S "{GUEST}" boot "{guest.results.absolute()}"'
    first.write_text(f"#!/bin/sh\nexport PATH={ENVIRONMENT['PATH']}\n{python}\n")
    first.chmod(0o755)


def kernel_command(guest: Guest, scratch: str) -> list[str]:
    """The command line of the kernel, which is that of its process.

    One CPU: the kernel and the processes in it are host processes that hand over to one another at every
    system call and page fault, and that costs ten times as much from one CPU to another.
    """
    return [
        *("prlimit", "--core=0", "taskset", "--cpu-list", str(quietest_cpu())),
        *("env", *xstate.environment(), find(KERNEL) or KERNEL),
        *(f"mem={guest.memory}", f"uml_dir={scratch}/", "rootfstype=hostfs", "rootflags=/", "ro"),
        f'init="{guest.results.absolute()}/init"',
        # TERM is for systemd, which would else send the terminal of whoever looks on a reset.
        *("con=null", "con0=fd:0,fd:1", "quiet", "loglevel=1", "selinux=0", "TERM=dumb"),
    ]


def quietest_cpu() -> int:
    """The CPU that the fewest other guests of this machine are pinned to; the last of equals."""
    taken = Counter(cpu for pid in guests() for cpu in os.sched_getaffinity(pid))
    return min(sorted(os.sched_getaffinity(0), reverse=True), key=lambda cpu: taken[cpu])


def guests() -> Iterator[int]:
    """Process ids of the kernels that run here; each has some helpers of the same name."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if (entry / "comm").read_text() == KERNEL + "\n":
                    yield int(entry.name)


def read_or(path: Path, default: str) -> str:
    """The text of a file that may not be there."""
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return default


@contextlib.contextmanager
def terminal_kept() -> Iterator[None]:
    """The guest's console driver changes the terminal's mode; afterwards it is as it was."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def run(guest: Guest, console: Console = "kept") -> Ending:
    """Boot a guest and wait for its end."""
    with terminal_kept() if console == "typed" else contextlib.nullcontext(), Running(guest, console) as running:
        running.wait(guest.timeout)
        return running.ending()
