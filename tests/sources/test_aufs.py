# SPDX-License-Identifier: Apache-2.0
"""AUFS unions as a real kernel showed them, from the mount table to the verdict."""

import errno
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from overlaywatch.kernel.aufs import Branch, parse_branch
from overlaywatch.kernel.statfs import StatVfs, Ustat
from overlaywatch.model import Failure, LayerId, LayerState, Verdict
from overlaywatch.sources.aufs import AufsSource
from overlaywatch.topology import Topology, judge
from overlaywatch.units import GIB
from overlaywatch.watch import choose
from tests.sources.test_live_machines import memory, survey
from tests.sources.views import Number, StaticView

DATA = Path(__file__).parent / "data" / "aufs"
CASES = {file.stem: json.loads(file.read_text("utf-8")) for file in sorted(DATA.glob("*.json"))}
MIB = 1024 * 1024
RAM_ROOM = 6 * GIB - 6 * GIB // 64
"""Of six available: a part is kept back for what the kernel needs to hold the pages."""


class Captured(StaticView):
    """A stage of a capture: a path whose statvfs failed fails in the same way."""

    stale: frozenset[str] = frozenset()

    def statvfs(self, path: str) -> StatVfs:
        """As it was answered."""
        if path in self.stale:
            raise OSError(errno.ESTALE, "Stale file handle", path)
        return super().statvfs(path)


@dataclass(frozen=True)
class Stage:
    """One stage of one case. `on_root` shows the union of /mnt/union on `/`, as live systems have it."""

    case: str
    name: str
    on_root: bool = False

    @property
    def record(self) -> dict[str, Any]:
        """What was captured."""
        found: dict[str, Any] = CASES[self.case][self.name]
        return found

    @property
    def place(self) -> str:
        """Where the union is."""
        return "/" if self.on_root or self.case.startswith("boot_") else "/mnt/union"

    def path(self, path: str) -> str:
        """The path as it is where the union has been put."""
        return self.place if path == "/mnt/union" else path

    def statvfs(self) -> dict[str, StatVfs]:
        """The figures by path."""
        return {self.path(path): as_stat(one) for path, one in self.record["statvfs"].items() if "bfree" in one}

    def view(self, more: Mapping[Number, Ustat] | None = None, *, blind: bool = False) -> Captured:
        """The machine; `blind`: without ustat(2)."""
        lines = "\n".join(self.record["mountinfo"])
        if self.on_root:
            lines = lines.replace(" / / ", " / /old ").replace(" / /mnt/union ", " / / ")
        answers = {self.path(path): one for path, one in self.record["statvfs"].items() if "bfree" in one}
        rooms = {number(one["device"]): Ustat(one["bfree"], one["ffree"]) for one in self.below()}
        view = Captured(
            lines,
            statvfs=self.statvfs(),
            devices={path: number(one["device"]) for path, one in answers.items()},
            ustat={} if blind else {**rooms, **(more or {})},
            names={(7, 0): "loop0", (7, 1): "loop1", (254, 0): "zram0"},
            memory=memory(8 * GIB, 6 * GIB),
            branches=self.branches(),
        )
        view.stale = frozenset(self.path(path) for path, one in self.record["statvfs"].items() if "bfree" not in one)
        return view

    def below(self) -> list[dict[str, Any]]:
        """What was asked, but for the union and what answers with the union's figures."""
        unions = {line.split()[2] for line in self.record["mountinfo"] if " - aufs " in line or " - hostfs " in line}
        found = self.record["statvfs"].values()
        return [one for one in found if "bfree" in one and one["device"] not in unions]

    def branches(self) -> dict[str, tuple[Branch, ...]]:
        """What sysfs told, by the name of the union."""
        unions: dict[str, list[Branch | None]] = {}
        for name, text in sorted(self.record["sysfs"].items(), key=lambda item: int(item[0].partition("/br")[2])):
            unions.setdefault(name.partition("/")[0].removeprefix("si_"), []).append(parse_branch(text))
        return {name: tuple(filter(None, found)) for name, found in unions.items() if all(found)}

    def verdict(self, more: Mapping[Number, Ustat] | None = None, *, blind: bool = False) -> Verdict:
        """What is said of the union."""
        return verdict(self.view(more, blind=blind), self.place)


def as_stat(record: Mapping[str, int]) -> StatVfs:
    """A captured answer."""
    blocks, files = (record["blocks"], record["bfree"], record["bavail"]), (record["files"], record["ffree"])
    return StatVfs(record["frsize"], *blocks, *files, bool(record["flag"] & 1), record["flag"])


def number(text: str) -> Number:
    """`0:20`"""
    major, _, minor = text.partition(":")
    return int(major), int(minor)


