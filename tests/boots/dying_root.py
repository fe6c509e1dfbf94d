# SPDX-License-Identifier: Apache-2.0
"""Runs in a guest: a daemon whose own interpreter, libraries and modules lie on the snapshot that dies.

The daemon lives in a chroot on ext4 over a dm-snapshot, with nothing of the host in it. The one who fills that snapshot
and looks on is outside. What it finds goes to /run/lab; a second boot of the guest is the proof of the last step.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import traceback
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from tests.integration import devices, stacks
from tests.integration.daemon import free_port, until
from tests.integration.devices import MIB, run
from tests.integration.receivers import Webhook, webhook
from tests.tools import CHECKOUT

RESULTS: Final = Path("/run/lab")
WORK: Final = Path("/run/work")
LIVE: Final = WORK / "live"
NEEDED: Final = ("psutil", "prometheus_client", "pyroute2", "sdnotify")
NOT_NEEDED: Final = shutil.ignore_patterns(
    *("test", "tests", "site-packages", "dist-packages", "config-*", "*.opt-?.pyc"),
    *("ensurepip", "idlelib", "lib2to3", "pydoc_data", "tkinter", "turtledemo", "unittest"),
)

CONFIG: Final = """
[action.hook]
type = "webhook"
url = "{url}"
[action.reboot]
type = "reboot"
grace = "4s"
min_uptime = "0s"
[[policy]]
name = "root"
mount_point = "/"
[[policy.stage]]
name = "dead"
state_is = ["invalid"]
actions = ["hook", "reboot"]
"""


def python() -> Path:
    """The interpreter itself, not the link of an environment."""
    return Path(sys.executable).resolve()


def libraries() -> Iterator[Path]:
    """The shared libraries of a daemon that has everything loaded, under all names by which the loader may ask."""
    told = "import overlaywatch.service; print(open('/proc/self/maps').read())"
    for found in set(re.findall(r"(/\S+\.so\S*)$", run(sys.executable, "-c", told), re.MULTILINE)):
        folder, stem = Path(found).parent, Path(found).name.partition(".so")[0]
        yield from (name for name in folder.glob(f"{stem}.so*") if name.samefile(found))
    yield from map(Path, re.findall(r"(/\S+) \(0x", run("ldd", str(python()))))


def fill_image(content: Path) -> None:
    """Everything that the daemon is made of, at the places where it looks for it."""
    standard = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(standard, content / standard.relative_to("/"), ignore=NOT_NEEDED)
    shutil.copytree(CHECKOUT / "overlaywatch", content / "site/overlaywatch", ignore=NOT_NEEDED)
    copy(python(), content / python().relative_to("/"))
    for name in NEEDED:
        for file in distribution(name).files or ():
            if ".." not in file.parts and "tests" not in file.parts:
                copy(Path(str(file.locate())), content / "site" / file)
    for library in libraries():
        copy(library, content / library.relative_to("/"))
    for name in ("dev", "etc", "proc", "run", "sys"):
        (content / name).mkdir(exist_ok=True)


def copy(source: Path, target: Path) -> None:
    """A file, not a link, into a folder that need not be there yet."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


@contextlib.contextmanager
def live_root() -> Iterator[None]:
    """The image, a snapshot of it whose end is `Invalid`, and what every root has mounted."""
    WORK.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=80%", "tmpfs", str(WORK))
    fill_image(WORK / "content")
    image = WORK / "image"
    with image.open("wb") as file:
        file.truncate(192 * MIB)
    run("mkfs.ext4", "-q", "-m", "0", "-d", str(WORK / "content"), str(image))
    shutil.rmtree(WORK / "content")
    with (
        devices.loop(image, options=["--read-only"]) as origin,
        devices.loop(WORK / "overlay", 24 * MIB) as cow,
        devices.mapped("live-rw", devices.snapshot_table(origin, cow, "P")) as device,
        stacks.mounted(str(device.node), LIVE, "ext4"),
    ):
        for fstype in ("proc", "sysfs", "devtmpfs"):
            run("mount", "-t", fstype, fstype, f"{LIVE}/{fstype.removesuffix('fs').removesuffix('tmp')}")
        run("mount", "-t", "tmpfs", "tmpfs", f"{LIVE}/run")
        yield


def kill_the_root() -> None:
    """Write until the snapshot is Invalid, and let the kernel forget all that it has read from it."""
    file = os.open(LIVE / "more", os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(file, b"x" * MIB)
            os.fsync(file)
    os.close(file)
    Path("/proc/sys/vm/drop_caches").write_text("3")
    keep("snapshot", run("dmsetup", "status", "live-rw"))


def keep(name: str, text: str) -> None:
    """A finding, safe from the reboot."""
    with (RESULTS / name).open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def in_chroot(*words: str) -> list[str]:
    """The interpreter of the live root, in it."""
    return ["chroot", str(LIVE), str(python()), *words]


def watch_it_die(hook: Webhook) -> None:
    """The whole course. If the daemon does its work, this never returns."""
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": "/site", "PYTHONDONTWRITEBYTECODE": "1"}
    (LIVE / "etc/overlaywatch.toml").write_text(CONFIG.format(url=hook.url))
    options = ("--config", "/etc/overlaywatch.toml", "--web.listen-address", f"127.0.0.1:{port}")
    with (RESULTS / "log").open("wb") as log:
        command = in_chroot("-m", "overlaywatch", "run", *options)
        daemon = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    until(lambda: scrape(port), "the daemon does not answer")
    keep("maps", Path(f"/proc/{daemon.pid}/maps").read_text())
    kill_the_root()
    keep("told", str(hook.next()))
    keep("metrics", until(lambda: is_told(scrape(port)), "Invalid is not exported"))
    keep("exec", str(subprocess.run(in_chroot("-c", ""), check=False, capture_output=True).returncode))
    time.sleep(30)
    raise AssertionError("the machine is still up")


def scrape(port: int) -> str:
    """/metrics; empty if nobody answers."""
    done = subprocess.run(["curl", "-sf", f"http://127.0.0.1:{port}/metrics"], check=False, capture_output=True)
    return done.stdout.decode()


def is_told(metrics: str) -> str:
    """The same, if it tells what has happened; else nothing."""
    return metrics if 'layer_state{layer="dm-snapshot:live-rw",state="invalid"} 1' in metrics else ""


def main() -> None:
    """The first boot dies, the second is the proof that it did."""
    if os.environ["LAB_BOOT"] == "2":
        return
    with webhook() as hook, live_root():
        try:
            watch_it_die(hook)
        finally:
            # Nothing can be taken down in order any more, and nothing needs to be.
            traceback.print_exc()
            os._exit(1)


if __name__ == "__main__":
    main()
