# SPDX-License-Identifier: Apache-2.0
"""The roots that a guest can have, made of the host's files before anything else runs.

Like guest.py it must not import anything but the standard library. Until a root is entered, `/` is the
host's own root, read-only, as hostfs shows it.

overlay: the host's files below, a tmpfs above. Everything may be written, all programs are there.
snapshot: what a live-booted machine has: `/` is ext4 on the device-mapper snapshot `live-rw`, whose
exception store is a loop on a file in a tmpfs that nobody can reach any more. /etc and /var are on it, as of an
image; /usr and the other folders of the host are bound into it, read-only.
"""

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

WORK: Final = Path("/mnt")
NEW_ROOT: Final = WORK / "root"
IMAGE_MIB: Final = 768

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_MOVE: Final = 8192
QUIET: Final = MS_NOSUID | MS_NODEV | MS_NOEXEC
"""mount(2)"""

OWN: Final = ("dev", "etc", "lost+found", "mnt", "proc", "run", "sys", "tmp", "var")
"""Folders of `/` that a snapshot root does not take from the host as they are."""
IMAGE_FOLDERS: Final = (
    *("dev", "mnt", "proc", "run", "sys", "var/cache/apt/archives", "var/lib/dbus", "var/log", "var/spool"),
)

libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: Path, fstype: str, flags: int = 0, data: str = "") -> None:
    """mount(2); the mount point is made if it lacks."""
    if not target.is_dir():
        target.mkdir(parents=True)
    if libc.mount(source.encode(), os.fsencode(target), fstype.encode(), flags, data.encode()):
        error = ctypes.get_errno()
        raise OSError(error, f"cannot mount {fstype}: {os.strerror(error)}", str(target))


def module_folder() -> Path:
    """Where Debian keeps the modules of the lab kernel, outside of /lib/modules."""
    return Path("/usr/lib/uml/modules") / os.uname().release


def insert_modules(*names: str) -> None:
    """Modules by their path in the kernel's tree, in this order: modprobe needs a root that can be written."""
    for name in names:
        subprocess.run(["insmod", module_folder() / "kernel" / f"{name}.ko"], check=True)


def make_root(kind: str, store: str, store_mib: int, keep: Sequence[str]) -> None:
    """A root at NEW_ROOT; the kernel itself has mounted /dev.

    `store` (N, P or PO) and `store_mib` are the exception store of a snapshot root. `keep` are folders of
    the host that must be there although they lie in one that is not the host's.
    """
    mount("proc", Path("/proc"), "proc")
    mount("sysfs", Path("/sys"), "sysfs")
    mount("tmpfs", WORK, "tmpfs", data="mode=0755")
    if kind == "snapshot":
        make_snapshot_root(store, store_mib, keep)
    else:
        make_overlay_root()
    mount("proc", NEW_ROOT / "proc", "proc", QUIET)
    mount("sysfs", NEW_ROOT / "sys", "sysfs", QUIET)
    mount("cgroup2", NEW_ROOT / "sys/fs/cgroup", "cgroup2", QUIET)
    mount("devtmpfs", NEW_ROOT / "dev", "devtmpfs", MS_NOSUID)
    mount("devpts", NEW_ROOT / "dev/pts", "devpts", MS_NOSUID, "mode=0620,gid=5,ptmxmode=0666")
    mount("tmpfs", NEW_ROOT / "dev/shm", "tmpfs", MS_NOSUID, "mode=1777")
    mount("tmpfs", NEW_ROOT / "run", "tmpfs", MS_NOSUID, "mode=0755,size=20%")


def make_overlay_root() -> None:
    """Everything of the host, and nothing that is written to it."""
    insert_modules("fs/overlayfs/overlay")
    for name in ("upper", "work", "root"):
        (WORK / name).mkdir()
    mount("overlay", NEW_ROOT, "overlay", data=f"lowerdir=/,upperdir={WORK}/upper,workdir={WORK}/work")


