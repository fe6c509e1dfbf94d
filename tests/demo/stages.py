# SPDX-License-Identifier: Apache-2.0
"""Where the demonstration is given: the best place that this machine has.

It must not know what is played there. The lab kernel comes first: only there the last resort can be taken.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.demo.play import BOLD, DIM, PLAIN, Scene, play
from tests.integration import devices
from tests.lab import uml

RATE: Final = "OVERLAYWATCH_DEMO_RATE"
"""In the environment: MiB that are written in a second."""
OVERLAY_MIB: Final = 64
UNSHARE: Final = ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private")


def scene(mount_point: str, last: tuple[str, ...] = ()) -> Scene:
    """A mount point that is filled within half a minute, or as fast as the environment says."""
    return Scene(mount_point, float(os.environ.get(RATE, "2.5")), seconds=60, last=last)


def explain(*lines: str) -> None:
    """What is going to be seen."""
    for line in lines:
        print(f"{BOLD}{line}{PLAIN}", flush=True)


def in_the_lab() -> int:
    """A live system in the lab kernel: its root is on a snapshot, and the reboot really happens."""
    explain(
        "A live system boots in the lab kernel, with systemd: its root is ext4 on a dm-snapshot of 64 MiB in RAM.",
        "df will speak of some 700 MiB free. The kernel knows better.",
    )
    command = (sys.executable, "-m", "tests.demo", "--inside", "lab")
    guest = uml.Guest(
        command,
        uml.CHECKOUT / ".lab" / "demo",
        120,
        "1G",
        "systemd",
        boots=2,
        root="snapshot",
        store_mib=64,
        environment={name: value for name, value in os.environ.items() if name == RATE},
    )
    ending = uml.run(guest, console="shown")
    if (ending.status, ending.boots) != (0, 2):
        print(f"the demonstration did not come to its end: {ending.explain()}", file=sys.stderr)
        return 1
    explain("That was a real kernel: `make shell` gives you one to try for yourself.")
    return 0


def inside_the_lab() -> int:
    """In the guest: fill until it is rebooted; in its second boot, show what is left of it."""
    if os.environ["LAB_BOOT"] == "2":
        explain("The machine has booted again: a fresh overlay, and the service is back.")
        os.environ["COLUMNS"] = "100"
        return subprocess.run([sys.executable, "-m", "overlaywatch", "status"], check=False).returncode
    folder = Path(tempfile.mkdtemp(dir="/run"))
    return play(scene("/", last=("reboot",)), folder)


def on_this_kernel() -> int:
    """A snapshot of this machine's own device-mapper, in a folder: the last resort is announced and not taken."""
    explain(
        "ext4 on a dm-snapshot of 64 MiB, made with this machine's own device-mapper.",
        f"Here the last resort is only announced: this machine is not rebooted ({uml.missing()}).",
    )
    with tempfile.TemporaryDirectory(dir="/run") as folder, mounted_snapshot(Path(folder)) as mount_point:
        return play(scene(str(mount_point)), Path(folder))


@contextlib.contextmanager
def mounted_snapshot(folder: Path) -> Iterator[Path]:
    """An empty ext4 on a snapshot with a store of 64 MiB, whose files are on a tmpfs."""
    files, mount_point = folder / "files", folder / "root"
    for place in (files, mount_point):
        place.mkdir()
    with (
        mounted("tmpfs", files, "-t", "tmpfs", "-o", "size=256m"),
        devices.snapshot(files, "overlaywatch-demo", "PO", 768 * devices.MIB, OVERLAY_MIB * devices.MIB) as snapshot,
    ):
        devices.run("mkfs.ext4", "-q", str(snapshot.device.node))
        with mounted(str(snapshot.device.node), mount_point):
            yield mount_point


@contextlib.contextmanager
def mounted(source: str, place: Path, *options: str) -> Iterator[None]:
    """A mount for as long as it lasts."""
    subprocess.run(["mount", *options, source, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def in_a_namespace() -> int:
    """An overlay on a tmpfs, in a mount namespace of our own: no privilege is needed."""
    explain(
        "An overlay on a tmpfs of 64 MiB, in a private namespace.",
        f"A snapshot, and the reboot, need a kernel of their own: {uml.missing()}.",
    )
    command = [*UNSHARE, sys.executable, "-m", "tests.demo", "--inside", "namespace"]
    return subprocess.run(command, check=False).returncode


def inside_the_namespace() -> int:
    """In the namespace: mount it and play."""
    folder = Path(tempfile.mkdtemp())
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={OVERLAY_MIB}m", "tmpfs", folder], check=True)
        for name in ("lower", "upper", "work", "root", "daemon"):
            (folder / name).mkdir()
        data = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
        with mounted("overlay", folder / "root", "-t", "overlay", "-o", data):
            return play(scene(str(folder / "root")), folder / "daemon")
    finally:
        subprocess.run(["umount", folder], check=False)
        folder.rmdir()


def can_unshare() -> bool:
    """Whether this kernel lets this user have a namespace with an overlay in it."""
    if shutil.which(UNSHARE[0]) is None:
        return False
    return subprocess.run([*UNSHARE, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0


def has_device_mapper() -> bool:
    """Whether a snapshot can be made right here."""
    return os.geteuid() == 0 and os.access("/dev/mapper/control", os.R_OK | os.W_OK) and bool(shutil.which("dmsetup"))


def best() -> str:
    """The name of the best stage that this machine has."""
    if not uml.missing():
        return "lab"
    if has_device_mapper():
        return "here"
    return "namespace" if can_unshare() else ""


def nowhere() -> int:
    """There is no place for it: say what is missing."""
    print(
        f"overlaywatch: cannot show anything here: {uml.missing()}; nor is there root with device-mapper,"
        f" nor a user namespace; {DIM}one of the three is needed{PLAIN}",
        file=sys.stderr,
    )
    return 1
