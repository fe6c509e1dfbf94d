# SPDX-License-Identifier: Apache-2.0
"""A captured machine is asked in place of this one, and captured again it gives the same answers."""

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from overlaywatch.config.settings import Settings
from overlaywatch.kernel.capture_tar import pack, unpack
from overlaywatch.kernel.captured import open_capture
from overlaywatch.registry import record
from tests.cli.worlds import Stage
from tests.kernel import captures


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine that is written down."""
    return captures.write(tmp_path / "machine")


def status(tmp_path: Path, machine: Path, *words: str) -> dict[str, Any]:
    """`status --json` of a captured machine, but for how long it took."""
    stage = Stage(tmp_path)
    assert stage.run("status", "--json", "--root", str(machine), *words) in {0, 1, 3}, stage.complained
    document: dict[str, Any] = json.loads(stage.said)
    for source in document["sources"]:
        del source["duration_seconds"]
    return document


def contents(folder: Path) -> dict[Path, bytes]:
    """The files of a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def mount(document: dict[str, Any], point: str) -> dict[str, Any]:
    """One mount point."""
    found: list[dict[str, Any]] = [one for one in document["mounts"] if one["mount_point"] == point]
    return found[0]


OVERFLOWED = "live-rw: 0 3072000 snapshot Overflow\n"


def looking_like(machine: Path, folder: Path) -> Stage:
    """A running machine that is just like a captured one."""
    tick, capture = record(Settings(), open_capture(machine))
    stage = Stage(folder, lambda: tick)
    stage.capture = capture
    return stage


def test_the_captured_machine_answers(tmp_path: Path, machine: Path) -> None:
    """With its own figures, name and time; nothing is taken from this machine."""
    document = status(tmp_path, machine)
    root = mount(document, "/")
    assert (root["live_system"], root["limit"]) == ("dracut-dmsquash-live", "dm-snapshot:live-rw")
    left = 131072 // 8 - 2448 // 8  # chunks, of which one in 257 will be metadata; 8 KiB wait to be written
    assert root["headroom_bytes"] == ((left - 63) * 4096 - 8192) * 31 // 32
    assert (document["at"], document["host"]["hostname"], document["host"]["kernel"]) == (1700000000, "host", "6.1.0")
    assert {one["mount_point"] for one in document["mounts"]} == {"/", "/run", "/run/media/alice/STICK"}


def test_every_verb_that_looks_can_be_asked(tmp_path: Path, machine: Path) -> None:
    """explain, check, plan, and both of config."""
    (machine / "etc/overlaywatch").mkdir(parents=True)
    (machine / "etc/overlaywatch/overlaywatch.toml").write_text("[daemon]\ninterval = '7s'\n")
    said = {}
    for words in (("explain", "/"), ("check", "/"), ("plan",), ("config", "check"), ("config", "show"), ("status",)):
        stage = Stage(tmp_path)
        assert stage.run(*words, "--root", str(machine)) == 0, stage.complained
        said[words[:2]] = stage.said
    assert "persistent PO" in said["explain", "/"]
    assert said["check", "/"].startswith("OVERLAYWATCH OK: / 60.6 MiB left")
    assert "7s" in said["config", "show"]
    assert f"in 1 file: {machine}" in said["config", "check"]


def test_a_capture_of_a_capture_gives_the_same_answers(tmp_path: Path, machine: Path) -> None:
    """But for the names that are replaced; the second time there is nothing to replace, and the files are the same."""
    once, twice = tmp_path / "once", tmp_path / "twice"
    for source, target in ((machine, once), (once, twice)):
        unpack(record(Settings(), open_capture(source))[1], target)
    before, after = status(tmp_path, machine), status(tmp_path, once)
    renamed = json.dumps(before).replace("/alice/STICK", "/private1/private5")
    assert json.loads(renamed) == after
    assert status(tmp_path, twice) == after
    assert {path.relative_to(once) for path in once.rglob("*")} == {
        path.relative_to(twice) for path in twice.rglob("*")
    }
    for path in once.rglob("*"):
        assert path.is_dir() or path.read_bytes() == (twice / path.relative_to(once)).read_bytes()


def test_nothing_private_is_in_a_capture(machine: Path) -> None:
    """Neither in the files nor in their names."""
    archive = pack(record(Settings(), open_capture(machine))[1], "x")
    for secret in (b"alice", b"STICK", b"geheim", b"nas.example", b"luks", b"10.0.0"):
        assert secret not in archive


