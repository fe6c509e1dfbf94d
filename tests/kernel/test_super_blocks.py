# SPDX-License-Identifier: Apache-2.0
"""Which file systems may be a union's upper, and which of them look like it."""

from collections.abc import Iterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.captured import CapturedMachine
from overlaywatch.kernel.mountinfo import parse_mountinfo
from overlaywatch.kernel.statfs import StatVfs, Ustat
from overlaywatch.kernel.super_blocks import alike, parse_nfs_volumes, parse_number, read_numbers

VOLUMES = """NV SERVER   PORT DEV          FSID                              FSC
v4 0a000002  801 0:45         c3f0a1b2:0                        no
v3 0a000003  801 0:1048575    deadbeef:1                        yes
"""
MOUNTS = (
    "20 1 0:20 / / rw - overlay /cow rw,upperdir=/cow/upper\n"
    "21 20 0:5 / /proc rw - proc proc rw\n"
    "22 20 0:22 / /run rw - tmpfs tmpfs rw\n"
    "23 20 0:24 / /srv rw - cifs //server/share rw\n"
    "24 20 8:1 / /cdrom ro - iso9660 /dev/sda1 ro\n"
)


def stat(free: int, inodes: int) -> StatVfs:
    """A file system with so much room."""
    return StatVfs(4096, 10**6, free, free, 10**6, inodes, read_only=False, flags=0)


def test_nfs_tells_the_numbers_of_its_mounts() -> None:
    """As fs/nfs/client.c prints them; a damaged line tells none."""
    assert parse_nfs_volumes(VOLUMES) == {(0, 45), (0, 1048575)}
    assert parse_nfs_volumes("") == parse_nfs_volumes("NV SERVER\nv4 x\nv4 0a 801 0:x c no\n") == set()


@given(st.text(alphabet="0123456789:- ²", max_size=8))
def test_a_number_is_two_numbers_and_a_colon(text: str) -> None:
    """Anything else is none, and no error."""
    found = parse_number(text)

    assert found is None or f"{found[0]}:{found[1]}" == ":".join(part.lstrip("0") or "0" for part in text.split(":"))


def test_local_file_systems_are_asked_and_no_others(tmp_path: Path) -> None:
    """Unions, pseudo and network file systems are left out, hidden NFS and FUSE too; unmounted disks are not."""
    for name in ("8:1", "8:2", "nonsense"):
        (tmp_path / "sys/dev/block" / name).mkdir(parents=True)
    (tmp_path / "sys/fs/fuse/connections/30").mkdir(parents=True)
    (tmp_path / "proc/fs/nfsfs").mkdir(parents=True)
    (tmp_path / "proc/fs/nfsfs/volumes").write_text(VOLUMES, "utf-8")

    found = read_numbers(CapturedMachine(tmp_path), parse_mountinfo(MOUNTS))

    assert {(8, 2), (0, 22), (0, 23), (0, 31)} <= set(found)
    assert not {(8, 1), (0, 20), (0, 5), (0, 24), (0, 30), (0, 45)} & set(found)
    assert max(found) == (8, 2)


def test_a_machine_without_sysfs_still_has_anonymous_numbers(tmp_path: Path) -> None:
    """They are those below the highest of the mount table, and a few more."""
    found = read_numbers(CapturedMachine(tmp_path), parse_mountinfo(MOUNTS))

    assert (0, 23) in found


def test_the_same_room_is_alike() -> None:
    """Free blocks and free inodes, both; ustat(2) cuts blocks to 32 bits."""
    big = 5 * 2**32 + 7
    rooms = {(0, 31): Ustat(7, 90), (0, 32): Ustat(7, 91), (0, 33): Ustat(8, 90)}

    assert alike("/", [*rooms, (0, 34)], lambda _: stat(big, 90), lambda *number: rooms.get(number)) == ((0, 31),)


def test_what_lies_between_before_and_after_is_alike() -> None:
    """A writer takes blocks while the others are asked."""
    moving: Iterator[StatVfs] = iter([stat(100, 50), stat(80, 49)])
    rooms = {(0, 31): Ustat(90, 50), (0, 32): Ustat(79, 50), (0, 33): Ustat(90, 51)}

    assert alike("/", list(rooms), lambda _: next(moving), lambda *number: rooms[number]) == ((0, 31),)


def test_nothing_alike_is_asked_for_again() -> None:
    """Between two looks it may be written to and fro; the third time it stands still."""
    answers = iter([Ustat(1, 1), Ustat(2, 1), Ustat(5, 5)])

    assert alike("/", [(0, 31)], lambda _: stat(5, 5), lambda *_: next(answers)) == ((0, 31),)


def test_a_path_is_asked_by_statvfs() -> None:
    """One that leads nowhere is like nothing."""
    paths = {"/": stat(5, 5), "/upper": stat(5, 5)}

    def statvfs(path: str) -> StatVfs:
        if path not in paths:
            raise FileNotFoundError(path)
        return paths[path]

    assert alike("/", ["/upper", "/gone"], statvfs, lambda *_: None) == ("/upper",)