def verdict(view: StaticView, place: str) -> Verdict:
    """What is said of one mount point."""
    seen = survey(view)
    assert all(report.success for report in seen.sources), seen.sources
    mount = next(mount for mount in choose(seen.mounts, include=(place,)))
    return judge(mount, Topology(seen.layers, seen.links).chain(mount.rests_on), seen.readings)


def is_plain(stage: Stage) -> bool:
    """Whether the stage has a union that can be written to, and whose first branch takes all."""
    unions = [line.partition(" - aufs ")[2].split(",") for line in stage.record["mountinfo"] if " - aufs " in line]
    answered = "bfree" in stage.record["statvfs"].get(stage.place, {})
    other = {"c14_br0_ro", "c14b_rw_in_middle", "c15_branch_remount_ro"}
    policies = {"sum", "create=mfs"} & {option for options in unions for option in options}
    read_only = {"05_union_ro", "06_bind_mounts"}
    return bool(unions) and answered and not policies and stage.case not in other and stage.name not in read_only


PLAIN = [stage for case, stages in CASES.items() for name in stages if is_plain(stage := Stage(case, name))]


@pytest.mark.parametrize("blind", [False, True], ids=["ustat", "no ustat"])
@pytest.mark.parametrize("stage", PLAIN, ids=lambda stage: f"{stage.case}-{stage.name}")
def test_statvfs_of_the_union_is_the_truth(stage: Stage, blind: bool) -> None:
    """Wherever its branches were moved, hidden, covered or renamed; zeros are no limit."""
    stat = stage.statvfs()[stage.place]

    found = stage.verdict(blind=blind)

    room = stat.blocks_available * stat.block_size if stat.blocks else RAM_ROOM
    expected = 0 if stat.files and not stat.files_free else room
    assert expected in {found.headroom_bytes, found.headroom_at_most_bytes}
    assert found.headroom_bytes in {expected, None}
    if stat.blocks_available == stat.blocks_free and not (stat.files == 0 and stat.blocks):
        assert found.headroom_bytes == expected


def test_a_union_on_a_tmpfs_that_can_be_seen() -> None:
    """As KNOPPIX or Porteus have it: the tmpfs is the limit, and half full."""
    found = Stage("c01_noxino", "01_half").verdict()

    assert found.chain == ("aufs:/mnt/union", "tmpfs:/mnt/rw", "ram")
    assert (found.headroom_bytes, found.limit, found.failure) == (8 * MIB, "tmpfs:/mnt/rw", Failure.ENOSPC)
    assert found.used_ratio == 0.5


def test_jessie_has_an_empty_tmpfs_over_the_real_one() -> None:
    """The path of the branch leads to the wrong tmpfs of two: it is not the limit, and must not be remounted."""
    stage = Stage("boot_jessie", "02_full")
    stat = stage.statvfs()["/"]

    found = stage.verdict({(0, 19): Ustat(*stat.room)})
    blind = stage.verdict(blind=True)

    assert found.chain == ("aufs:/", "tmpfs:0:19", "ram")
    assert (found.headroom_bytes, blind.headroom_bytes) == (0, 0)
    assert blind.chain == ("aufs:/", "ram")
    assert "/lib/live/mount/overlay" not in found.remedy + blind.remedy


def test_buster_names_the_tmpfs_that_can_be_remounted() -> None:
    """Without a trap: the branch's path is right, and the same tmpfs is mounted twice."""
    found = Stage("boot_buster", "01_half").verdict()

    assert (found.limit, found.headroom_bytes) == ("tmpfs:/run/live/overlay", 8 * MIB)
    assert "remount,size=" in found.remedy


def test_a_branch_on_the_initramfs_itself_has_no_limit_but_ram() -> None:
    """Zeros in statvfs of the union are those of a ramfs; swap does not help it."""
    found = Stage("boot_rootfsbr", "01_half").verdict()

    assert (found.limit, found.headroom_bytes, found.failure) == ("ram", RAM_ROOM, Failure.OOM)


def test_of_several_writable_branches_the_smallest_room_counts() -> None:
    """A file goes where its folder is: the first branch that ends refuses it, however much the union shows."""
    found = Stage("c04b_two_rw_bigfirst", "00_before", on_root=True).verdict()

    assert set(found.chain) == {"aufs:/", "tmpfs:/mnt/rw", "tmpfs:/mnt/rw2", "ram"}
    assert (found.headroom_bytes, found.limit) == (8 * MIB, "tmpfs:/mnt/rw2")


def test_a_policy_that_spreads_files_shows_free_space_where_there_is_none() -> None:
    """create=mfs: the union says 12 MiB of 16 are free, and the write got ENOSPC from the other branch."""
    full = Stage("c06_mfs", "02_full", on_root=True)

    assert full.statvfs()["/"].blocks_available > 0
    assert full.verdict().headroom_bytes == 0


