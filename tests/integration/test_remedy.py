# SPDX-License-Identifier: Apache-2.0
"""The remedy is done as it is printed, and it helps."""

import contextlib
import itertools
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration import devices, stacks
from tests.integration.devices import MIB, run
from tests.integration.stacks import mounted
from tests.integration.test_chains import verdict, went_in

pytestmark = pytest.mark.kernel

Stack = Callable[[Path], contextlib.AbstractContextManager[Path]]


@contextlib.contextmanager
def overlay(folder: Path, *options: str, covered: bool = False) -> Iterator[Path]:
    """An overlay on a tmpfs of its own; `covered`: another tmpfs was mounted over that one, as live-boot once did."""
    with contextlib.ExitStack() as stack:
        base = stack.enter_context(mounted("tmpfs", folder / "base", "tmpfs", *options))
        for name in ("lower", "upper", "work"):
            (base / name).mkdir()
        dirs = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
        place = stack.enter_context(mounted("overlay", folder / "root", "overlay", dirs))
        if covered:
            stack.enter_context(mounted("tmpfs", folder / "base", "tmpfs", *options))
        yield place


def commands(remedy: str) -> list[list[str]]:
    """What can be pasted from it."""
    return [shlex.split(found) for found in re.findall(r"mount -o \S+ [^\s;]+|fstrim [^\s,;]+", remedy)]


def test_a_full_tmpfs_is_remounted_larger(tmp_path: Path) -> None:
    """The overlay on it has room again, at once."""
    with overlay(tmp_path, "size=20m") as place:
        went_in(place / "full")
        full = verdict(place)
        run(*commands(full.remedy)[0])
        after = verdict(place)
        truth = went_in(place / "more")
    assert full.headroom_bytes == 0
    assert after.headroom_bytes is not None
    assert 16 * MIB <= after.headroom_bytes <= truth + MIB


def test_inodes_are_remounted_too(tmp_path: Path) -> None:
    """Blocks are there and nothing can be created: the command speaks of inodes."""
    names = itertools.count()
    with overlay(tmp_path, "size=20m", "nr_inodes=30") as place:
        while verdict(place).headroom_bytes:
            (place / str(next(names))).touch()
        full = verdict(place)
        run(*commands(full.remedy)[0])
        (place / "one more").touch()
        after = verdict(place)
    assert full.headroom_bytes == 0
    assert after.headroom_bytes


def test_deleting_helps_on_an_overlay(tmp_path: Path) -> None:
    """The other half of the line."""
    with overlay(tmp_path, "size=20m") as place:
        went_in(place / "full")
        full = verdict(place)
        (place / "full").unlink()
        after = verdict(place)
    assert full.remedy.startswith(f"delete files on {place}")
    assert after.headroom_bytes is not None
    assert after.headroom_bytes > 19 * MIB


def test_a_covered_tmpfs_is_not_to_be_remounted(tmp_path: Path) -> None:
    """The path leads to another tmpfs: remounting that one gives nothing, so it is not said."""
    with overlay(tmp_path, "size=20m", covered=True) as place:
        went_in(place / "full")
        full = verdict(place)
        run("mount", "-o", "remount,size=40m", str(tmp_path / "base"))
        wrong = verdict(place)
        (place / "full").unlink()
        after = verdict(place)
    assert full.limit is not None
    assert full.limit.startswith("tmpfs:0:")
    assert full.remedy == f"delete files on {place}"
    assert wrong.headroom_bytes == 0
    assert after.headroom_bytes is not None
    assert after.headroom_bytes > 19 * MIB


@contextlib.contextmanager
def sparse_image(folder: Path) -> Iterator[Path]:
    """On a tmpfs that is smaller."""
    with (
        mounted("tmpfs", folder / "store", "tmpfs", "size=60m") as store,
        stacks.image(store, writable=True) as disk,
        mounted(str(disk.node), folder / "root", "ext4") as place,
    ):
        yield place


@contextlib.contextmanager
def small_pool(folder: Path) -> Iterator[Path]:
    """A volume that promises more than its pool has."""
    with (
        mounted("tmpfs", folder / "store", "tmpfs", "size=100m") as store,
        devices.thin_pool(store, "ow-pool", data_size=60 * MIB) as pool,
        devices.thin(pool.device, "ow-thin", size=200 * MIB) as volume,
    ):
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(volume.node))
        with mounted(str(volume.node), folder / "root", "ext4") as place:
            yield place


@pytest.mark.parametrize(("stack", "limit"), [(sparse_image, "tmpfs:"), (small_pool, "dm-thin-pool:ow-pool")])
def test_below_a_block_device_deleting_helps_after_a_trim(tmp_path: Path, stack: Stack, limit: str) -> None:
    """The tmpfs, or the pool, has its room back after fstrim, and not before."""
    with stack(tmp_path) as place:
        (place / "some").write_bytes(b"x" * 20 * MIB)
        some = verdict(place)
        (place / "some").unlink()
        deleted = verdict(place)
        fstrim = next(words for words in commands(some.remedy) if words[0] == "fstrim")
        run(*fstrim)
        trimmed = verdict(place)
    assert some.limit is not None
    assert some.limit.startswith(limit)
    assert some.headroom_bytes is not None
    assert deleted.headroom_bytes is not None
    assert trimmed.headroom_bytes is not None
    assert deleted.headroom_bytes < some.headroom_bytes + 2 * MIB
    assert trimmed.headroom_bytes > some.headroom_bytes + 18 * MIB
