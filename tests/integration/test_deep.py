# SPDX-License-Identifier: Apache-2.0
"""`explain --deep` on a real kernel: exact by an independent way, and what is said to cost nothing costs nothing."""

import itertools
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from overlaywatch.config.settings import Settings, WatchSettings
from overlaywatch.kernel.dm_target import parse_snapshot_status
from overlaywatch.kernel.view import KernelView
from overlaywatch.registry import open_reader, take_look
from overlaywatch.sources.already_copied import already_copied
from tests.integration import stacks
from tests.integration.devices import MIB, SECTOR, run
from tests.integration.stacks import Live

pytestmark = pytest.mark.kernel

CHUNK = 4096
DELETED = 90


def explain(live: Live) -> tuple[dict[str, Any], str]:
    """The object `deep` of its JSON, and its sentence."""
    config = live.place.parent / "watch.toml"
    config.write_text(f'[watch]\ninclude = ["{live.place}"]\n')
    command = [sys.executable, "-m", "overlaywatch", "explain", str(live.place), "--deep", "--json"]
    done = subprocess.run([*command, "--config", str(config)], capture_output=True, text=True, check=True)
    mount = json.loads(done.stdout)["mounts"][0]
    return mount["deep"], mount["explanation"]["deep"]


def pour(file: Path, mebibytes: int) -> None:
    """A new file, all of it on its device."""
    with file.open("wb") as created:
        for _ in range(mebibytes):
            created.write(os.urandom(MIB))
    os.sync()


def used(live: Live) -> int:
    """Bytes of the store that are taken."""
    sectors = parse_snapshot_status(live.device.status.split(maxsplit=3)[3]).sectors_allocated
    assert sectors is not None
    return sectors * SECTOR


def copied_chunks(live: Live) -> set[int]:
    """The exceptions by dd(1), past the page cache, and a few lines: chunks of 4 KiB, 256 to an area."""
    command = ["dd", f"if={live.cow.node}", "iflag=direct", "bs=1M", "status=none"]
    content = subprocess.run(command, capture_output=True, check=True).stdout
    found: set[int] = set()
    for start in range(CHUNK, len(content), 257 * CHUNK):
        for old, new in struct.iter_unpack("<QQ", content[start : start + CHUNK]):
            if not new:
                return found
            found.add(old)
    return found


def free_pieces(node: Path) -> tuple[set[int], int]:
    """Free blocks, and their size: what dumpe2fs(8) reads in the bitmaps on the device of an unmounted file system."""
    text = run("dumpe2fs", str(node))
    size = re.search(r"^Block size: +(\d+)$", text, re.MULTILINE)
    assert size is not None
    lines = re.findall(r"^  Free blocks: (.+)$", text, re.MULTILINE)
    ranges = [one.partition("-") for line in lines for one in line.split(", ")]
    return {block for first, _, last in ranges for block in range(int(first), int(last or first) + 1)}, int(size[1])


def test_figure_is_exact_by_dumpe2fs(tmp_path: Path, scratch: Path) -> None:
    """90 MiB were written and deleted: the figure is that of dumpe2fs and dd, to the block."""
    with stacks.live(tmp_path, scratch, "PO", 160 * MIB) as live:
        pour(live.place / "kept", 10)
        pour(live.place / "deleted", DELETED)
        (live.place / "deleted").unlink()
        os.sync()
        deep, sentence = explain(live)
        copied = copied_chunks(live)
        subprocess.run(["umount", live.place], check=True)
        free, block = free_pieces(live.device.node)
        both = sum(block for number in free if number * block // CHUNK in copied)
    assert deep["already_copied_free_bytes"] == both
    assert deep["copied_bytes"] == len(copied) * CHUNK
    assert DELETED * MIB <= both <= (DELETED + 1) * MIB
    assert f"{DELETED}.0 MiB are already copied" in sentence


@pytest.mark.parametrize(("fstype", "persistent"), [("ext4", "P"), ("xfs", "PO")])
def test_what_is_already_copied_costs_nothing(tmp_path: Path, scratch: Path, fstype: str, persistent: str) -> None:
    """All free space is written: the store grows by what was not copied yet, and by little else."""
    with stacks.live(tmp_path, scratch, persistent, 176 * MIB, fstype=fstype) as live:
        pour(live.place / "deleted", DELETED)
        (live.place / "deleted").unlink()
        os.sync()
        deep, _ = explain(live)
        before = used(live)
        with pytest.raises(OSError, match="No space"):
            pour(live.place / "more", 160)
        os.sync()
        grown, written = used(live) - before, (live.place / "more").stat().st_size
    assert DELETED * MIB <= deep["already_copied_free_bytes"] <= (DELETED + 1) * MIB
    assert written > 130 * MIB
    assert abs(grown - (written - deep["already_copied_free_bytes"])) < 2 * MIB


def test_what_does_not_stand_still_is_not_told(tmp_path: Path, scratch: Path) -> None:
    """A file is written before each look: what was read before and what after do not fit together. Then it is calm."""
    with stacks.live(tmp_path, scratch, "PO") as live:
        settings = Settings(watch=WatchSettings(include=(str(live.place),)))
        tick, reader = take_look(settings), open_reader(settings)
        names = map(str, itertools.count())

        def busy() -> KernelView:
            (live.place / next(names)).write_bytes(b"x" * CHUNK)
            os.sync()
            return reader.look()

        moved = already_copied(busy, tick.verdicts[0], tick.survey)
        calm = already_copied(reader.look, tick.verdicts[0], tick.survey)
        reader.close()
    assert moved.already_copied_free_bytes is None
    assert "being written to" in moved.reason
    assert calm.already_copied_free_bytes is not None


def test_a_store_that_keeps_its_list_in_memory(tmp_path: Path, scratch: Path) -> None:
    """N: it cannot be known, and that is what is said."""
    with stacks.live(tmp_path, scratch, "N") as live:
        deep, sentence = explain(live)
    assert deep["already_copied_free_bytes"] is None
    assert "in the kernel's memory only" in deep["reason"]
    assert deep["reason"] in sentence
