# SPDX-License-Identifier: Apache-2.0
"""The action `run`, with real programs."""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil
import pytest

from overlaywatch.actions.program import MOST_OUTPUT, Ended, Program
from overlaywatch.actions.run import RunAction, environment
from overlaywatch.model import Decision, Forecast, Outcome, OutcomeKind
from overlaywatch.ports import Surroundings
from overlaywatch.units import MIB
from tests.actions.facts import Desk, decision, surroundings, table

PYTHON: Final = sys.executable


def action(*command: str, timeout: str = "30s") -> RunAction:
    """The action with a command line."""
    return RunAction.from_table(table(command=list(command), timeout=timeout), Desk().context())


def outcome(
    *command: str, timeout: str = "30s", because: Decision | None = None, around: Surroundings | None = None
) -> Outcome:
    """Plan and apply at once."""
    around = around or surroundings()
    it = action(*command, timeout=timeout)
    return it.apply(it.plan(because or decision(), around), around)


def ended(*command: str, timeout: float = 30.0, environment: Mapping[str, str] | None = None) -> Ended:
    """A program without an action around it, and impatient."""
    return Program(command, timeout, environment or {}, time_to_obey=0.3).run(time.monotonic)


def shell(script: str) -> tuple[str, ...]:
    """A shell script: the tests' programs, not the action's."""
    return ("/bin/sh", "-c", script)


def test_success_is_applied_with_its_last_line() -> None:
    """Standard output and errors alike; blank lines at the end do not count."""
    result = outcome(*shell("echo first; echo 'Vacuuming done, freed 8M.' >&2; echo"))
    assert (result.kind, result.reason) == (OutcomeKind.APPLIED, "exit status 0: Vacuuming done, freed 8M.")


def test_exit_status_is_a_failure() -> None:
    """The outcome says which."""
    result = outcome(*shell("echo no space; exit 3"))
    assert (result.kind, result.reason) == (OutcomeKind.FAILED, "exit status 3: no space")


def test_death_by_signal_is_a_failure() -> None:
    """The outcome names the signal."""
    result = outcome(*shell("kill -SEGV $$"))
    assert (result.kind, result.reason) == (OutcomeKind.FAILED, "killed by signal 11 (Segmentation fault)")


def test_program_that_is_not_there() -> None:
    """A failure with a remedy, not a traceback."""
    result = outcome("no-such-program-anywhere")
    assert result.kind is OutcomeKind.FAILED
    assert result.reason == "no-such-program-anywhere: no such program; install it, or write its whole path"


def test_program_that_must_not_run(tmp_path: Path) -> None:
    """Neither a file that is not executable nor one whose interpreter is missing can be run; each says why."""
    plain, orphan = tmp_path / "plain", tmp_path / "orphan"
    plain.write_text("#!/bin/sh\n")
    orphan.write_text("#!/no/such/interpreter\n")
    orphan.chmod(0o755)
    assert "make it executable (chmod +x)" in outcome(str(plain)).reason
    assert "its interpreter is missing" in outcome(str(orphan)).reason


def test_arguments_are_passed_as_they_are(tmp_path: Path) -> None:
    """There is no shell: nothing is expanded or split."""
    arguments = ["$HOME", "a b", "*", ";ls", "`id`", "\n", "ä"]
    script = "import sys, json; json.dump(sys.argv[2:], open(sys.argv[1], 'w'))"
    assert outcome(PYTHON, "-c", script, str(tmp_path / "seen"), *arguments).kind is OutcomeKind.APPLIED
    assert json.loads((tmp_path / "seen").read_text()) == arguments


def report(tmp_path: Path, expression: str, because: Decision | None = None) -> object:
    """What a program sees: the value of a Python expression in it."""
    script = f"import json, os, resource, signal, sys; json.dump({expression}, open(sys.argv[1], 'w'))"
    result = outcome(PYTHON, "-c", script, str(tmp_path / "seen"), because=because)
    assert result.kind is OutcomeKind.APPLIED, result.reason
    seen: object = json.loads((tmp_path / "seen").read_text())
    return seen


