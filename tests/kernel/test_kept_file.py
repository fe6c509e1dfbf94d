# SPDX-License-Identifier: Apache-2.0
"""A kept file is read anew at each look through one descriptor."""

from pathlib import Path

import pytest

from overlaywatch.kernel.kept_file import KeptFile, KeptFiles


def descriptors() -> int:
    """How many descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("size", [0, 10, 65536, 200_000])
def test_content_is_read_whole_and_anew(tmp_path: Path, at_once: bool, size: int) -> None:
    """However long it is, and again after it was changed."""
    file = tmp_path / "file"
    file.write_bytes(b"x" * size)
    kept = KeptFile(file, at_once)
    assert kept.read() == b"x" * size
    file.write_bytes(b"y" * (size + 1))
    assert kept.read() == b"y" * (size + 1)
    kept.close()


def test_missing_file_is_named_and_may_come_later(tmp_path: Path) -> None:
    """The error has the path; the next read tries again."""
    kept = KeptFile(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="file"):
        kept.read()
    (tmp_path / "file").write_text("here")
    assert kept.read() == b"here"
    kept.close()


def test_few_files_are_kept_open_and_the_rest_is_read(tmp_path: Path) -> None:
    """Beyond the limit a file costs more system calls, not descriptors."""
    files = KeptFiles(limit=2)
    before = descriptors()
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).write_text(name)
        assert files.read(tmp_path / name) == name.encode()
    assert descriptors() == before + 2
    assert [files.read(tmp_path / name) for name in ("a", "d")] == [b"a", b"d"]
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "e")
    files.close()
    assert descriptors() == before
