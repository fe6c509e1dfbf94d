# SPDX-License-Identifier: Apache-2.0
"""The command line beside a real snapshot that fills: what it says is what the kernel says."""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import devices
from tests.integration.devices import MIB, SECTOR, Snapshot
from tests.tools import CHECKOUT

pytestmark = pytest.mark.kernel

NAME = "cli-rw"


@contextlib.contextmanager
def mounted(scratch: Path, persistent: str) -> Iterator[tuple[Snapshot, Path]]:
    """ext4 on a snapshot with a COW of 16 MiB, and where it is mounted."""
    place = scratch.parent / "live"
    place.mkdir()
    with devices.snapshot(scratch, NAME, persistent, origin_size=64 * MIB, cow_size=16 * MIB) as snapshot:
        # The origin is made first, so that the snapshot is as fresh as after boot; no background writes.
        devices.run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(snapshot.device.node))
        devices.run("mount", "-o", "noatime", str(snapshot.device.node), str(place))
        try:
            yield snapshot, place
        finally:
            devices.run("umount", str(place))


def overlaywatch(*words: str) -> "subprocess.CompletedProcess[str]":
    """The program."""
    command = [sys.executable, "-m", "overlaywatch", *words]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def entry(document: dict[str, Any], kind: str, key: str, value: str) -> dict[str, Any]:
    """The mount or layer with this name."""
    found: list[dict[str, Any]] = [one for one in document[kind] if one[key] == value]
    assert len(found) == 1
    return found[0]


def settled(snapshot: Snapshot, *words: str) -> tuple[str, "subprocess.CompletedProcess[str]"]:
    """The kernel's status and what the program said, from a moment in which nothing moved."""
    for _ in range(10):
        before = snapshot.device.status
        done = overlaywatch(*words)
        if snapshot.device.status == before:
            return before, done
    pytest.fail("the snapshot does not come to rest")


@pytest.mark.parametrize("persistent", ["N", "P", "PO"])
def test_numbers_are_those_of_the_kernel_to_the_sector(scratch: Path, persistent: str) -> None:
    """While a file is written, status --json, dmsetup, explain and check tell the same story."""
    with mounted(scratch, persistent) as (snapshot, place):
        (place / "file").write_bytes(b"x" * 2 * MIB)
        subprocess.run(["sync", "-f", place], check=True)

        status, done = settled(snapshot, "status", "--json")
        assert done.returncode == 0, done.stderr
        layer = entry(json.loads(done.stdout), "layers", "id", f"dm-snapshot:{NAME}")
        figures = layer["details"]
        used, total, metadata = (figures[key] for key in ("sectors_allocated", "total_sectors", "metadata_sectors"))
        assert status.endswith(f" snapshot {used}/{total} {metadata}")
        assert (layer["used_bytes"], layer["size_bytes"]) == (used * SECTOR, total * SECTOR)

        mount = entry(json.loads(done.stdout), "mounts", "mount_point", str(place))
        assert mount["limit"] == f"dm-snapshot:{NAME}"
        assert mount["failure"] == ("read_only" if persistent == "PO" else "dead_root")
        assert 0 < mount["headroom_bytes"] <= (total - used) * SECTOR

        explained = overlaywatch("explain", str(place / "file"))
        assert (explained.returncode, explained.stderr) == (0, "")
        assert re.search(rf"persistent {persistent}( |$)", explained.stdout, re.MULTILINE)
        checked = overlaywatch("check", str(place), "--critical-headroom", "1MiB")
        assert checked.returncode == 0, checked.stdout
        told = re.search(r"headroom'=(\d+)B", checked.stdout)
        assert told is not None
        assert abs(int(told[1]) - mount["headroom_bytes"]) < MIB


@pytest.mark.parametrize(
    ("persistent", "word", "state", "failure"),
    [("PO", "Overflow", "overflow", "read_only"), ("N", "Invalid", "invalid", "dead_root")],
)
def test_end_of_the_snapshot_is_bad_news(scratch: Path, persistent: str, word: str, state: str, failure: str) -> None:
    """After it ran full: status 1, check 2, no headroom, and the kernel's word on the screen."""
    with mounted(scratch, persistent) as (snapshot, place):
        with contextlib.suppress(OSError):
            (place / "file").write_bytes(b"x" * 32 * MIB)
        subprocess.run(["sync", "-f", place], check=False, capture_output=True)
        assert snapshot.device.status.endswith(f" snapshot {word}")

        done = overlaywatch("status", "--json")
        mount = entry(json.loads(done.stdout), "mounts", "mount_point", str(place))
        layer = entry(json.loads(done.stdout), "layers", "id", f"dm-snapshot:{NAME}")
        assert (done.returncode, layer["state"]) == (1, state)
        assert (mount["headroom_bytes"], mount["failure"]) == (0, failure)
        assert f"{word}: " in overlaywatch("status").stdout
        assert overlaywatch("explain", str(place)).returncode == 1
        assert overlaywatch("check", str(place)).returncode == 2


@pytest.mark.kernel(lab=True)
def test_pause_and_resume_on_the_real_run() -> None:
    """As root the kill switch is in /run/overlaywatch, and status tells of it."""
    assert overlaywatch("resume").returncode == 0
    assert overlaywatch("pause", "1h").returncode == 0
    try:
        assert json.loads(overlaywatch("status", "--json").stdout)["paused"] is True
        assert "until" in json.loads(Path("/run/overlaywatch/pause").read_text())
    finally:
        resumed = overlaywatch("resume")
    assert resumed.stdout == "Resumed: actions run again.\n"
    assert json.loads(overlaywatch("status", "--json").stdout)["paused"] is False
