# SPDX-License-Identifier: Apache-2.0
"""What dmsetup prints is read whatever the devices are called, and a dmsetup that fails or hangs stops nobody."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.devmapper import DmDevice, DmTarget
from overlaywatch.kernel.dm_dmsetup import DmsetupReader, parse_info, parse_targets
from overlaywatch.kernel.errors import KernelTextError
from tests.kernel.printed import dmsetup_lines, info_line

DATA = Path(__file__).with_name("data")

NAMES = st.text(st.characters(exclude_characters="\0/"), min_size=1, max_size=127)
PARAMS = st.from_regex(r"[a-z0-9:]+( [A-Z0-9:/]+)*", fullmatch=True) | st.just("")
TARGETS = st.builds(DmTarget, st.integers(0, 2**40), st.integers(0, 2**40), st.just("linear"), PARAMS)
DEVICES = st.builds(
    DmDevice,
    name=NAMES,
    uuid=st.text(st.characters(exclude_characters="\0")).filter(lambda text: "//" not in text),
    major=st.integers(0, 4095),
    minor=st.integers(0, 2**20),
    suspended=st.booleans(),
    read_only=st.booleans(),
    event_nr=st.integers(0, 2**32),
    open_count=st.integers(0, 100),
    table=st.just(()),
    status=st.just(()),
)


@given(st.lists(DEVICES, min_size=1))
def test_info_round_trip(devices: list[DmDevice]) -> None:
    """Names and uuids of any text, also with line breaks, are read back."""
    assert parse_info("".join(map(info_line, devices))) == tuple(devices)


@given(st.dictionaries(NAMES.filter(lambda name: ": " not in name), st.lists(TARGETS), min_size=1))
def test_targets_round_trip(tables: dict[str, list[DmTarget]]) -> None:
    """One line for each target, and one with nothing for a device without a table."""
    text = dmsetup_lines(tables)
    assert parse_targets("table", text, frozenset(tables)) == {name: tuple(one) for name, one in tables.items()}


@given(st.text() | st.text("a/:- 0123456789wL\n"))
def test_garbage_is_a_kernel_text_error(text: str) -> None:
    """Output that dmsetup never prints is refused in one way."""
    for parse in (parse_info, lambda text: parse_targets("table", text, frozenset({"a", ""}))):
        try:
            parse(text)
        except KernelTextError:
            continue


def test_names_that_look_like_lines() -> None:
    """Of two names that fit the longer one is meant; lines of devices that came later are skipped."""
    text = "q: 0 8 linear 7:0 0\nq: 0 8 linear 7:0 0: 0 8 linear 7:1 0\nlate: 0 8 linear 7:2 0\nn\nq: 0 8 zero \n"
    names = frozenset({"q", "q: 0 8 linear 7:0 0", "n\nq"})
    assert parse_targets("table", text, names) == {
        "q": (DmTarget(0, 8, "linear", "7:0 0"),),
        "q: 0 8 linear 7:0 0": (DmTarget(0, 8, "linear", "7:1 0"),),
        "n\nq": (DmTarget(0, 8, "zero", ""),),
    }


def test_no_devices() -> None:
    """dmsetup says so in words."""
    assert parse_info("No devices found\n") == ()
    assert parse_targets("table", "No devices found\n", frozenset()) == {}


def test_real_output() -> None:
    """The devices of a real live system on a thin pool."""
    names = frozenset({"live-base", "live-overlay-pool", "live-rw"})
    tables = parse_targets("table", (DATA / "dmsetup-table.txt").read_text(), names)
    statuses = parse_targets("status", (DATA / "dmsetup-status.txt").read_text(), names)
    assert tables["live-rw"] == (DmTarget(0, 3072000, "thin", "254:0 0 7:1"),)
    assert statuses["live-base"] == (DmTarget(0, 3072000, "linear", ""),)
    assert statuses["live-overlay-pool"][0].params.startswith("0 4161/838860 9/65536 - rw ")


def program(folder: Path, script: str) -> str:
    """A program that stands where dmsetup would."""
    file = folder / "dmsetup"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def test_device_that_goes_between_two_runs_is_absent(tmp_path: Path) -> None:
    """A device must be in the list, the tables and the statuses."""
    script = """case "$*" in
    *info*) printf 'a//254//0////L--w//0//0\\nb//254//1////---w//0//0\\nc//254//2////L--w//0//0\\n';;
    *table*) printf 'a: 0 8 linear 7:0 0\\nb: \\nc: 0 8 linear 7:0 0\\n';;
    *status*) printf 'a: 0 8 linear \\nb: \\n';;
    esac"""
    devices = DmsetupReader(program(tmp_path, script)).devices()
    assert [(device.name, len(device.table)) for device in devices] == [("a", 1), ("b", 0)]


def test_failure_says_what_dmsetup_said(tmp_path: Path) -> None:
    """A dmsetup that keeps failing is an OSError with its own words."""
    reader = DmsetupReader(program(tmp_path, "echo 'Incompatible libdevmapper' >&2; exit 1"))
    with pytest.raises(OSError, match="`dmsetup info` failed: Incompatible libdevmapper"):
        reader.devices()


def test_failure_is_tried_again(tmp_path: Path) -> None:
    """dmsetup fails as a whole if a device vanishes while it lists: the next run counts."""
    marker = tmp_path / "failed-once"
    script = f'test -e {marker} || {{ touch {marker}; exit 1; }}\necho "No devices found"'
    assert DmsetupReader(program(tmp_path, script)).devices() == ()


def test_missing_program_is_named(tmp_path: Path) -> None:
    """Where dmsetup is not installed the error names it."""
    with pytest.raises(FileNotFoundError, match="dmsetup"):
        DmsetupReader(str(tmp_path / "dmsetup")).devices()


def test_hanging_program_is_left_behind(tmp_path: Path) -> None:
    """A run that does not end in time is a TimeoutError; it is killed."""
    reader = DmsetupReader(program(tmp_path, "exec sleep 60"), timeout=0.05)
    with pytest.raises(TimeoutError, match=r"`dmsetup info` did not answer within 0\.05 s"):
        reader.devices()
