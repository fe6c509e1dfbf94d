# SPDX-License-Identifier: Apache-2.0
"""Branches of AUFS unions, as a kernel prints them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.aufs import Branch, parse_branch, parse_options, parse_si, read_branches
from overlaywatch.kernel.captured import CapturedMachine
from overlaywatch.kernel.mountinfo import parse_mountinfo

PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).map(
    lambda text: f"/{text}"
)
PERMISSIONS = st.sampled_from(["rw", "ro", "rr", "rw+nolwh", "ro+wh", "rr+wh", "rw+moo+nolwh", "rr+icexsec"])


def escaped(path: str) -> str:
    """As au_seq_path() prints it: octal for everything up to a blank, backslash and DEL."""
    return "".join(f"\\{ord(char):03o}" if ord(char) <= 32 or char in "\\\x7f" else char for char in path)


@given(PATHS, PERMISSIONS)
def test_a_branch_is_a_path_and_a_permission(path: str, permission: str) -> None:
    """Whatever is in the name: the last equals sign counts, and escapes are those of the kernel."""
    assert parse_branch(f"{escaped(path)}={permission}\n") == Branch(path, permission)


@given(st.text())
def test_other_text_is_no_branch(text: str) -> None:
    """And no error."""
    found = parse_branch(text)

    assert found is None or found.path.startswith("/")


@pytest.mark.parametrize(
    ("permission", "writable"),
    [("rw", True), ("rw+nolwh", True), ("ro", False), ("rr+wh", False), ("rwx", False), ("", False)],
)
def test_only_rw_takes_data(permission: str, writable: bool) -> None:
    """With any attribute; what is not known is taken for read-only."""
    assert Branch("/mnt", permission).writable is writable


def test_branches_in_the_options_of_brs_0() -> None:
    """As mountinfo has them, with the escape of a blank, among other options."""
    line = r"25 21 0:21 / /mnt/union rw - aufs aufs rw,si=bfc2027d06e2f4f,sum,br:/mnt/rw/a\040b=rw:/mnt/ro=rr+wh"

    options = parse_mountinfo(line)[0].super_options

    assert parse_options(options) == (Branch("/mnt/rw/a b", "rw"), Branch("/mnt/ro", "rr+wh"))
    assert parse_si(options) == "bfc2027d06e2f4f"


@pytest.mark.parametrize(
    "options",
    [("rw", "si=1", "noxino"), ("br:",), ("br:/a",), ("br:/a=xx",), ("br:/a=rw", "more"), ()],
)
def test_options_that_tell_no_branches(options: tuple[str, ...]) -> None:
    """The default shows none; what is not understood to the end is not believed in part."""
    assert parse_options(options) is None


def test_names_with_the_marks_of_the_syntax() -> None:
    """A branch that was renamed may hold commas, colons and equals signs, and none of them is escaped."""
    assert parse_options(("br:/cow/u=p:x", "y=ro=rw:/ro=rr")) == (Branch("/cow/u=p:x,y=ro", "rw"), Branch("/ro", "rr"))


def test_branches_of_sysfs_come_in_their_order(tmp_path: Path) -> None:
    """br10 after br9; brid<N> and xi_path are something else."""
    folder = tmp_path / "sys/fs/aufs/si_9af"
    folder.mkdir(parents=True)
    for index in range(12):
        (folder / f"br{index}").write_text(f"/mnt/l{index}={'ro' if index else 'rw'}\n", "utf-8")
        (folder / f"brid{index}").write_text("64\n", "utf-8")
    (folder / "xi_path").write_text("", "utf-8")

    found = read_branches(CapturedMachine(tmp_path), "9af")

    assert found == tuple(Branch(f"/mnt/l{index}", "ro" if index else "rw") for index in range(12))
    assert read_branches(CapturedMachine(tmp_path), "0") is None


def test_a_branch_that_cannot_be_read_leaves_all_unknown(tmp_path: Path) -> None:
    """One of them might be writable. (The kernel refuses paths of a page and more with E2BIG.)"""
    folder = tmp_path / "sys/fs/aufs/si_9af"
    (folder / "br1").mkdir(parents=True)
    (folder / "br0").write_text("/mnt/rw=rw\n", "utf-8")

    assert read_branches(CapturedMachine(tmp_path), "9af") is None
