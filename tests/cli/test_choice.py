# SPDX-License-Identifier: Apache-2.0
"""Which mount point is meant by a path."""

from dataclasses import replace

import pytest

from overlaywatch.cli.choice import chosen, mount_below
from overlaywatch.cli.problem import Exit, Problem
from overlaywatch.model import Mount, super_block_ref
from tests.cli import ticks

PROC = Mount("/proc", "proc", "proc", super_block_ref(0, 21))
MEDIUM = Mount("/run/initramfs/live", "iso9660", "/dev/sr0", super_block_ref(11, 0), read_only=True)
BOUND = Mount("/srv/run", "tmpfs", "tmpfs", ticks.RUN_MOUNT.rests_on)
TICK = replace(ticks.fresh(), survey=replace(ticks.fresh().survey, mounts=(*ticks.LIVE_MOUNTS, PROC, MEDIUM, BOUND)))


def resolve(path: str) -> str:
    """A machine with one symbolic link, and nothing called /typo."""
    if path.startswith("/typo"):
        raise FileNotFoundError(path)
    return path.replace("/var/run", "/run")


@pytest.mark.parametrize(
    ("path", "mount_point"),
    [
        ("/", "/"),
        ("//", "/"),
        ("/var/log/../lib", "/"),
        ("/run/", "/run"),
        ("//run/user", "/run"),
        ("/running", "/"),
        ("/run/initramfs/live/LiveOS", "/run/initramfs/live"),
    ],
)
def test_path_is_on_the_nearest_mount_above_it(path: str, mount_point: str) -> None:
    """Whole parts of the path count; `..` and doubled slashes are taken out first."""
    found = mount_below(path, TICK.survey.mounts)

    assert found is not None
    assert found.mount_point == mount_point


def test_the_last_mount_on_a_place_is_the_one_that_is_seen() -> None:
    """A mount covers those that were mounted on the same place before."""
    over = Mount("/run", "ext4", "/dev/sda1", super_block_ref(8, 1))

    assert mount_below("/run/x", (ticks.ROOT_MOUNT, ticks.RUN_MOUNT, over)) is over


def test_nothing_is_mounted_without_a_root() -> None:
    """A mount table that could not be read holds no path."""
    assert mount_below("/run", ()) is None


@pytest.mark.parametrize(
    ("path", "mount_points"),
    [
        (None, ["/", "/run"]),
        ("/", ["/"]),
        ("/var/log", ["/"]),
        ("/run/user/0", ["/run"]),
        ("/srv/run/x", ["/run"]),
        ("/var/run/user", ["/run"]),
    ],
)
def test_chosen_are_the_verdicts_on_what_the_path_lies_on(path: str | None, mount_points: list[str]) -> None:
    """All without a path; a second mount of a watched file system leads to the verdict on it."""
    assert [verdict.mount.mount_point for verdict in chosen(TICK, path, resolve)] == mount_points


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        (
            "/proc/1",
            Exit.CANNOT_KNOW,
            "/proc/1: not watched (it is on /proc, proc); watched here: /, /run; '[watch] include' adds others",
        ),
        (
            "/run/initramfs/live",
            Exit.CANNOT_KNOW,
            (
                "/run/initramfs/live: not watched (it is on /run/initramfs/live, iso9660, read-only); "
                "watched here: /, /run; '[watch] include' adds others"
            ),
        ),
        ("/typo", Exit.USAGE, "/typo: no such file or directory; name a mount point such as /, or a path on one"),
        ("run", Exit.USAGE, "run: not an absolute path; name a mount point such as /, or a path on one"),
    ],
)
def test_what_is_not_watched_is_said(path: str, status: Exit, told: str) -> None:
    """The answer names the mount that the path is on, and those that are watched."""
    with pytest.raises(Problem) as caught:
        chosen(TICK, path, resolve)

    assert (str(caught.value), caught.value.status) == (told, status)


@pytest.mark.parametrize("path", ["/", "/run/", "//run", "/run/../run"])
def test_a_mount_point_is_not_looked_at(path: str) -> None:
    """It may be dead: what is said of it comes from the kernel's tables."""

    def dead(path: str) -> str:
        raise AssertionError(path)

    assert chosen(TICK, path, dead)
