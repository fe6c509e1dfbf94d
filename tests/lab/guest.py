# SPDX-License-Identifier: Apache-2.0
"""Process 1 of a lab guest: makes a system of the host's files, runs one command in it, powers off.

It must not import anything but the standard library and rootfs.py: it starts before there is a system.
Everything may be written in the guest, and nothing of it ever reaches the host but what is put into
the results folder, which is mounted at /run/lab.

`guest.py boot FOLDER` is process 1; `guest.py run` is the last service of a systemd guest.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final, NoReturn

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.lab.rootfs import enter_root, make_root, module_folder

SYSTEMD: Final = "/lib/systemd/systemd"
RESULTS: Final = Path("/run/lab")
MODULES: Final = ("dm-mod", "dm-bufio", "dm-snapshot", "dm-thin-pool", "loop", "squashfs")
"""Loaded at boot; zram, brd and the rest are for the tests that want them (modprobe works)."""

RB_POWER_OFF: Final = 0x4321FEDC
"""reboot(2)"""
SIOCSIFFLAGS: Final = 0x8914
IFF_UP: Final = 1
"""netdevice(7)"""

libc = ctypes.CDLL(None, use_errno=True)


class Spec:
    """What the host wants of this guest: guest.json in the results folder."""

    def __init__(self, folder: Path) -> None:
        wanted = json.loads((folder / "guest.json").read_text())
        self.command: list[str] = wanted["command"]
        self.directory: str = wanted["directory"]
        self.environment: dict[str, str] = wanted["environment"]
        self.init: str = wanted["init"]
        self.boots: int = wanted["boots"]
        self.root: str = wanted["root"]
        self.store: str = wanted["store"]
        self.store_mib: int = wanted["store_mib"]
        self.keep: list[str] = wanted["keep"]


def load_modules() -> None:
    """Modules where modprobe(8), and the kernel when it calls it, look for them; then those always wanted.

    A snapshot root has a /usr that cannot be written, and the modules that it needs.
    """
    place = Path("/lib/modules") / os.uname().release
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(module_folder())
    except OSError:
        return
    subprocess.run(["modprobe", "-a", *MODULES], check=True)


def raise_loopback() -> None:
    """The only network of a guest: lo, which the kernel then gives 127.0.0.1 and ::1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        fcntl.ioctl(channel, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def count_boot() -> int:
    """Which boot of this guest it is, from 1: a reboot starts the same kernel with the same files again."""
    marker = RESULTS / "boots"
    boot = int(marker.read_text()) + 1 if marker.exists() else 1
    marker.write_text(str(boot))
    return boot


def spawn(spec: Spec, boot: int) -> int:
    """Start the command in a session of its own, on the console; the process id."""
    child = os.fork()
    if not child:
        os.setsid()
        # Opened by a session leader without a terminal, it becomes the controlling one: Ctrl-C works.
        console = os.open("/dev/tty0", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(console, number)
        execute(spec, boot)
    return child


def execute(spec: Spec, boot: int) -> NoReturn:
    """Become the command; 127 if it cannot be started."""
    try:
        os.chdir(spec.directory)
        environment = spec.environment | {"LAB_BOOT": str(boot)}
        os.execvpe(spec.command[0], spec.command, environment)  # noqa: S606  # without a shell is what is wanted
    except OSError as error:
        print(f"guest: cannot start {spec.command[0]}: {error}", file=sys.stderr, flush=True)
        os._exit(127)


def reap_until(child: int) -> int:
    """Wait for the command as process 1 must, taking in every orphan on the way; its exit status."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def save_kernel_log() -> None:
    """What the kernel said, for whoever looks into a failure."""
    lines = []
    log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            # EPIPE: the oldest lines were overwritten before they were read; the next read goes on behind them.
            with contextlib.suppress(BrokenPipeError):
                facts, _, text = os.read(log, 8192).decode(errors="replace").partition(";")
                lines.append(f"[{int(facts.split(',')[2]) / 1e6:11.6f}] {text.splitlines()[0]}\n")
    (RESULTS / "dmesg.txt").write_text("".join(lines))


def power_off() -> NoReturn:
    """Off, at once: nothing in here is worth a clean shutdown."""
    sys.stdout.flush()
    libc.reboot(RB_POWER_OFF)
    os._exit(1)


def finish(status: int) -> NoReturn:
    """Leave the exit status of the command for the host, and power off."""
    with contextlib.suppress(OSError):
        save_kernel_log()
    (RESULTS / "status").write_text(str(status))
    power_off()


def boot(folder: str) -> NoReturn:
    """What process 1 does, from the first instruction to the last."""
    spec = Spec(Path(folder))
    make_root(spec.root, spec.store, spec.store_mib, spec.keep)
    enter_root(folder, RESULTS)
    number = count_boot()
    if number > spec.boots:
        power_off()
    load_modules()
    raise_loopback()
    if spec.init == "systemd":
        become_systemd()
    finish(reap_until(spawn(spec, number)))


def become_systemd() -> NoReturn:
    """Hand process 1 over to the host's systemd, which ends in the units of the lab and in run()."""
    script = Path(__file__).with_name("systemd.sh")
    subprocess.run(["/bin/sh", "-eu", script, sys.executable, __file__], check=True)
    os.execv(SYSTEMD, [SYSTEMD, "--unit=lab.target"])  # noqa: S606  # process 1 has no shell


def run() -> NoReturn:
    """The command of a systemd guest: the same as under boot(), with what the journal has beside it."""
    spec = Spec(RESULTS)
    child = os.fork()
    if not child:
        execute(spec, int((RESULTS / "boots").read_text()))
    status = reap_until(child)
    with (RESULTS / "journal.txt").open("wb") as journal:
        subprocess.run(["journalctl", "--no-pager", "--output=short-monotonic"], stdout=journal, check=False)
    finish(status)


def main() -> NoReturn:
    """`boot FOLDER` as process 1, `run` as a service."""
    if sys.argv[1] == "boot":
        boot(sys.argv[2])
    run()


if __name__ == "__main__":
    main()
