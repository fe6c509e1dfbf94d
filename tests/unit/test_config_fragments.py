# SPDX-License-Identifier: Apache-2.0
"""Which files are found, in which order, and how they are read."""

import os
from pathlib import Path

import pytest

from overlaywatch.config.fragments import LARGEST_FILE, MAIN_FILE, find_files, read_raw

VENDOR = "usr/lib/overlaywatch/overlaywatch.d"
RUNTIME = "run/overlaywatch/overlaywatch.d"
ADMIN = "etc/overlaywatch/overlaywatch.d"


def write(root: Path, *names: str) -> None:
    """Make empty files, with their folders."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def found(root: Path) -> list[str]:
    """The files that would be read, relative to the root."""
    return [str(path.relative_to(root)) for path in find_files(root)]


def test_machine_without_files_has_none(tmp_path: Path) -> None:
    """Folders that are missing are no error: the daemon works without any configuration."""
    assert find_files(tmp_path) == ()


def test_folder_decides_before_the_name(tmp_path: Path) -> None:
    """A file of the administrator is stronger than one of the image, whatever they are called."""
    write(tmp_path, f"{VENDOR}/90-z.toml", f"{RUNTIME}/50-m.toml", f"{ADMIN}/10-a.toml", MAIN_FILE)
    assert found(tmp_path) == [f"{VENDOR}/90-z.toml", f"{RUNTIME}/50-m.toml", MAIN_FILE, f"{ADMIN}/10-a.toml"]


def test_names_decide_within_a_folder(tmp_path: Path) -> None:
    """The order is that of the characters, the same in every locale."""
    write(tmp_path, *(f"{ADMIN}/{name}.toml" for name in ("b", "B", "10", "9", "a")))
    assert found(tmp_path) == [f"{ADMIN}/{name}.toml" for name in ("10", "9", "B", "a", "b")]


def test_same_name_in_a_stronger_folder_replaces(tmp_path: Path) -> None:
    """Of one name only the strongest file is read."""
    write(tmp_path, f"{VENDOR}/10.toml", f"{RUNTIME}/10.toml", f"{ADMIN}/10.toml", f"{VENDOR}/20.toml")
    assert found(tmp_path) == [f"{VENDOR}/20.toml", f"{ADMIN}/10.toml"]


def test_main_file_and_drop_in_of_its_name_are_two_files(tmp_path: Path) -> None:
    """Only drop-ins replace drop-ins."""
    write(tmp_path, MAIN_FILE, f"{VENDOR}/overlaywatch.toml")
    assert found(tmp_path) == [f"{VENDOR}/overlaywatch.toml", MAIN_FILE]


@pytest.mark.parametrize("target", ["/dev/null", "../../../dev/null"])
def test_link_to_dev_null_masks(tmp_path: Path, target: str) -> None:
    """A link to /dev/null, of the host or of the tree that is read, hides the weaker files of its name."""
    write(tmp_path, f"{VENDOR}/10.toml", f"{ADMIN}/20.toml", "dev/null")
    (tmp_path / ADMIN / "10.toml").symlink_to(target)
    assert found(tmp_path) == [f"{ADMIN}/20.toml"]


def test_masked_main_file_is_not_read(tmp_path: Path) -> None:
    """The main file can be masked, too."""
    write(tmp_path, f"{ADMIN}/20.toml")
    (tmp_path / MAIN_FILE).symlink_to("/dev/null")
    assert found(tmp_path) == [f"{ADMIN}/20.toml"]


def test_other_names_are_left_alone(tmp_path: Path) -> None:
    """Backups of editors and package managers are no configuration."""
    write(tmp_path, *(f"{ADMIN}/{name}" for name in (".x.toml", "x.toml~", "x.toml.rpmnew", "README", "x.conf")))
    assert find_files(tmp_path) == ()


def test_file_in_the_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    """A folder that cannot be listed is told, not taken for an empty one."""
    write(tmp_path, ADMIN)
    with pytest.raises(NotADirectoryError) as caught:
        find_files(tmp_path)
    assert caught.value.filename == str(tmp_path / ADMIN)


def test_bytes_are_read_as_they_are(tmp_path: Path) -> None:
    """The content is not interpreted, and links are followed."""
    (tmp_path / "real").write_bytes(b"\xff\r\n" * 50000)
    (tmp_path / "x.toml").symlink_to("real")
    raw = read_raw(tmp_path / "x.toml")
    assert (raw.file, raw.data, raw.writable_by_all) == (str(tmp_path / "x.toml"), b"\xff\r\n" * 50000, False)


def test_dev_null_is_an_empty_file() -> None:
    """`--config /dev/null` means: all defaults."""
    assert read_raw(Path("/dev/null")).data == b""


def test_fifo_does_not_block_the_start(tmp_path: Path) -> None:
    """Opening a FIFO would wait for a writer for ever: it is refused."""
    os.mkfifo(tmp_path / "x.toml")
    with pytest.raises(OSError, match="is not a regular file"):
        read_raw(tmp_path / "x.toml")


def test_folder_called_like_a_file_is_refused(tmp_path: Path) -> None:
    """A folder can be opened, but is no file."""
    with pytest.raises(OSError, match="is not a regular file"):
        read_raw(tmp_path)


def test_dangling_link_is_an_error(tmp_path: Path) -> None:
    """A file that should be there and is not may hold the exclusion that saves the data."""
    write(tmp_path, f"{ADMIN}/20.toml")
    (tmp_path / ADMIN / "10.toml").symlink_to("gone")
    assert found(tmp_path) == [f"{ADMIN}/10.toml", f"{ADMIN}/20.toml"]
    with pytest.raises(FileNotFoundError):
        read_raw(tmp_path / ADMIN / "10.toml")


def test_large_file_is_refused(tmp_path: Path) -> None:
    """One byte more than the limit is too much, the limit itself is read."""
    path = tmp_path / "x.toml"
    path.write_bytes(b"#" * LARGEST_FILE)
    assert len(read_raw(path).data) == LARGEST_FILE
    path.write_bytes(b"#" * (LARGEST_FILE + 1))
    with pytest.raises(OSError, match="larger than 1 MiB"):
        read_raw(path)


def test_file_that_everybody_may_write_is_noticed(tmp_path: Path) -> None:
    """Whoever may write it decides what root runs."""
    write(tmp_path, "x.toml")
    (tmp_path / "x.toml").chmod(0o666)
    assert read_raw(tmp_path / "x.toml").writable_by_all


def test_reading_leaves_the_access_time(tmp_path: Path) -> None:
    """An access time that changes is a write to the overlay that is guarded."""
    write(tmp_path, "x.toml")
    os.utime(tmp_path / "x.toml", ns=(10**18, 2 * 10**18))
    read_raw(tmp_path / "x.toml")
    assert (tmp_path / "x.toml").stat().st_atime_ns == 10**18


def test_reading_leaves_no_descriptor(tmp_path: Path) -> None:
    """Neither success nor refusal leaks one."""
    write(tmp_path, "x.toml")
    before = set(os.listdir("/proc/self/fd"))
    read_raw(tmp_path / "x.toml")
    with pytest.raises(OSError, match="regular"):
        read_raw(tmp_path)
    assert set(os.listdir("/proc/self/fd")) == before
