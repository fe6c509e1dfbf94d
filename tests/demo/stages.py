# SPDX-License-Identifier: Apache-2.0
"""Where the demonstration is given: the best place that this machine has.

It must not know what is played there. With root and device-mapper it is a snapshot of this machine's own kernel, in a
mount namespace; else a live system in the lab kernel, where the last resort can be taken; else an overlay on a tmpfs in
a namespace of its own.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.demo import alone
from tests.demo.play import perform
from tests.demo.plot import Plot
from tests.demo.screen import BAD, GOOD, STRONG, Screen, Style
from tests.demo.watched import boot_id, picture
from tests.integration import devices
from tests.lab import uml

OVERLAY_MIB: Final = 64
IMAGE_MIB: Final = 768
DEVICE: Final = "overlaywatch-demo"
PLACE: Final = Path("/mnt")
"""There on every machine, and short enough for a line."""
LONGEST: Final = 180.0
BOOT_ID: Final = Path("/run/lab/boot_id")
"""Survives the reboot of a lab guest, as nothing else in it does."""
MOUNTS_OF_ITS_OWN: Final = ("unshare", "--mount", "--propagation", "private")
NAMESPACE: Final = (*MOUNTS_OF_ITS_OWN, "--user", "--map-root-user")
AS_A_SERVICE: Final = ("systemd-run", "--quiet", "--wait", "--collect", "--unit=runaway")

Stage = Callable[[Style], int]
"""Gives the demonstration; 0 if everything has happened."""


# --- a live system in the lab kernel --------------------------------------------------------------


def in_the_lab(style: Style) -> int:
    """Its root is on a snapshot, and the reboot really happens."""
    screen = Screen(style)
    screen.tell(
        f"A live system boots in the lab kernel: its root is a read-only image with {OVERLAY_MIB} MiB of"
        " dm-snapshot in RAM above it.",
        STRONG,
    )
    ending = uml.run(guest("lab", style, "systemd", "PO"), console="shown")
    if (ending.status, ending.boots) == (0, 2):
        screen.tell("That was a real kernel. `make shell` gives you one to try for yourself.", STRONG)
        return 0
    print(f"overlaywatch: the demonstration did not come to its end: {ending.explain()}", file=sys.stderr)
    return 1


def guest(role: str, style: Style, init: uml.Init, store: uml.Store) -> uml.Guest:
    """A guest with a live root, in which this program goes on in a `role`. It may boot twice."""
    command = (sys.executable, "-m", "tests.demo", "--inside", role)
    return uml.Guest(
        command,
        uml.CHECKOUT / ".lab" / "demo",
        LONGEST,
        init=init,
        boots=2,
        environment=style.environment(),
        root="snapshot",
        store=store,
        store_mib=OVERLAY_MIB,
    )


def inside_the_lab(style: Style) -> int:
    """In the guest: fill until it is rebooted; in its second boot, show what has become of it."""
    screen = Screen(style)
    if os.environ["LAB_BOOT"] != "1":
        return after_the_reboot(screen)
    # What systemd says on its way down would be drawn over the picture.
    subprocess.run(["systemctl", "log-level", "alert"], check=False)
    screen.tell(f"It has booted: boot {boot_id()}.")
    BOOT_ID.write_text(boot_id())
    folder = Path(tempfile.mkdtemp(dir="/run"))
    succeeded = perform(Plot("/", reboots=True), screen, folder, AS_A_SERVICE)
    screen.tell("The machine was not rebooted" + (", although it was called for." if succeeded else "."), BAD)
    return 1


def after_the_reboot(screen: Screen) -> int:
    """Whether it is another boot, with an overlay that is empty again."""
    before, now = BOOT_ID.read_text(), boot_id()
    if before == now:
        screen.tell("The kernel says that this is the same boot as before.", BAD)
        return 1
    screen.tell(f"THE MACHINE HAS BOOTED AGAIN: boot {now}, with an empty overlay.", GOOD)
    settings = Path(tempfile.mkdtemp(dir="/run")) / "demo.toml"
    settings.write_text('[watch]\ninclude = ["/"]\n')
    screen.keep(["", *picture(settings, screen.style.width, colour=True), ""])
    return 0


def unwatched(style: Style) -> int:
    """The same live system, with a snapshot as CentOS 7 has it, and nobody to watch it."""
    screen = Screen(style)
    if reason := uml.missing():
        return refuse(f"the ruin of a root is shown in the lab kernel only: {reason}")
    screen.tell("A live system boots in the lab kernel. Its root is on a dm-snapshot, as CentOS 7 makes it.", STRONG)
    ending = uml.run(guest("alone", style, "command", "P"), console="shown")
    if ending.status == 0:
        return 0
    print(f"overlaywatch: the demonstration did not come to its end: {ending.explain()}", file=sys.stderr)
    return 1


def inside_alone(style: Style) -> int:
    """In the guest: fill it until nothing can be read."""
    return 0 if alone.perform(Screen(style)) else 1


# --- a snapshot of this machine's own kernel -------------------------------------------------------


def on_this_kernel(style: Style) -> int:
    """In a mount namespace: the last resort is shown, and not taken. Nothing else of this machine is touched."""
    screen = Screen(style)
    screen.tell(
        f"ext4 on a dm-snapshot of {OVERLAY_MIB} MiB in RAM, made with this machine's own device-mapper, mounted where"
        " nobody else sees it. This machine will not be rebooted.",
        STRONG,
    )
    status = go_on_in(MOUNTS_OF_ITS_OWN, "host", style)
    if status == 0 and not uml.missing():
        screen.tell("To see the reboot, too: make demo ARGS='--stage lab'", STRONG)
    return status


def go_on_in(namespace: tuple[str, ...], role: str, style: Style) -> int:
    """Go on in a `role`, in new namespaces; the exit status."""
    command = [*namespace, sys.executable, "-m", "tests.demo", "--inside", role]
    return subprocess.run(command, env={**os.environ, **style.environment()}, check=False).returncode


def inside_the_host(style: Style) -> int:
    """In the mount namespace: make a snapshot and play."""
    with on_tmpfs("256m") as folder:
        files, mount_point, settings = (made(folder / name) for name in ("files", "live", "daemon"))
        image, store = IMAGE_MIB * devices.MIB, OVERLAY_MIB * devices.MIB
        with devices.snapshot(files, DEVICE, "PO", image, store) as snapshot:
            devices.run("mkfs.ext4", "-q", "-m", "0", str(snapshot.device.node))
            with mounted(str(snapshot.device.node), mount_point):
                return play_here(mount_point, settings, style)


def play_here(mount_point: Path, settings: Path, style: Style) -> int:
    """Where nothing may be rebooted."""
    succeeded = perform(Plot(str(mount_point), reboots=False), Screen(style), settings)
    return 0 if succeeded else refuse("not everything has happened that was to be shown")


# --- an overlay in a namespace ---------------------------------------------------------------------


def in_a_namespace(style: Style) -> int:
    """An overlay on a tmpfs: no kernel of its own is needed, and no privilege where users may make namespaces."""
    Screen(style).tell(
        f"An overlay on a tmpfs of {OVERLAY_MIB} MiB, in a private namespace. What is missing here is a kernel with"
        f" device-mapper, for a snapshot and a real reboot: {uml.missing() or 'it was not asked for'}.",
        STRONG,
    )
    return go_on_in(MOUNTS_OF_ITS_OWN if can_run(MOUNTS_OF_ITS_OWN) else NAMESPACE, "namespace", style)


def inside_the_namespace(style: Style) -> int:
    """In the namespace: mount it and play."""
    with on_tmpfs(f"{OVERLAY_MIB}m") as folder:
        names = ("lower", "upper", "work", "live", "daemon")
        lower, upper, work, mount_point, settings = (made(folder / name) for name in names)
        with mounted(
            "overlay", mount_point, "-t", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}"
        ):
            return play_here(mount_point, settings, style)


@contextlib.contextmanager
def on_tmpfs(size: str) -> Iterator[Path]:
    """A tmpfs where nobody but us sees it; what the machine has there is not touched, only hidden from us."""
    with mounted("tmpfs", PLACE, "-t", "tmpfs", "-o", f"size={size}"):
        yield PLACE


@contextlib.contextmanager
def mounted(source: str, place: Path, *options: str) -> Iterator[None]:
    """A mount for as long as it lasts."""
    devices.run("mount", *options, source, str(place))
    try:
        yield
    finally:
        devices.run("umount", str(place))


def made(folder: Path) -> Path:
    """A new folder."""
    folder.mkdir()
    return folder


# --- which of them ---------------------------------------------------------------------------------


def can_run(namespace: tuple[str, ...]) -> bool:
    """Whether the kernel lets this user have such namespaces."""
    if shutil.which(namespace[0]) is None:
        return False
    return subprocess.run([*namespace, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0


def can_unshare() -> bool:
    """Whether an overlay can be mounted where nobody else sees it."""
    return can_run(MOUNTS_OF_ITS_OWN) or can_run(NAMESPACE)


def has_device_mapper() -> bool:
    """Whether a snapshot can be made right here."""
    programs = ("dmsetup", "losetup", "mkfs.ext4")
    control = os.geteuid() == 0 and os.access("/dev/mapper/control", os.R_OK | os.W_OK)
    return control and all(map(uml.find, programs)) and can_run(MOUNTS_OF_ITS_OWN)


def best() -> str:
    """The name of the best stage that this machine has; empty if there is none."""
    if has_device_mapper():
        return "host"
    if not uml.missing():
        return "lab"
    return "namespace" if can_unshare() else ""


def nowhere(style: Style) -> int:
    """There is no place for it: say what is missing."""
    del style
    return refuse(f"nothing can be shown here: neither root with device-mapper, nor namespaces, and {uml.missing()}")


def refuse(reason: str) -> int:
    """Say why not; the exit status."""
    print(f"overlaywatch: demo: {reason}", file=sys.stderr)
    return 1


STAGES: Final[Mapping[str, Stage]] = {"host": on_this_kernel, "lab": in_the_lab, "namespace": in_a_namespace}
INSIDE: Final[Mapping[str, Stage]] = {
    "host": inside_the_host,
    "lab": inside_the_lab,
    "alone": inside_alone,
    "namespace": inside_the_namespace,
}
