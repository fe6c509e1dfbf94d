# SPDX-License-Identifier: Apache-2.0
"""A store fills at full speed while the daemon runs beside it: its numbers, its words, and whom it tells."""

import subprocess
from pathlib import Path

import pytest

from overlaywatch.kernel.dm_target import parse_snapshot_status
from tests.integration import stacks
from tests.integration.daemon import Daemon, layer, running
from tests.integration.devices import SECTOR

pytestmark = pytest.mark.kernel


def watching(place: Path, more: str = "", interval: str = "1s") -> str:
    """A configuration that watches one mount point."""
    return f'[daemon]\ninterval = "{interval}"\n[watch]\ninclude = ["{place}"]\n{more}'


def pour(place: Path, mebibytes: int, *flags: str) -> None:
    """As fast as the machine can: a new file of zeros, and then everything on its way is written out."""
    command = ["dd", "if=/dev/zero", f"of={place}", "bs=1M", f"count={mebibytes}", *flags]
    subprocess.run(command, check=True, capture_output=True)
    subprocess.run(["sync"], check=True)


@pytest.mark.parametrize("persistent", ["N", "P", "PO"])
def test_numbers_are_the_same_to_the_sector(tmp_path: Path, scratch: Path, persistent: str) -> None:
    """What dmsetup prints, `status --json`, the API and /metrics say of a store is the same at every level."""
    with stacks.live(tmp_path, scratch, persistent) as live, running(tmp_path, watching(live.place)) as daemon:
        for step in ("calm", "half", "more"):
            if step != "calm":
                pour(live.place / step, 24, "conv=fsync")
            assert_same(live, daemon)


def assert_same(live: stacks.Live, daemon: Daemon) -> None:
    """All ways to ask give one answer. The kernel is asked before and after: nothing moved in between."""
    word = kernel_says(live)
    status, looked, metrics = daemon.fresh(), daemon.look(), daemon.metrics()
    assert kernel_says(live) == word
    kernel = parse_snapshot_status(word)
    assert kernel.sectors_allocated is not None
    assert kernel.total_sectors is not None
    assert kernel.metadata_sectors is not None
    figures = {
        "size_bytes": kernel.total_sectors * SECTOR,
        "used_bytes": kernel.sectors_allocated * SECTOR,
        "metadata_bytes": kernel.metadata_sectors * SECTOR,
        "used_ratio": kernel.sectors_allocated / kernel.total_sectors,
    }
    details = {
        "sectors_allocated": kernel.sectors_allocated,
        "total_sectors": kernel.total_sectors,
        "metadata_sectors": kernel.metadata_sectors,
    }
    for document in (status, looked):
        found = layer(document, live.layer)
        assert {name: found[name] for name in figures} == figures
        assert {name: found["details"][name] for name in details} == details
        assert (found["state"], found["numbers_age_seconds"]) == ("ok", 0)
    assert {name: metrics.value(f"layer_{name}", layer=live.layer) for name in figures} == figures
    assert metrics.value("layer_state", layer=live.layer, state="ok") == 1


def kernel_says(live: stacks.Live) -> str:
    """The numbers of the status line."""
    return live.device.status.split(maxsplit=3)[3]
