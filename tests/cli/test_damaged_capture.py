# SPDX-License-Identifier: Apache-2.0
"""A capture that is damaged or not whole: what is wrong is named, the rest is shown, nothing is made up."""

import contextlib
import io
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.worlds import Stage
from tests.kernel import captures


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine that is written down."""
    return captures.write(tmp_path / "machine")


def status(folder: Path, machine: Path) -> dict[str, Any]:
    """`status --json`, which also ends in good order in words."""
    stage = Stage(folder)
    assert stage.run("status", "--json", "--root", str(machine)) in {0, 1, 3}, stage.complained
    assert Stage(folder).run("explain", "--root", str(machine)) in {0, 1, 3}
    document: dict[str, Any] = json.loads(stage.said)
    return document


def root(document: dict[str, Any]) -> dict[str, Any]:
    """What is said of `/`; nothing if it was not seen."""
    found: list[dict[str, Any]] = [one for one in document["mounts"] if one["mount_point"] == "/"]
    return found[0] if found else {"headroom_bytes": None, "headroom_at_most_bytes": None}


def errors(document: dict[str, Any]) -> str:
    """What the sources and the layers complain of."""
    told = [source["error"] for source in document["sources"]] + [layer["reason"] for layer in document["layers"]]
    return "\n".join(told)


TRUTH = 65589248
"""No more than this fits, however much of the capture is lost."""

LOST = [
    ("calls.toml", "machine/calls.toml: No such file or directory; it is part of every capture"),
    ("proc/1/mountinfo", "machine/proc/self/mountinfo"),
    ("proc/meminfo", "machine/proc/meminfo"),
    ("dm/status", "machine/dm/status"),
    ("dm/table", "machine/dm/table"),
    ("sys/block", "machine/sys/block"),
]


@pytest.mark.parametrize(("place", "said"), LOST)
def test_a_file_that_is_missing(tmp_path: Path, machine: Path, place: str, said: str) -> None:
    """It is named; what depends on it is unknown."""
    (machine / place).rename(tmp_path / "lost")
    document = status(tmp_path, machine)
    assert said in errors(document)
    assert root(document)["headroom_bytes"] is None
    assert {layer["id"] for layer in document["layers"]} >= ({"ram"} if "meminfo" not in place else set())


DAMAGED = [
    ("calls.toml", "[statvfs\n", "machine/calls.toml: Expected ']'"),
    ("calls.toml", "\xff", "machine/calls.toml: "),
    ("calls.toml", captures.CALLS.replace("blocks = 377442", "blocks = -1"), "blocks: expected a number, not negative"),
    ("calls.toml", captures.CALLS.replace("blocks = 377442", "block = 1"), "block: no such field"),
    ("calls.toml", captures.CALLS.replace("'/' = {", "'/x' = {"), "the captured machine has no statvfs of it"),
    ("dm/table", "live-rw: 0 snapshot 7:1 7:2 PO 8\n", "machine/dm/table: expected START LENGTH TYPE PARAMETERS"),
    ("dm/table", "", "lines of live-rw in both table and status"),
    ("proc/meminfo", "MemTotal: lots kB\n", "meminfo: expected a line 'MemTotal: NUMBER kB'"),
    ("proc/1/mountinfo", captures.MOUNTS + "99 1\n", "mountinfo, line 5"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "text", "said"), DAMAGED)
def test_a_file_that_is_damaged(tmp_path: Path, machine: Path, place: str, text: str, said: str) -> None:
    """It is named with the place in it; what depends on it is unknown, the rest is shown."""
    (machine / place).write_bytes(text.encode("latin-1"))
    document = status(tmp_path, machine)
    assert said in errors(document)
    assert root(document)["headroom_bytes"] is None
    assert any(source["success"] for source in document["sources"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(sorted(captures.FILES)), st.integers(0, 2**32))
def test_whatever_is_lost_nothing_is_made_up(tmp_path_factory: pytest.TempPathFactory, place: str, seed: int) -> None:
    """Half a file, or one byte of it gone: an answer or an error, and no traceback."""
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("damaged")
    machine = captures.write(folder / "machine")
    content = bytearray(captures.FILES[place].encode())
    at = chance.randrange(len(content))
    if chance.random() < 0.5:
        del content[at:]
    else:
        content[at] = chance.randrange(256)
    (machine / place).write_bytes(content)
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        stage = Stage(folder)
        assert stage.run("status", "--json", "--root", str(machine)) in {0, 1, 3}
    assert "Traceback" not in out.getvalue() + stage.complained
    if stage.said:
        assert "a fault of overlaywatch itself" not in errors(json.loads(stage.said))


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("proc/meminfo", "/proc/meminfo"),
        ("proc/1", "../../../../../../../../../../proc/self"),
        ("sys/block", "/sys/block"),
        ("calls.toml", "/etc/passwd"),
        ("manifest.toml", "/etc/passwd"),
        ("etc", "/etc"),
    ],
)
def test_no_link_leads_to_this_machine(tmp_path: Path, machine: Path, place: str, target: str) -> None:
    """An archive may come from anybody: it is refused, and the link named."""
    if (machine / place).exists():
        (machine / place).rename(tmp_path / "lost")
    (machine / place).symlink_to(target)
    stage = Stage(tmp_path)
    assert stage.run("status", "--json", "--root", str(machine)) == 3
    assert f"{machine / place}: a symbolic link that leads out of the capture; remove it" in stage.complained
    assert not stage.said


def test_links_within_a_capture_are_followed(tmp_path: Path, machine: Path) -> None:
    """As those of devices are. One to /dev/null is how systemd's way of configuration says that a file is not there."""
    before = status(tmp_path, machine)["mounts"]
    (machine / "proc/meminfo").rename(machine / "proc/moved")
    (machine / "proc/meminfo").symlink_to("moved")
    (machine / "etc/overlaywatch").mkdir(parents=True)
    (machine / "etc/overlaywatch/config.toml").symlink_to(os.devnull)
    assert status(tmp_path, machine)["mounts"] == before


