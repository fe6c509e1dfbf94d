# SPDX-License-Identifier: Apache-2.0
"""A captured machine gives the same answer as the machine did: real kernels, captured and asked again."""

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from overlaywatch.config.settings import Settings
from overlaywatch.document import status_document
from overlaywatch.kernel.capture_tar import unpack
from overlaywatch.kernel.captured import open_capture
from overlaywatch.model import Tick
from overlaywatch.registry import record, take_look
from tests.integration import devices, stacks
from tests.integration.devices import MIB, run
from tests.integration.stacks import live, mounted
from tests.integration.test_command_line import overlaywatch

pytestmark = pytest.mark.kernel

Machine = Callable[[Path, Path], contextlib.AbstractContextManager[object]]


@contextlib.contextmanager
def overlay(folder: Path, hidden: bool) -> Iterator[None]:
    """An overlay whose upper lies on a tmpfs of its own, which may have been unmounted lazily."""
    for name in ("lower", "union"):
        (folder / name).mkdir()
    with mounted("tmpfs", folder / "cow", "tmpfs", "size=8m"):
        for name in ("upper", "work"):
            (folder / "cow" / name).mkdir()
        paths = f"lowerdir={folder}/lower,upperdir={folder}/cow/upper,workdir={folder}/cow/work"
        with mounted("overlay", folder / "union", "overlay", paths):
            (folder / "union" / "file").write_bytes(bytes(MIB))
            if hidden:
                run("umount", "--lazy", str(folder / "cow"))
            yield


@contextlib.contextmanager
def full(folder: Path, scratch: Path, persistent: str) -> Iterator[None]:
    """A snapshot that has run full."""
    with live(folder, scratch, persistent, 8 * MIB) as machine:
        with contextlib.suppress(OSError):
            (machine.place / "file").write_bytes(bytes(16 * MIB))
        subprocess.run(["sync", "-f", machine.place], check=False, capture_output=True)
        yield


MACHINES: dict[str, Machine] = {
    "N": lambda folder, scratch: live(folder, scratch, "N"),
    "P, deleted": lambda folder, scratch: live(folder, scratch, "P", sight="deleted"),
    "PO, hidden": lambda folder, scratch: live(folder, scratch, "PO", sight="hidden"),
    "PO on ramfs": lambda folder, scratch: live(folder, scratch, "PO", on="ramfs"),
    "xfs": lambda folder, scratch: live(folder, scratch, "PO", 300 * MIB, fstype="xfs"),
    "PO, full": lambda folder, scratch: full(folder, scratch, "PO"),
    "N, full": lambda folder, scratch: full(folder, scratch, "N"),
    "overlay": lambda folder, _: overlay(folder, hidden=False),
    "overlay, hidden": lambda folder, _: overlay(folder, hidden=True),
    "tmpfs": lambda folder, _: mounted("tmpfs", folder / "place", "tmpfs", "size=3m,nr_inodes=77"),
}


def seen(tick: Tick) -> dict[str, Any]:
    """What one look says, but for how long it took and on which machine it was."""
    document: dict[str, Any] = json.loads(json.dumps(status_document(tick)))
    for source in document["sources"]:
        del source["duration_seconds"]
    del document["host"]["hostname"], document["host"]["boot_id"]
    return document


@pytest.mark.parametrize("name", MACHINES)
def test_a_captured_machine_gives_the_same_answer(name: str, tmp_path: Path, scratch: Path) -> None:
    """Every figure, state, limit and word of the very look that was captured."""
    with MACHINES[name](tmp_path, scratch):
        tick, capture = record(Settings())
        unpack(capture, tmp_path / "capture")
    again = take_look(Settings(), open_capture(tmp_path / "capture"))
    assert seen(again) == seen(tick)
    assert all(report.success for report in again.survey.sources)


def test_the_program_captures_what_status_shows(tmp_path: Path, scratch: Path) -> None:
    """status --json before and after, and of the capture in between: while nothing moves they are one."""
    with live(tmp_path, scratch, "PO") as machine:
        before = None
        while before != (now := figures(overlaywatch("status", "--json").stdout, machine)):
            before = now
            (tmp_path / "node.tar").unlink(missing_ok=True)
            assert overlaywatch("capture", str(tmp_path / "node.tar")).returncode == 0
    run("tar", "-C", str(tmp_path), "-xf", str(tmp_path / "node.tar"))
    captured = overlaywatch("status", "--json", "--root", str(tmp_path / "node"))
    assert figures(captured.stdout, machine) == before


def figures(document: str, machine: stacks.Live) -> list[dict[str, Any]]:
    """What is said of the mount point, and of the snapshot."""
    found = json.loads(document)
    mounts = [one for one in found["mounts"] if one["mount_point"] == str(machine.place)]
    return mounts + [one for one in found["layers"] if one["id"] == machine.layer]


def test_keys_of_encrypted_devices_stay_here(tmp_path: Path, scratch: Path) -> None:
    """The kernel tells root the key of a dm-crypt device in its table; nobody else ever sees it."""
    with devices.loop(scratch / "disk", MIB) as disk:
        key = "00112233445566778899aabbccddeeff"
        table = f"0 2048 crypt aes-cbc-essiv:sha256 {key} 0 {disk.number} 0"
        try:
            stack = devices.mapped("ow-crypt", table)
            with stack:
                unpack(record(Settings())[1], tmp_path / "capture")
        except subprocess.CalledProcessError:
            pytest.skip("this kernel has no dm-crypt")
    text = (tmp_path / "capture/dm/table").read_text()
    assert f"ow-crypt: 0 2048 crypt - - 0 {disk.number} 0" in text
    assert all(key.encode() not in path.read_bytes() for path in (tmp_path / "capture").rglob("*") if path.is_file())


def test_a_loop_over_a_block_device(tmp_path: Path, scratch: Path) -> None:
    """As OpenWrt has it: the chain goes on below the device, here to the file system of its own file."""
    with (
        devices.loop(scratch / "disk", 32 * MIB) as disk,
        devices.loop(disk.node, options=["--offset", str(MIB)]) as above,
    ):
        run("mkfs.ext4", "-q", str(above.node))
        with mounted(str(above.node), tmp_path / "place", "ext4"):
            tick = take_look(Settings())
    verdict = next(one for one in tick.verdicts if one.mount.mount_point == str(tmp_path / "place"))
    assert verdict.chain[0] == f"filesystem:{tmp_path}/place"
    assert verdict.chain[-1] == "ram"
    assert verdict.headroom_bytes is not None
