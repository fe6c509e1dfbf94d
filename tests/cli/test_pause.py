# SPDX-License-Identifier: Apache-2.0
"""The kill switch: what `pause` writes is what the daemon obeys."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from overlaywatch.cli.pausefile import Pause, read_pause, remove_pause, write_pause
from overlaywatch.engine.pause import is_paused
from tests.cli import ticks
from tests.cli.worlds import Stage
from tests.tools import CHECKOUT


def test_pause_for_a_time_is_obeyed_until_it_is_over(tmp_path: Path) -> None:
    """The engine holds still for exactly the duration, and status says until when."""
    stage = Stage(tmp_path, environ={"SUDO_USER": "alice", "USER": "root"})

    assert stage.run("pause", "10m") == 0
    assert is_paused(tmp_path / "run", ticks.NOW + 599.9)
    assert not is_paused(tmp_path / "run", ticks.NOW + 600)
    assert stage.said.startswith("Paused by alice until ")
    assert stage.said.endswith(
        " (10 min from now): no action runs, alerts are still sent; 'overlaywatch resume' ends it.\n"
    )


def test_pause_without_a_time_holds_until_resumed(tmp_path: Path) -> None:
    """`pause`, then `resume`, then `resume` again."""
    stage = Stage(tmp_path, environ={"USER": "root"})

    assert stage.run("pause") == 0
    assert is_paused(tmp_path / "run", ticks.NOW + 1e9)
    assert stage.run("resume") == 0
    assert not is_paused(tmp_path / "run", ticks.NOW)
    assert stage.run("resume") == 0
    assert stage.said.splitlines() == [
        "Paused by root until resumed: no action runs, alerts are still sent; 'overlaywatch resume' ends it.",
        "Resumed: actions run again.",
        "There was no pause: actions run.",
    ]


def test_pause_file_has_the_keys_that_were_agreed(tmp_path: Path) -> None:
    """`until` on the monotonic clock, `by`, and `at` in Unix time; readable by all, and nothing else is left."""
    Stage(tmp_path, environ={"USER": "root"}).run("pause", "90s")

    file = tmp_path / "run" / "pause"
    assert json.loads(file.read_text()) == {"until": ticks.NOW + 90, "by": "root", "at": ticks.UNIX}
    assert (file.stat().st_mode & 0o777, os.listdir(file.parent)) == (0o644, ["pause"])


def test_second_pause_replaces_the_first(tmp_path: Path) -> None:
    """The last word counts, also if it is the shorter pause."""
    stage = Stage(tmp_path)
    stage.run("pause")
    stage.run("pause", "1s")

    assert read_pause(tmp_path / "run", ticks.NOW + 2) is None


def test_long_pause_is_told_with_its_day(tmp_path: Path) -> None:
    """A time of day alone would be that of today."""
    stage = Stage(tmp_path)

    assert stage.run("pause", "3d") == 0
    day = time.strftime("%Y-%m-%d", time.localtime(ticks.UNIX + 3 * 86400))
    assert stage.said.startswith(f"Paused until {day} ")


@pytest.mark.parametrize("until", ["1e300", "Infinity", "NaN", "9" * 400])
def test_pause_beyond_all_calendars_holds_until_resumed(until: str, tmp_path: Path) -> None:
    """Whoever wrote such a time into the file: status says what it means, and the engine obeys."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "pause").write_text(f'{{"until": {until}}}')
    stage = Stage(tmp_path)

    stage.run("status")

    assert "Paused until resumed" in stage.said.splitlines()[1]
    assert is_paused(folder, ticks.NOW)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"until": "soon"}', "\xff"])
def test_pause_that_makes_no_sense_is_a_pause(text: str, tmp_path: Path) -> None:
    """Engine and status agree: whoever wrote it wanted the daemon to hold still."""
    (tmp_path / "pause").write_text(text, encoding="latin-1")

    assert read_pause(tmp_path, ticks.NOW) == Pause()
    assert is_paused(tmp_path, ticks.NOW)


