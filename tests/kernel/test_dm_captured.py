# SPDX-License-Identifier: Apache-2.0
"""Device-mapper in three files: what is written is read again, by us and in the spelling of dmsetup."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.devmapper import DmDevice, DmTarget
from overlaywatch.kernel.dm_captured import FILES, CapturedDm, format_devices
from overlaywatch.kernel.dm_dmsetup import assemble
from overlaywatch.kernel.errors import KernelTextError

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=9)
COUNT = st.integers(0, 2**63)
PARAMS = st.lists(st.sampled_from(["7:1", "PO", "8", "x:y", "a//b"]), max_size=4).map(" ".join)
TARGETS = st.lists(st.builds(DmTarget, COUNT, COUNT, st.just("linear"), PARAMS), max_size=3).map(tuple)
MAKERS = st.sampled_from(["", "LVM-"])
DEVICE = st.builds(
    DmDevice,
    NAMES,
    st.sampled_from(["", "LVM-"]),
    COUNT,
    COUNT,
    st.booleans(),
    st.booleans(),
    COUNT,
    COUNT,
    TARGETS,
    TARGETS,
)


def by_name(found: list[DmDevice]) -> tuple[DmDevice, ...]:
    """In the order in which they are read."""
    return tuple(sorted(found, key=lambda device: device.name.encode()))


DEVICES = st.lists(DEVICE, max_size=4, unique_by=lambda device: device.name).map(by_name)


@given(DEVICES)
def test_round_trip(found: tuple[DmDevice, ...]) -> None:
    """Any name that the kernel allows, any table, none at all."""
    text = format_devices(found)
    assert assemble(*(text[name] for name in FILES)) == found


def written(folder: Path, **files: str) -> CapturedDm:
    """Files that somebody wrote."""
    for name, text in files.items():
        (folder / name).write_text(text)
    return CapturedDm(folder)


def test_written_by_hand(tmp_path: Path) -> None:
    """Three lines make a device."""
    reader = written(
        tmp_path,
        info="live-rw//254//0////L--w//1//0\n",
        table="live-rw: 0 3072000 snapshot 7:1 7:2 PO 8\n",
        status="live-rw: 0 3072000 snapshot 2448/131072 24\n",
    )
    (device,) = reader.devices()
    assert (device.name, device.device, device.table[0].params) == ("live-rw", (254, 0), "7:1 7:2 PO 8")
    assert device.status[0].params == "2448/131072 24"
    assert not reader.can_peek
    assert reader.fileno() is None


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"info": "live-rw 254 0\n", "table": "", "status": ""}, "dm/info: expected name,major"),
        ({"info": "a//254//0////L--w//1//0\n", "table": "a: 0 8\n", "status": "a: \n"}, "dm/table: expected START"),
        ({"info": "a//254//0////L--w//1//0\n", "table": "a: \n", "status": ""}, "lines of a in both table and status"),
    ],
)
def test_what_is_wrong_is_told_with_its_file(tmp_path: Path, files: dict[str, str], said: str) -> None:
    """At every look."""
    (tmp_path / "dm").mkdir()
    reader = written(tmp_path / "dm", **files)
    for _ in range(2):
        with pytest.raises(KernelTextError, match=said):
            reader.devices()


def test_a_missing_file(tmp_path: Path) -> None:
    """Is an error that names it."""
    with pytest.raises(FileNotFoundError, match="/info"):
        CapturedDm(tmp_path).devices()
