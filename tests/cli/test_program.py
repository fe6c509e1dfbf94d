# SPDX-License-Identifier: Apache-2.0
"""The real program on this very machine, whatever that is: as root, as nobody, and how much it loads."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import CHECKOUT

LOADED = """
import sys
from overlaywatch.cli import main
status = main(sys.argv[1:])
print(sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(status)
"""

AS_NOBODY = """
import dataclasses, io, os, sys
from overlaywatch.cli import dispatch, world
# Everything is loaded while this may still read it: the interpreter may lie in a home.
dispatch.dispatch(sys.argv[1:], dataclasses.replace(world.real_world(), out=io.StringIO()))
if os.geteuid() == 0:
    os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
sys.exit(dispatch.dispatch(sys.argv[1:], world.real_world()))
"""


def run(*words: str, code: str = "", **environ: str) -> "subprocess.CompletedProcess[str]":
    """The program, or a piece of code that is given the same words."""
    command = [sys.executable, *(["-c", code] if code else ["-m", "overlaywatch"]), *words]
    environment = {**os.environ, **environ}
    return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", [("status",), ("status", "--json"), ("explain",), ("check",), ("plan",)])
def test_looking_loads_neither_netlink_nor_metrics(words: tuple[str, ...]) -> None:
    """What only the daemon needs is not loaded by a look: it would take longer than the look itself."""
    done = run(*words, code=LOADED)

    loaded = set(re.findall(r"'(\w+)'", done.stderr.splitlines()[-1]))
    assert "overlaywatch" in loaded
    assert loaded & {"pyroute2", "prometheus_client", "sdnotify", "psutil", "asyncio", "ssl", "http"} == set()


def mount_points(document: str) -> list[str]:
    """The watched mount points of `status --json`."""
    return [mount["mount_point"] for mount in json.loads(document)["mounts"]]


def test_status_of_this_machine() -> None:
    """Whatever machine this is, status says what it knows, in text and in JSON, and both agree."""
    before, shown, after = run("status", "--json"), run("status", COLUMNS="80"), run("status", "--json")
    while mount_points(before.stdout) != mount_points(after.stdout):  # somebody is mounting something right now
        before, shown, after = after, run("status", COLUMNS="80"), run("status", "--json")

    assert shown.returncode in (0, 1, 3)
    found = json.loads(after.stdout)
    assert (found["version"], shown.stdout.split(" ", 1)[0]) == (1, found["host"]["hostname"])
    lines = shown.stdout.partition("NOT SEEN")[0].splitlines()
    assert max(map(len, lines)) <= 80
    for point in mount_points(after.stdout):
        assert len(point) > 30 or any(line.startswith(f"{point} ") for line in lines)


def test_status_without_privilege() -> None:
    """Nobody sees the same mount points as root; what is missing is said, with the reason, and JSON says so, too."""
    shown, document = run("status", code=AS_NOBODY), run("status", "--json", code=AS_NOBODY)

    assert shown.returncode in (0, 1, 3), shown.stderr
    found = json.loads(document.stdout)
    assert found["host"]["privileged"] is False
    errors = [source["error"] for source in found["sources"] if source["error"]]
    assert ("NOT SEEN" in shown.stdout) == bool(found["host"]["notes"] or errors)
    assert "Traceback" not in shown.stderr


def test_program_leaves_no_compiled_files(tmp_path: Path) -> None:
    """Running it writes nothing beside its sources: they may lie on the overlay whose room is guarded."""
    copy = tmp_path / "overlaywatch"
    for file in (CHECKOUT / "overlaywatch").rglob("*.py"):
        (copy / file.relative_to(CHECKOUT / "overlaywatch")).parent.mkdir(parents=True, exist_ok=True)
        (copy / file.relative_to(CHECKOUT / "overlaywatch")).write_bytes(file.read_bytes())
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    done = subprocess.run(
        [sys.executable, "-c", "import sys; from overlaywatch.cli import main; sys.exit(main(['status']))"],
        cwd=tmp_path, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.stdout
    # The package itself and its command line are loaded before they can say so.
    written = {file.name.partition(".")[0] for file in tmp_path.rglob("*.pyc")}
    assert written <= {"__init__"}


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize("words", [("status",), ("check", "/"), ("bogus",)])
def test_closed_streams_change_no_answer(words: tuple[str, ...], closed: str) -> None:
    """Who closes a stream does not want to read it: the exit status stands, and there is no traceback."""
    command = [sys.executable, "-m", "overlaywatch", *words]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "Traceback" not in done.stderr
    assert done.returncode == run(*words).returncode
