# SPDX-License-Identifier: Apache-2.0
"""The mount table is read as the kernel writes it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.kept_file import KeptFile
from overlaywatch.kernel.mountinfo import MountInfo, MountTable, parse_mountinfo, split_options
from tests.kernel.printed import line_of

DATA = Path(__file__).with_name("data")
LINE = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue"

# What a path may hold: anything but NUL. Surrogates stand for bytes that are not UTF-8.
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=[]), min_size=1).map(
    lambda text: text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
)
NUMBERS = st.integers(0, 2**20)
OPTIONS = st.lists(NAMES.filter(lambda text: '"' not in text), min_size=1).map(tuple)
PLAIN_OPTIONS = st.lists(st.sampled_from(["rw", "ro", "nosuid", "nodev", "relatime"]), min_size=1).map(tuple)
MOUNTS = st.builds(
    MountInfo,
    mount_id=NUMBERS,
    parent_id=NUMBERS,
    major=NUMBERS,
    minor=NUMBERS,
    root=NAMES,
    mount_point=NAMES,
    options=PLAIN_OPTIONS,
    fstype=NAMES,
    source=NAMES,
    super_options=OPTIONS,
)
TAGS = st.lists(st.sampled_from(["shared:1", "master:23", "propagate_from:4", "unbindable"]))


@given(st.lists(st.tuples(MOUNTS, TAGS)))
def test_what_the_kernel_prints_is_read_back(table: list[tuple[MountInfo, list[str]]]) -> None:
    """Whatever bytes are in the names, and whatever tags stand between, the record is the same again."""
    text = "".join(line_of(mount, tags) for mount, tags in table)
    assert parse_mountinfo(text) == tuple(mount for mount, _ in table)


@given(st.text() | st.text("0123456789:/ -,rw\\\n"))
def test_garbage_is_a_kernel_text_error(text: str) -> None:
    """Anything that is not a mount table is refused in one way, or is one."""
    try:
        mounts = parse_mountinfo(text)
    except KernelTextError:
        return
    assert len(mounts) == len([line for line in text.split("\n") if line])


def test_fields_of_the_manual() -> None:
    """The line of proc_pid_mountinfo(5) gives its fields."""
    (mount,) = parse_mountinfo(LINE)
    assert mount == MountInfo(
        mount_id=36,
        parent_id=35,
        major=98,
        minor=0,
        root="/mnt1",
        mount_point="/mnt2",
        options=("rw", "noatime"),
        fstype="ext3",
        source="/dev/root",
        super_options=("rw", "errors=continue"),
    )
    assert mount.device == (98, 0)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("rw,upperdir=/a\\054b,workdir=/w", ("rw", "upperdir=/a,b", "workdir=/w")),
        ('rw,context="u:r:t:s0:c1,c2",mode=755', ("rw", 'context="u:r:t:s0:c1,c2"', "mode=755")),
        ('rw,lowerdir=/a"b,mode=755', ("rw", 'lowerdir=/a"b', "mode=755")),
        ("rw", ("rw",)),
    ],
)
def test_commas_inside_values(text: str, options: tuple[str, ...]) -> None:
    """A comma that is escaped or in quotes belongs to its value."""
    assert split_options(text) == options


@pytest.mark.parametrize(
    ("name", "count", "fstype", "source"),
    [
        ("dracut-snapshot", 25, "ext4", "/dev/mapper/live-rw"),
        ("dracut-overlay", 26, "overlay", "LiveOS_rootfs"),
        ("live-boot", 32, "overlay", "overlay"),
        ("overlayroot", 26, "overlay", "overlayroot"),
    ],
)
def test_real_tables(name: str, count: int, fstype: str, source: str) -> None:
    """The tables of real live systems are read whole, and the root is found in them."""
    mounts = parse_mountinfo((DATA / f"mountinfo-{name}.txt").read_text())
    (root,) = [mount for mount in mounts if mount.mount_point == "/"]
    assert len(mounts) == count
    assert (root.fstype, root.source) == (fstype, source)


def test_error_names_the_line() -> None:
    """Whoever reads the error finds the line."""
    with pytest.raises(KernelTextError, match=r"mountinfo, line 2: expected ID .*, found 'no mount'") as caught:
        parse_mountinfo(f"{LINE}\nno mount\n")
    assert caught.value.line == 2


def test_table_is_parsed_again_only_when_it_changes(tmp_path: Path) -> None:
    """While the bytes are the same the very same records are given."""
    file = tmp_path / "mountinfo"
    file.write_text(LINE + "\n")
    table = MountTable(KeptFile(file), announced=False, clock=lambda: 0.0)
    first = table.read()
    assert table.read() is first
    file.write_text(LINE.replace("/mnt2", "/mnt3") + "\n")
    assert table.read()[0].mount_point == "/mnt3"
    table.close()


def test_announced_table_is_read_again_after_a_minute(tmp_path: Path) -> None:
    """Between announcements the table is believed for a minute at most."""
    now = 0.0
    file = tmp_path / "mountinfo"
    file.write_text(LINE + "\n")
    table = MountTable(KeptFile(file), announced=True, clock=lambda: now)
    table.read()
    file.write_text(LINE.replace("/mnt2", "/mnt3") + "\n")
    now = 59.0
    assert table.read()[0].mount_point == "/mnt2"
    now = 60.0
    assert table.read()[0].mount_point == "/mnt3"
    table.close()


def test_this_machine_has_a_root() -> None:
    """The live table of this machine is read by poll and pread."""
    table = MountTable(KeptFile(Path("/proc/self/mountinfo")), announced=True, clock=lambda: 0.0)
    first = table.read()
    assert "/" in {mount.mount_point for mount in first}
    assert table.read() is first
    table.close()
