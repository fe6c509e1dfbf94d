# SPDX-License-Identifier: Apache-2.0
"""The default of dracut on a small machine: a store of 32 GiB that lies in 300 MB of RAM."""

import json
import sys
from pathlib import Path

import pytest

from tests.boots.conftest import BootGuest

pytestmark = pytest.mark.boots

# As in an initramfs: a ramfs holds the sparse store, and its path is gone when the system runs.
STACK = f"""
mkdir -p /run/image /run/store /run/live
mount -t ramfs ramfs /run/store
truncate -s 2G /run/store/image
mkfs.ext4 -q -m 0 -E lazy_itable_init=0,lazy_journal_init=0,nodiscard -N 4096 /run/store/image
truncate -s 32G /run/store/overlay
origin=$(losetup --find --show --read-only /run/store/image)
cow=$(losetup --find --show /run/store/overlay)
rm /run/store/overlay
dmsetup create --noudevsync live-rw --table "0 $(blockdev --getsz $origin) snapshot $origin $cow PO 8"
dmsetup mknodes
mount /dev/mapper/live-rw /run/live
{sys.executable} -m overlaywatch status --json >/run/lab/before.json
head -c 40000000 /dev/urandom >/run/live/more
sync
{sys.executable} -m overlaywatch status --json >/run/lab/after.json
cat /proc/meminfo >/run/lab/meminfo
dmsetup status live-rw >/run/lab/snapshot
"""


def test_ram_is_the_limit_and_oom_the_failure(boot_guest: BootGuest, results: Path) -> None:
    """Not 99 % free: what RAM can still give is the headroom, and it falls as the store fills."""
    ending = boot_guest("sh", "-euc", STACK, timeout=60, memory="300M")
    assert ending.status == 0, ending.explain()
    before, after = (
        next(
            mount
            for mount in json.loads((results / f"{name}.json").read_text())["mounts"]
            if mount["mount_point"] == "/run/live"
        )
        for name in ("before", "after")
    )
    for found in (before, after):
        assert (found["limit"], found["failure"]) == ("ram", "oom")
        assert found["chain"] == ["filesystem:/run/live", "dm-snapshot:live-rw", "ramfs:/run/store", "ram"]
        assert 0 < found["headroom_bytes"] < 300 << 20
    # Of 32 GiB not one part in a hundred is used; what is left has fallen by what was written.
    fell = before["headroom_bytes"] - after["headroom_bytes"]
    assert 36_000_000 < fell < 90_000_000
    used, total = (int(number) for number in (results / "snapshot").read_text().split()[3].split("/"))
    assert used / total < 0.01