def test_where_network_file_systems_are_from_is_not_told_by_where_they_are(machine: Path) -> None:
    """autofs and habit put them below the names of server and share."""
    with (machine / "proc/1/mountinfo").open("a") as table:
        table.write("64 60 0:33 / /net/tank/projects/apollo rw - nfs4 tank:/projects/apollo rw,addr=10.0.0.7\n")
        table.write("65 60 0:34 / /srv/vault rw - cifs //nas.example.org/vault rw\n")
    archive = pack(record(Settings(), open_capture(machine))[1], "x")
    assert not [name for name in ("tank", "apollo", "vault", "10.0.0.7") if name.encode() in archive]
    assert b" /net/private" in archive


def test_the_archive_is_the_same_each_time(machine: Path) -> None:
    """And lies below one folder, owned by nobody in particular."""
    first, second = (pack(record(Settings(), open_capture(machine))[1], "node") for _ in range(2))
    assert first == second
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        entries = archive.getmembers()
    assert {entry.name.partition("/")[0] for entry in entries} == {"node"}
    assert {(entry.uid, entry.gid, entry.mtime) for entry in entries} == {(0, 0, 1700000000)}


def test_the_file_is_written_once(tmp_path: Path, machine: Path) -> None:
    """What is there already is not overwritten; what is said is how to look at it."""
    file = tmp_path / "node.tar"
    stage = Stage(tmp_path)
    assert stage.run("capture", str(file), "--root", str(machine)) == 0
    assert "nothing private" in stage.said
    written = file.read_bytes()
    assert stage.run("capture", str(file), "--root", str(machine)) == 2
    assert "is there already; remove it, or take another name" in stage.complained
    assert file.read_bytes() == written


def test_room_that_is_watched_is_not_taken_without_a_word(tmp_path: Path, machine: Path) -> None:
    """On a watched mount it is a warning; where it does not fit nothing is written."""
    stage = looking_like(machine, tmp_path)
    file = tmp_path / "node.tar"
    assert stage.run("capture", str(file)) == 0
    assert "on /, which is watched" in stage.complained
    file.unlink()
    (machine / "dm/status").write_text(OVERFLOWED)
    stage = looking_like(machine, tmp_path)
    assert stage.run("capture", str(file)) == 1
    assert "do not fit: 0 B left on /" in stage.complained
    assert not file.exists()


def test_the_room_of_a_captured_machine_is_not_that_of_this_one(tmp_path: Path, machine: Path) -> None:
    """A full machine is captured again onto a disk that is not."""
    (machine / "dm/status").write_text(OVERFLOWED)
    stage = Stage(tmp_path)

    assert stage.run("capture", str(tmp_path / "node.tar"), "--root", str(machine)) == 0
    assert not stage.complained


def test_what_was_not_recorded_is_said(tmp_path: Path, machine: Path) -> None:
    """Beside the archive and in it."""
    for name in ("info", "table", "status"):
        (machine / "dm" / name).unlink()
    (machine / "dm/error").write_text("EACCES\n")
    stage = Stage(tmp_path)
    assert stage.run("capture", str(tmp_path / "x.tar"), "--root", str(machine)) == 0
    assert "not recorded: device-mapper: EACCES" in stage.complained
    with tarfile.open(tmp_path / "x.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    assert 'missing = ["device-mapper: EACCES"]' in (tmp_path / "x/manifest.toml").read_text()
    (error,) = (one["error"] for one in status(tmp_path, tmp_path / "x")["sources"] if one["source"] == "dm-snapshot")
    assert error == f"[Errno 13] {os.strerror(13)}: '/dev/mapper/control'"


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_captured_machine_cannot_be_paused(tmp_path: Path, machine: Path, verb: str) -> None:
    """There is no daemon on it."""
    assert Stage(tmp_path).run(verb, "--root", str(machine)) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file or directory; expected the folder of an unpacked capture"),
        ("format = 2\n", "format: expected 1, found 2; read it with the version that made it"),
        ("form", "correct it, or capture again"),
        ("format = 1\nmissing = 1\n", "missing: expected a list of texts, found 1"),
        ("format = 1\ncaptured_at = -1\n", "captured_at: expected seconds since 1970, found -1"),
    ],
)
def test_a_folder_that_is_no_capture(tmp_path: Path, machine: Path, text: str | None, said: str) -> None:
    """Is an error that names the file and what to do."""
    manifest = machine / "manifest.toml"
    manifest.unlink() if text is None else manifest.write_text(text)
    stage = Stage(tmp_path)
    assert stage.run("status", "--root", str(machine)) == 3
    assert f"{manifest}: " in stage.complained
    assert said in stage.complained
