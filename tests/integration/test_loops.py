# SPDX-License-Identifier: Apache-2.0
"""Sparse images on loops, and an xfs that shuts itself down, on a real kernel."""

from pathlib import Path

import pytest

from overlaywatch.config.settings import Settings
from overlaywatch.model import Failure, LayerId, LayerState
from overlaywatch.registry import take_look
from tests.integration import devices, stacks
from tests.integration.devices import MIB, run
from tests.integration.stacks import mounted
from tests.integration.test_chains import assert_true, verdict, went_in

pytestmark = pytest.mark.kernel

MAKE = ("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard")


@pytest.mark.parametrize(("options", "limit"), [(("size=60m",), "tmpfs:%"), (("size=200m",), "filesystem:")])
def test_a_sparse_image(tmp_path: Path, options: tuple[str, ...], limit: str) -> None:
    """Of 120 MiB that df shows, what the tmpfs below can hold goes in; with room for all of it, it is no limit."""
    with stacks.store(tmp_path / "s", 120 * MIB, options=options) as loop:
        run(*MAKE, str(loop.node))
        with mounted(str(loop.node), tmp_path / "m", "ext4") as place:
            found = verdict(place)
            truth = went_in(place / "more")
    assert found.limit is not None
    assert found.limit.startswith(limit.replace("%", f"{tmp_path}/s"))
    assert found.failure is (Failure.ENOSPC if limit == "filesystem:" else Failure.IO_ERROR)
    assert_true(found.headroom_bytes, truth)


def test_a_part_of_a_file(tmp_path: Path) -> None:
    """A loop of 64 MiB in the midst of a hole of 1 GiB: the tmpfs, with 100 MiB, is enough for it."""
    with mounted("tmpfs", tmp_path / "s", "tmpfs", "size=100m") as store:
        file = store / "image"
        with file.open("wb") as created:
            created.truncate(1024 * MIB)
        with devices.loop(file, options=["--offset", str(32 * MIB), "--sizelimit", str(64 * MIB)]) as loop:
            run(*MAKE, str(loop.node))
            with mounted(str(loop.node), tmp_path / "m", "ext4") as place:
                found = verdict(place)
                truth = went_in(place / "more")
    assert (found.limit, found.failure) == (f"filesystem:{place}", Failure.ENOSPC)
    assert_true(found.headroom_bytes, truth)


def test_an_xfs_that_shuts_itself_down(tmp_path: Path, scratch: Path) -> None:
    """The mount table says rw, statvfs shows room: nothing goes in any more."""
    with devices.loop(scratch / "disk", 320 * MIB) as loop:
        run("mkfs.xfs", "-q", str(loop.node))
        with mounted(str(loop.node), tmp_path / "m", "xfs") as place:
            well = verdict(place)
            run("xfs_io", "-x", "-c", "shutdown", str(place))
            tick = take_look(Settings())
    reading = tick.survey.readings[LayerId(f"filesystem:{place}")]
    found = next(one for one in tick.verdicts if one.mount.mount_point == str(place))
    assert well.headroom_bytes is not None
    assert well.headroom_bytes > 200 * MIB
    assert (reading.state, found.headroom_bytes, found.failure) == (LayerState.FAILED, 0, Failure.DEAD_ROOT)