@pytest.mark.parametrize("place", ["proc/meminfo", "sys/block", "manifest.toml", "dm", "calls.toml"])
def test_links_in_a_circle_are_errors_of_what_they_stand_for(tmp_path: Path, machine: Path, place: str) -> None:
    """ELOOP, like any other file that cannot be read."""
    (machine / place).rename(tmp_path / "lost")
    (machine / place).symlink_to(machine / "circle")
    (machine / "circle").symlink_to(machine / place)
    stage = Stage(tmp_path)
    assert stage.run("status", "--json", "--root", str(machine)) in {0, 1, 3}, stage.complained
    assert "a fault of overlaywatch itself" not in stage.said
    assert root(json.loads(stage.said or '{"mounts": []}'))["headroom_bytes"] is None


@pytest.mark.parametrize("place", ["proc/swaps", "proc/cmdline", "manifest.toml", "dm/table"])
def test_what_would_be_waited_for_is_no_capture(tmp_path: Path, machine: Path, place: str) -> None:
    """A FIFO has no writer."""
    (machine / place).unlink(missing_ok=True)
    os.mkfifo(machine / place)
    stage = Stage(tmp_path)
    assert stage.run("status", "--root", str(machine)) == 3
    assert f"{machine / place}: neither a file nor a folder nor a symbolic link; remove it" in stage.complained


def test_a_file_that_would_fill_the_memory_is_refused(tmp_path: Path, machine: Path) -> None:
    """It may be a hole that costs whoever packs it nothing."""
    os.truncate(machine / "proc/meminfo", 2**40)
    stage = Stage(tmp_path)
    assert stage.run("status", "--root", str(machine)) == 3
    assert f"{machine / 'proc/meminfo'}: larger than 64 MiB; remove it" in stage.complained