def test_where_the_branches_are_not_known_a_policy_leaves_the_room_unknown() -> None:
    """What the union shows is no more than an upper bound."""
    found = Stage("c06_mfs", "02_full").verdict()

    assert (found.headroom_bytes, found.limit) == (None, None)
    assert found.headroom_at_most_bytes == Stage("c06_mfs", "02_full").statvfs()["/mnt/union"].blocks_available * 4096


@pytest.mark.parametrize("name", ["00_before", "01_half", "02_full", "04_deleted"])
def test_sum_with_one_writable_branch(name: str) -> None:
    """The image is in the size and always full; the room is that of the one branch."""
    stage = Stage("c05_sum_one_rw", name)

    found = stage.verdict()

    assert (found.limit, found.headroom_bytes) == ("tmpfs:/mnt/rw", stage.statvfs()["/mnt/rw"].blocks_available * 4096)
    assert survey(stage.view()).readings[LayerId("aufs:/mnt/union")].size_bytes is None


def test_sum_of_several_is_no_headroom() -> None:
    """Two thirds free, and yet ENOSPC: without the branches nothing is claimed, with them the full one counts."""
    unknown, known = (Stage("c05b_sum_two_rw", "02_full", on_root=on_root).verdict() for on_root in (False, True))

    assert (unknown.headroom_bytes, unknown.headroom_at_most_bytes) == (None, 32 * MIB)
    assert (known.headroom_bytes, known.limit) == (0, "tmpfs:/mnt/rw")


def test_sum_without_ustat_is_an_upper_bound() -> None:
    """It cannot be told from that of several."""
    found = Stage("c05_sum_one_rw", "01_half").verdict(blind=True)

    assert (found.headroom_bytes, found.headroom_at_most_bytes) == (None, 8 * MIB)


def test_an_image_on_top_does_not_make_the_union_full() -> None:
    """The first branch is a squashfs and shows no room, for ever; the writable one below has all of its."""
    unknown = Stage("c14_br0_ro", "00_before").verdict()
    known = Stage("c14_br0_ro", "00_before", on_root=True).verdict()

    assert (unknown.headroom_bytes, unknown.headroom_at_most_bytes) == (None, None)
    assert (known.headroom_bytes, known.limit) == (16 * MIB, "tmpfs:/mnt/rw")


def test_branches_that_are_all_read_only_take_no_data() -> None:
    """The mount table goes on saying rw, and statvfs shows room."""
    found = Stage("c14_br0_ro", "02_all_ro_but_mounted_rw", on_root=True).verdict()

    assert (found.headroom_bytes, found.failure) == (0, Failure.READ_ONLY)


def test_a_branch_whose_file_system_was_made_read_only_takes_no_data() -> None:
    """EROFS, while the union says rw and its branch too."""
    found = Stage("c15_branch_remount_ro", "00_branch_ro").verdict()

    assert (found.headroom_bytes, found.failure) == (0, Failure.READ_ONLY)
    assert LayerState.READ_ONLY in found.states


def test_a_removed_branch_makes_the_union_stale() -> None:
    """Every look-up on it fails with ESTALE: it is dead, and that is a state and not an error of ours."""
    stage = Stage("c29_branch_dir_renamed_removed", "01_removed")

    found = stage.verdict()

    assert (found.headroom_bytes, found.failure) == (0, Failure.DEAD_ROOT)
    assert "stale" in survey(stage.view()).readings[LayerId("aufs:/mnt/union")].reason


def test_branches_in_the_mount_options_are_believed_wherever_the_union_is() -> None:
    """aufs.brs=0 needs no sysfs."""
    layer = next(one for one in survey(Stage("c31_brs0", "01_xino_sum_space").view()).layers if one.kind == "aufs")

    assert layer.details["branches"] == ("/mnt/rw/a b=rw", "/mnt/ro=rr+wh")


class Asked(Captured):
    """Counts who is asked for branches."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.asked: list[str] = []

    def aufs_branches(self, si: str) -> tuple[Branch, ...] | None:
        """One more time."""
        self.asked.append(si)
        return super().aufs_branches(si)


def test_sysfs_is_asked_once_and_for_the_union_on_the_root_alone() -> None:
    """Reading there while a union comes or goes panics the kernel: never of another, never again."""
    line = "{} 1 0:{} / {} rw - aufs aufs rw,si={}\n"
    view = Asked(line.format(20, 30, "/", "a1") + line.format(21, 31, "/mnt", "b2"))
    source = AufsSource()

    source.survey(view, 0.0)
    again = Asked(line.format(20, 30, "/", "a1"))
    source.survey(again, 1.0)
    late = Asked(line.format(20, 30, "/", "c3"))
    source.survey(late, 2.0)

    assert (view.asked, again.asked, late.asked) == (["a1"], [], [])
    started_without = AufsSource()
    started_without.survey(Asked("20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"), 0.0)
    started_without.survey(late, 1.0)
    assert late.asked == []
