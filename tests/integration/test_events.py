# SPDX-License-Identifier: Apache-2.0
"""What the kernel announces is seen at once, and costs no more than it is worth."""

import time
from pathlib import Path
from typing import Final

import pytest

from tests.integration import devices, stacks
from tests.integration.daemon import Daemon, Document, layer, running
from tests.integration.devices import MIB

pytestmark = pytest.mark.kernel


FEW: Final = 6
"""Ticks in a second: looks that follow what has moved may still be under way. Without rest there would be fifty."""


def ticks(daemon: Daemon) -> int:
    """How many it has finished."""
    return int(daemon.metrics().value("tick_duration_seconds_count") or 0)


def calm(daemon: Daemon) -> int:
    """Ticks in a second in which nothing happens, once what has happened is over."""
    time.sleep(0.5)
    before = ticks(daemon)
    time.sleep(1)
    return ticks(daemon) - before


def test_device_that_comes_and_goes_is_seen_and_calm_returns(tmp_path: Path, scratch: Path) -> None:
    """A snapshot is in the status as soon as it is there, gone when it is gone, and nothing is hurried afterwards."""
    with running(tmp_path, '[daemon]\ninterval = "60s"') as daemon:
        with devices.snapshot(scratch, "ow-late", "P") as snapshot:
            found = daemon.until(lambda status: by_id(status, "dm-snapshot:ow-late"), "the new snapshot", 2)
            assert found["details"]["total_sectors"] == 8192
            assert calm(daemon) <= FEW
            devices.write(snapshot.device.node, MIB)
            snapshot.cow.grow(8 * MIB)
            daemon.until(lambda status: layer(status, "dm-snapshot:ow-late")["size_bytes"] == 8 * MIB, "the growth", 2)
        daemon.until(lambda status: not by_id(status, "dm-snapshot:ow-late"), "the end of the snapshot", 2)
        assert calm(daemon) <= FEW


def test_snapshot_that_becomes_invalid_is_news_once(tmp_path: Path, scratch: Path) -> None:
    """The event of device-mapper brings a tick, and then there is nothing left to hurry for."""
    with devices.snapshot(scratch, "ow-snap", "P") as snapshot, running(tmp_path, "") as daemon:
        with pytest.raises(OSError, match="Input/output error"):
            devices.write(snapshot.device.node, 8 * MIB)
        daemon.until(lambda status: layer(status, "dm-snapshot:ow-snap")["state"] == "invalid", "Invalid", 1)
        assert calm(daemon) <= FEW


def test_table_that_was_swapped_is_read_again(tmp_path: Path, scratch: Path) -> None:
    """A store that overflows silently from now on, and one that no longer does, are told apart at once."""
    with stacks.live(tmp_path, scratch, "P", 8 * MIB) as live, running(tmp_path, "") as daemon:
        assert layer(daemon.status(), live.layer)["failure"] == "dead_root"
        live.device.dmsetup("load", "--table", live.device.table.replace(" P ", " PO "))
        live.device.dmsetup("suspend", "--noflush", "--nolockfs")
        live.device.dmsetup("resume")
        daemon.until(lambda status: layer(status, live.layer)["failure"] == "read_only", "the new table", 2)
        assert calm(daemon) <= FEW


def by_id(status: Document, layer_id: str) -> Document | None:
    """One layer, if it is there."""
    layers: list[Document] = status["layers"]
    return next((one for one in layers if one["id"] == layer_id), None)
