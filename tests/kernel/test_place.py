# SPDX-License-Identifier: Apache-2.0
"""Where paths lead to. That no dead file system is waited for is tested on a real one."""

import os
from pathlib import Path

import pytest

from overlaywatch.kernel.place import resolve


def test_links_are_followed(tmp_path: Path) -> None:
    """A relative and an absolute one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "again").symlink_to(tmp_path / "link")

    assert resolve(str(tmp_path / "again")) == str(tmp_path.resolve() / "real")


def test_a_name_that_is_not_utf_8_comes_back_as_it_was(tmp_path: Path) -> None:
    """Paths are bytes."""
    place = os.fsdecode(bytes(tmp_path.resolve()) + b"/\xff")
    os.mkdir(place)

    assert resolve(place) == place


@pytest.mark.parametrize("name", ["nothing", "file/below", "dangling", "n" * 300])
def test_what_is_not_there_is_an_error(tmp_path: Path, name: str) -> None:
    """No such name, a file taken for a folder, a link to nowhere, a name that no file system takes."""
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")

    with pytest.raises(FileNotFoundError):
        resolve(str(tmp_path / name))


def test_what_cannot_be_told_is_left_as_it_is(tmp_path: Path) -> None:
    """ELOOP stands for all errors that say nothing about the name: EIO, EACCES."""
    (tmp_path / "loop").symlink_to("loop")

    assert resolve(str(tmp_path / "loop")) == str(tmp_path / "loop")