def make_snapshot_root(store: str, store_mib: int, keep: Sequence[str]) -> None:
    """What dracut's dmsquash-live makes: image, read-only; snapshot of it; the store's file unlinked."""
    insert_modules("drivers/md/dm-mod", "drivers/md/dm-bufio", "drivers/md/dm-snapshot", "drivers/block/loop")
    mount("tmpfs", WORK / "medium", "tmpfs")
    image, overlay = WORK / "medium/rootfs.img", WORK / "medium/overlay"
    make_image(image)
    make_sparse(overlay, store_mib)
    origin, cow = attach(image, "--read-only"), attach(overlay)
    overlay.unlink()
    sectors = IMAGE_MIB << 11
    create("live-base", f"0 {sectors} linear {origin} 0", "--readonly")
    create("live-rw", f"0 {sectors} snapshot {origin} {cow} {store} 8")
    mount("/dev/mapper/live-rw", NEW_ROOT, "ext4")
    bind_host_folders(keep)


def make_image(image: Path) -> None:
    """A file system with what an image has of its own: the host's /etc, and folders to be filled."""
    content = WORK / "content"
    with contextlib.suppress(shutil.Error):  # folders that the user of the guest may not read
        shutil.copytree("/etc", content / "etc", symlinks=True, copy_function=copy_if_readable)
    for name in IMAGE_FOLDERS:
        (content / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        (content / name).mkdir(mode=0o1777)
        (content / name).chmod(0o1777)
    (content / "var/run").symlink_to("/run")
    options = ("-q", "-L", "LIVE", "-m", "0", "-d", str(content))
    make_sparse(image, IMAGE_MIB)
    subprocess.run(["mkfs.ext4", *options, str(image)], check=True)
    shutil.rmtree(content)


def make_sparse(path: Path, mib: int) -> None:
    """A file that takes no room yet."""
    with path.open("wb") as file:
        file.truncate(mib << 20)


def copy_if_readable(source: str, target: str) -> None:
    """A file of /etc that the user of the guest may not read is not in the image, nor is what is no file."""
    if os.access(source, os.R_OK) and os.path.isfile(source):
        shutil.copy2(source, target)


def attach(file: Path, *options: str) -> str:
    """A loop device over a file; the path of its node."""
    command = ["losetup", "--find", "--show", *options, str(file)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def create(name: str, table: str, *options: str) -> None:
    """A device-mapper device. There is no udev, whatever the host's /run says: dmsetup makes the node itself."""
    environment = os.environ | {"DM_DISABLE_UDEV": "1"}
    subprocess.run(["dmsetup", "create", *options, name, "--table", table], check=True, env=environment)


def bind_host_folders(keep: Sequence[str]) -> None:
    """The host's folders that are not the image's own, and links such as /bin."""
    for entry in sorted(Path("/").iterdir()):
        target = NEW_ROOT / entry.name
        if entry.is_symlink():
            target.symlink_to(entry.readlink())
        elif entry.is_dir() and entry.name not in OWN:
            bind(entry, target)
    for folder in keep:
        if Path(folder).parts[1] in OWN:
            bind(Path(folder), NEW_ROOT / folder.lstrip("/"))


def bind(source: Path, target: Path) -> None:
    """A folder of the host at a second place, read-only there as it is here."""
    mount(str(source), target, "none", MS_BIND)
    mount("none", target, "none", MS_REMOUNT | MS_BIND | MS_RDONLY)


def enter_root(results: str, place: Path) -> None:
    """Make NEW_ROOT the root of process 1, as switch_root(8) does, with the results folder of the host at `place`."""
    mount("none", NEW_ROOT / place.relative_to("/"), "hostfs", data=results)
    os.chdir(NEW_ROOT)
    mount(".", Path("/"), "none", MS_MOVE)
    os.chroot(".")
    os.chdir("/")