FORECAST: Final = Forecast(1048576.5, 7.9)


def test_program_is_told_why_by_its_environment(tmp_path: Path) -> None:
    """OVERLAYWATCH_* variables, and nothing of ours but a fixed PATH, LANG and HOME."""
    environment = report(tmp_path, "dict(os.environ)", decision("/var", headroom=7 * MIB, forecast=FORECAST))
    assert environment == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": "/",
        "OVERLAYWATCH_ACTION": "it",
        "OVERLAYWATCH_POLICY": "root",
        "OVERLAYWATCH_STAGE": "last-resort",
        "OVERLAYWATCH_MOUNT_POINT": "/var",
        "OVERLAYWATCH_REASON": "headroom is 50.0 MiB, below 64.0 MiB",
        "OVERLAYWATCH_HEADROOM_BYTES": str(7 * MIB),
        "OVERLAYWATCH_LIMIT": "filesystem:/",
        "OVERLAYWATCH_FAILURE": "enospc",
        "OVERLAYWATCH_RECLAIMABLE": "yes",
        "OVERLAYWATCH_FILL_BYTES_PER_SECOND": "1048576",
        "OVERLAYWATCH_TIME_TO_FULL_SECONDS": "7",
    }


def test_manual_names_every_variable() -> None:
    """docs/configuration.md is where administrators look them up."""
    manual = (Path(__file__).resolve().parents[2] / "docs/configuration.md").read_text()
    told = environment(decision(forecast=FORECAST))
    assert [name for name in told if f"`{name}`" not in manual] == []
    assert set(re.findall(r"`(OVERLAYWATCH_[A-Z_]+)`", manual)) == set(told)


def test_unknown_figures_are_not_set(tmp_path: Path) -> None:
    """A script that finds no variable knows that nobody knows; an empty one or a 0 would lie."""
    seen = report(tmp_path, "dict(os.environ)", decision(headroom=None, failure=None))
    assert isinstance(seen, dict)
    assert not {"HEADROOM_BYTES", "FAILURE", "TIME_TO_FULL_SECONDS"} & {name[13:] for name in seen}


def test_program_is_told_why_by_json_on_its_input(tmp_path: Path) -> None:
    """The decision and the mount point, as in the status document."""
    told = report(tmp_path, "json.load(sys.stdin)", decision("/var", headroom=7 * MIB, forecast=FORECAST))
    assert isinstance(told, dict)
    assert (told["version"], told["decision"]["stage"]) == (1, "last-resort")
    assert (told["mount"]["headroom_bytes"], told["mount"]["time_to_full_seconds"]) == (7 * MIB, 7.9)


def test_program_starts_from_a_known_state(tmp_path: Path) -> None:
    """Whatever the daemon is, the program is an ordinary one: no blocked signals, no lowered OOM score, no core."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    score = Path("/proc/self/oom_score_adj").read_text()
    try:
        Path("/proc/self/oom_score_adj").write_text("17")
        facts = report(
            tmp_path,
            "[sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), open('/proc/self/oom_score_adj').read().strip(),"
            " os.getcwd(), resource.getrlimit(resource.RLIMIT_CORE), os.getsid(0) == os.getpid(),"
            " sorted(map(int, os.listdir('/proc/self/fd')))[:3], len(os.listdir('/proc/self/fd')), os.umask(0)]",
        )
    finally:
        Path("/proc/self/oom_score_adj").write_text(score)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    # Beside its three there is only the listing itself.
    assert facts == [[], "0", "/", [0, 0], True, [0, 1, 2], 4, 0o022]


def test_descriptors_of_the_daemon_stay_closed(tmp_path: Path) -> None:
    """Not even an inheritable one gets into the program: it might be the device-mapper's control."""
    fd = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        assert report(tmp_path, f"os.path.realpath('/proc/self/fd/{fd}')") != str(tmp_path)
    finally:
        os.close(fd)


def test_input_that_nobody_reads_does_no_harm() -> None:
    """A program need not read its input, however long it is."""
    result = outcome("/bin/true", because=decision(chain=[f"filesystem:/{n}" for n in range(20000)]))
    assert result.reason == "exit status 0"


