# SPDX-License-Identifier: Apache-2.0
"""Children that carry out actions: real forks, that end well, badly, late or never."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from overlaywatch.engine import children
from overlaywatch.engine.children import Child
from overlaywatch.model import Outcome, OutcomeKind
from overlaywatch.ports import Plan
from tests.actions.facts import decision

PLAN = Plan("it", "run", decision(), ("a step",))
DONE = Outcome("it", "run", OutcomeKind.APPLIED, "done", 5.0, mount_point="/", freed_bytes=7)


def start(work: Callable[[], object], leave: Callable[[], None] = lambda: None) -> Child:
    """A child that does this work, and is done."""

    def apply() -> Outcome:
        work()
        return DONE

    return children.start(PLAN, apply, time.monotonic(), leave)


def outcome_of(child: Child) -> Outcome:
    """Wait for it as the engine does: by its descriptor, then by looking."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        select.select([child.fd], [], [], 0.05)
        if outcome := children.collect(child, time.monotonic()):
            return outcome
    raise AssertionError("it does not end")


def test_its_outcome_comes_through_the_pipe() -> None:
    """Whole, with every figure."""
    assert outcome_of(start(lambda: None)) == DONE


def test_it_leaves_what_only_the_engine_may_hold() -> None:
    """Before it does anything: a pipe held open here would hide the death of its other end."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    child = start(signal.pause, leave=lambda: os.close(theirs))
    os.close(theirs)
    ended = os.read(ours, 1)
    os.kill(child.pid, signal.SIGKILL)
    outcome_of(child)
    os.close(ours)

    assert ended == b""


def test_a_fault_of_an_action_is_an_outcome() -> None:
    """An action promises not to raise; one that does has failed, and says why."""

    def fail() -> None:
        raise KeyError("no such thing")

    outcome = outcome_of(start(fail))

    assert (outcome.kind, outcome.action, outcome.mount_point) == (OutcomeKind.FAILED, "it", "/")
    assert "KeyError('no such thing')" in outcome.reason


def test_signals_for_the_engine_do_not_end_it() -> None:
    """Ctrl-C goes to all processes of the terminal: the engine waits for us, and then ends."""
    ready, tell = os.pipe2(os.O_CLOEXEC)
    go, start_it = os.pipe2(os.O_CLOEXEC)

    def work() -> None:
        os.write(tell, b"x")
        os.read(go, 1)

    child = start(work)
    os.read(ready, 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        os.kill(child.pid, number)
    os.write(start_it, b"x")
    outcome = outcome_of(child)
    for fd in (ready, tell, go, start_it):
        os.close(fd)

    assert outcome == DONE


OF_THE_C_LIBRARY = 0b11 << 31
"""Signals 32 and 33: glibc's posix_spawn, by which make starts us, ignores them (spawni.c); nobody can reset them."""


def test_programs_that_it_starts_have_signals_of_their_own(tmp_path: Path) -> None:
    """Nothing is ignored, caught or blocked there because it is here (exec keeps what is ignored)."""
    said = tmp_path / "status"
    child = start(lambda: subprocess.run(["cp", "/proc/self/status", str(said)], check=True))
    outcome_of(child)
    lines = dict(line.split(":\t", 1) for line in said.read_text().splitlines() if ":\t" in line)

    assert [int(lines[name], 16) & ~OF_THE_C_LIBRARY for name in ("SigBlk", "SigIgn", "SigCgt")] == [0, 0, 0]


def test_signals_are_as_they_were_in_the_engine() -> None:
    """Blocked only while forking."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    outcome_of(start(lambda: None))

    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_what_it_leaves_behind_does_not_hold_its_end_back() -> None:
    """A process that hangs in the kernel may keep the pipe open for ever; the child has ended all the same."""
    go, release = os.pipe2(os.O_CLOEXEC)

    def work() -> None:
        if os.fork() == 0:
            os.close(release)
            os.read(go, 1)
            os._exit(0)

    outcome = outcome_of(start(work))
    os.close(release)
    os.close(go)

    assert outcome == DONE


def test_one_that_dies_without_a_word_has_failed() -> None:
    """Killed, or gone by itself."""
    killed = outcome_of(start(lambda: os.kill(os.getpid(), signal.SIGKILL)))
    gone = outcome_of(start(lambda: os._exit(0)))

    assert (killed.kind, killed.reason) == (OutcomeKind.FAILED, "the process of the action was killed by signal 9")
    assert (gone.kind, gone.reason) == (OutcomeKind.FAILED, "the process of the action ended without a word")


def test_at_the_end_of_the_daemon_it_gets_its_time() -> None:
    """Done in time, its outcome is the outcome."""
    assert children.end(start(lambda: time.sleep(0.05)), time.monotonic() + 10) == DONE


def test_at_the_end_of_the_daemon_it_ends_too(tmp_path: Path) -> None:
    """Not done in time, it is killed and reaped, and the program that it runs goes with it."""
    pid_file = tmp_path / "pid"
    program = f"import os,time; open({str(pid_file)!r},'w').write(str(os.getpid())); time.sleep(60)"
    code = (
        "import time; from overlaywatch.actions.program import Program\n"
        f"Program(({sys.executable!r}, '-c', {program!r}), 60.0).run(time.monotonic)"
    )
    child = start(lambda: exec(code))  # noqa: S102
    deadline = time.monotonic() + 10
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        select.select([], [], [], 0.01)
    outcome = children.end(child, time.monotonic())

    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "it was not done when the daemon had to stop")
    assert _ends(int(pid_file.read_text()))


def _ends(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        select.select([], [], [], 0.01)
    return False