def test_status_tells_of_the_pause(tmp_path: Path) -> None:
    """On the screen in words, and in JSON as `paused`."""
    Stage(tmp_path, environ={"USER": "alice"}).run("pause")
    shown, document = Stage(tmp_path), Stage(tmp_path)

    shown.run("status")
    document.run("status", "--json")

    assert "Paused by alice until resumed" in shown.said.splitlines()[1]
    assert json.loads(document.said)["paused"] is True


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("pause", "0s"), "overlaywatch: pause: 0s is no time; give a duration such as 10m, or none\n"),
        (
            ("pause", "10"),
            "overlaywatch: pause: not a duration: '10'; expected a number with ms, s, m, h or d, such as '90s'\n",
        ),
        (
            ("pause", "9999999999999999999d"),
            "overlaywatch: pause: 9999999999999999999d is more than 365d; give none: it then holds until resumed\n",
        ),
        (("resume", "now"), "overlaywatch: resume: unrecognized arguments: now; see 'overlaywatch resume --help'\n"),
    ],
)
def test_wrong_words_change_nothing(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    """Wrong usage ends with 2, and no file is written."""
    stage = Stage(tmp_path)

    assert stage.run(*words) == 2
    assert stage.complained == told
    assert not (tmp_path / "run").exists()


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """Why it failed, and what stops all actions in any case."""
    (tmp_path / "run").write_text("not a folder")
    stage = Stage(tmp_path)

    assert stage.run("pause") == 1
    assert stage.complained.startswith(f"overlaywatch: pause: {tmp_path}/run")
    assert stage.complained.endswith("; 'overlaywatch.actions=off' on the kernel command line stops all actions, too\n")


AS_NOBODY = """
import os, sys
from pathlib import Path
from tests.cli.worlds import Stage
# Everything is loaded while this may still read it.
Stage(Path(sys.argv[1])).run(sys.argv[2], "--nonsense")
if os.geteuid() == 0:
    os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
stage = Stage(Path(sys.argv[1]))
print(stage.run(sys.argv[2]), stage.complained)
"""


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_only_root_may_pause(verb: str) -> None:
    """Anybody else is told so, and how to do it; nothing changes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        write_pause(folder, Pause(until=ticks.NOW + 60))
        Path(name).chmod(0o755)
        folder.chmod(0o555)
        before = (folder / "pause").read_text()

        command = [sys.executable, "-c", AS_NOBODY, name, verb]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)

        assert done.stdout.startswith(f"1 overlaywatch: {verb}: only root may do this ({folder}/")
        assert done.stdout.rstrip().endswith(f"Permission denied); try 'sudo overlaywatch {verb}'")
        assert (folder / "pause").read_text() == before
        folder.chmod(0o755)


def test_remove_says_whether_there_was_one(tmp_path: Path) -> None:
    """Removing a pause that is not there is no error."""
    write_pause(tmp_path, Pause())

    assert [remove_pause(tmp_path), remove_pause(tmp_path)] == [True, False]


FULL = """
import json, os, sys
from pathlib import Path
from overlaywatch.cli.pausefile import Pause, write_pause
from overlaywatch.engine.pause import is_paused
folder = Path(sys.argv[1])
with open(folder / "filler", "wb", buffering=0) as filler:
    try:
        while True:
            filler.write(bytes(4096))
    except OSError as error:
        print(error.strerror)
held = write_pause(folder, Pause(until=5.0, by="root", at=1.0))
print(held.until, (folder / "pause").stat().st_size, is_paused(folder, 1e9), sorted(os.listdir(folder)))
"""


def test_pause_works_on_a_full_run(tmp_path: Path) -> None:
    """/run may be full when the kill switch is needed most: the pause then holds until resumed."""
    inside = f'mount -t tmpfs -o size=64k,mode=755 none {tmp_path} && exec {sys.executable} -c "$0" {tmp_path}'
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]

    done = subprocess.run(
        [*unshare, "sh", "-c", inside, FULL], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0 and "not permitted" in done.stderr:
        pytest.skip(f"no tmpfs may be mounted here: {done.stderr.strip()}")

    assert done.stdout.splitlines() == ["No space left on device", "None 0 True ['filler', 'pause']"], done.stderr
