# SPDX-License-Identifier: Apache-2.0
"""What xfs and f2fs tell of an error."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.root import KernelRoot
from overlaywatch.kernel.shutdown import XFS, Trouble, parse_f2fs_status, read_f2fs


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        (b"1\n", Trouble()),
        (b"45\n", Trouble(shut_down=True, needs_check=True)),
        (b"4\n", Trouble(needs_check=True)),
        (b"80\n", Trouble()),
    ],
)
def test_flags_of_f2fs(text: bytes, trouble: Trouble) -> None:
    """SBI_NEED_FSCK is the third flag, SBI_IS_SHUTDOWN the seventh."""
    assert parse_f2fs_status(text) == trouble


def test_a_kernel_that_does_not_tell(tmp_path: Path) -> None:
    """Before 5.11."""
    with pytest.raises(FileNotFoundError):
        read_f2fs(KernelRoot.below(tmp_path), "sda1")


def test_a_folder_that_can_be_opened_is_well(tmp_path: Path) -> None:
    """Whatever it is on; one that is not there says nothing."""
    assert XFS.ask(str(tmp_path)) == Trouble()
    with pytest.raises(FileNotFoundError):
        XFS.ask(str(tmp_path / "none"))


@given(st.binary())
def test_flags_are_a_number_or_refused(content: bytes) -> None:
    """Nothing is made up."""
    try:
        parse_f2fs_status(content)
    except KernelTextError:
        return
    assert int(content.strip(), 16) >= 0