def test_endless_output_is_cut() -> None:
    """Megabytes of output are read and forgotten but for the end."""
    result = ended(*shell(f"head -c {64 * MIB} /dev/zero | tr '\\0' x; echo; echo the end"))
    assert result == Ended("exit status 0", True, "the end")
    assert len(ended(*shell(f"head -c {2 * MOST_OUTPUT} /dev/zero | tr '\\0' x")).last_line) == 300


def test_output_that_is_no_text_is_printable() -> None:
    """Bytes and control characters come out escaped: they end in logs and on terminals."""
    result = outcome(*shell(r"printf 'a\033[2Jb\377\tc'"))
    assert result.reason == r"exit status 0: a\x1b[2Jb\xff\tc"


def test_program_that_takes_too_long_is_asked_to_end() -> None:
    """SIGTERM first, so that it can tidy up; the outcome is a failure."""
    result = ended(*shell("trap 'echo tidied; exit 0' TERM; echo started; while :; do sleep 0.05; done"), timeout=0.5)
    assert result == Ended("not done after 500 ms, ended with SIGTERM", False, "tidied")


def test_program_that_does_not_obey_is_killed_with_its_children(tmp_path: Path) -> None:
    """SIGKILL reaches the whole group, also children that the program has left behind."""
    script = f"trap '' TERM; (trap '' TERM; echo $$ >{tmp_path}/a; sleep 600) & echo $! >{tmp_path}/b; sleep 600"
    result = ended(*shell(script), timeout=0.5)
    assert (result.how, result.succeeded) == ("not done after 500 ms, ended with SIGKILL", False)
    for name in "ab":
        assert_gone(int((tmp_path / name).read_text()))


def test_children_that_survive_a_program_that_obeys_are_killed(tmp_path: Path) -> None:
    """Its own end is not enough when it was out of time."""
    script = f"(trap '' TERM; exec sleep 600) & echo $! >{tmp_path}/a; trap 'exit 0' TERM; wait"
    assert ended(*shell(script), timeout=0.5).how == "not done after 500 ms, ended with SIGTERM"
    assert_gone(int((tmp_path / "a").read_text()))


def assert_gone(pid: int) -> None:
    """It was killed; it may be a zombie until process 1 reaps it."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
    pytest.fail(f"process {pid} is still there")


def test_program_may_leave_a_child_that_keeps_its_output(tmp_path: Path) -> None:
    """A background process that holds the pipe open does not hold us up when the program itself has ended."""
    before = time.monotonic()
    result = ended(*shell(f"sleep 600 & echo $! >{tmp_path}/a; echo done"))
    os.kill(int((tmp_path / "a").read_text()), signal.SIGKILL)
    assert result == Ended("exit status 0", True, "done")
    assert time.monotonic() - before < 10


def test_gain_of_room_is_measured() -> None:
    """What the headroom rose by is what the program freed; nothing is claimed where deletes give nothing back."""
    figures = iter([10, 25, 10, 25, 30, 20])
    around = surroundings(lambda _: next(figures))
    assert outcome("true", around=around).freed_bytes == 15
    assert outcome("true", around=around, because=decision(reclaimable=False)).freed_bytes == 0
    assert outcome("true", around=around).freed_bytes == 0
    assert outcome("true", around=surroundings(lambda _: None)).freed_bytes == 0


def test_plan_shows_the_command_line() -> None:
    """As it could be typed, and how long it may take; planning starts nothing."""
    plan = action("touch", "/no/such folder/x", timeout="2m").plan(decision(), surroundings())
    assert plan.steps == ("run touch '/no/such folder/x' for 2 min at most",)
    assert plan.refusal == ""


def test_environment_that_cannot_be_passed_is_a_failure() -> None:
    """A NUL in a value ends in an outcome, not in a traceback."""
    result = outcome("true", because=decision(reason="a\0b"))
    assert (result.kind, "cannot be started" in result.reason) == (OutcomeKind.FAILED, True)
