# SPDX-License-Identifier: Apache-2.0
"""The same live system with nobody to watch it: what df says, what the kernel says, and what works afterwards.

It must not know overlaywatch. Everything that is shown was printed by the programs and the kernel named beside it.
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.demo import runaway
from tests.demo.screen import BAD, STRONG, Screen

LOG: Final = Path("/var/log/runaway.log")
LONGEST: Final = 60.0
FILES: Final = ("/etc/hostname", "/etc/passwd")
"""Of the image itself: nobody has written to them."""


def perform(screen: Screen) -> bool:
    """Fill it to the end; whether the kernel has given the snapshot up."""
    screen.tell("Nobody watches. A program writes 12 MiB a second to " + str(LOG), STRONG)
    writer = subprocess.Popen([sys.executable, runaway.__file__, str(LOG), "12"], stderr=subprocess.DEVNULL)
    try:
        invalid = _look_on(screen)
    finally:
        writer.kill()
        writer.wait()
    if invalid:
        _show_the_ruin(screen)
    return invalid


def _look_on(screen: Screen) -> bool:
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        status = said("dmsetup", "status", "live-rw")
        screen.show(["", *said("df", "-h", "/").splitlines(), "", f"dmsetup status live-rw: {status}"], status)
        if "Invalid" in status:
            screen.close()
            return True
        time.sleep(0.25)
    return False


def _show_the_ruin(screen: Screen) -> None:
    screen.tell("The kernel says:", BAD)
    screen.keep([f"  {line}" for line in kernel_log() if line.startswith("device-mapper: snapshots:")])
    Path("/proc/sys/vm/drop_caches").write_text("3")
    screen.tell("df goes on to speak of the room in the file system, and the files of the image cannot be read:", BAD)
    commands = (("df", "-h", "/"), ("dmsetup", "status", "live-rw"), *(("cat", path) for path in FILES))
    for command in commands:
        screen.keep([f"  $ {' '.join(command)}", *(f"  {line}" for line in said(*command).splitlines())])


def said(*command: str) -> str:
    """All that a program prints, errors too. It starts: the programs are bound in from another file system."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.strip()


def kernel_log() -> list[str]:
    """The messages of the kernel since boot."""
    lines = []
    log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                lines.append(os.read(log, 8192).decode(errors="replace").partition(";")[2].splitlines()[0])
    finally:
        os.close(log)
    return lines
