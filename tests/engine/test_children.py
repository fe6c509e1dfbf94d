# SPDX-License-Identifier: Apache-2.0
"""Children that plan and carry out actions: real forks, that end well, badly, late or never."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from overlaywatch.engine import children
from overlaywatch.engine.children import HANG_PATIENCE, PLAN_PATIENCE, Child
from overlaywatch.engine.errand import Errand, decode, encode
from overlaywatch.kernel.process import is_alive
from overlaywatch.model import Decision, Outcome, OutcomeKind
from overlaywatch.ports import Plan, Surroundings
from tests.actions.facts import decision, surroundings

STEPS = ("delete /a", "delete /b\udcff")
DONE = Outcome("it", "run", OutcomeKind.APPLIED, "done", 5.0, mount_point="/", freed_bytes=7)


@dataclass(frozen=True)
class Work:
    """An action that does this when it plans, and that when it applies."""

    applying: Callable[[], object] = lambda: None
    planning: Callable[[], object] = lambda: None
    name: str = "it"
    type: str = "run"
    changes: bool = True
    resumable: bool = False

    def plan(self, decision: Decision, surroundings: Surroundings) -> Plan:
        """Its payload can only be known in the process that made it."""
        del surroundings
        self.planning()
        return Plan("it", "run", decision, STEPS, needs_bytes=9, payload=os.getpid(), limit_seconds=30.0)

    def apply(self, plan: Plan, surroundings: Surroundings) -> Outcome:
        """In the same process."""
        del surroundings
        assert plan.payload == os.getpid()
        self.applying()
        return DONE


def start(work: Work, leave: Callable[[], None] = lambda: None) -> Child:
    """A child that makes its plan."""
    return children.start(Errand(work, decision(), surroundings()), leave)


def hear(child: Child) -> Plan | Outcome:
    """Wait for it as the engine does: by its descriptor, then by looking."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        select.select([child.fd], [], [], 0.05)
        if news := child.news(time.monotonic()):
            return news
    raise AssertionError("it says nothing")


def begun(work: Work) -> Child:
    """One that has been given the word."""
    child = start(work)
    plan = hear(child)
    assert isinstance(plan, Plan)
    child.begin(plan.limit_seconds, time.monotonic())
    return child


def outcome_of(child: Child) -> Outcome:
    """What it says in the end."""
    news = hear(child)
    assert isinstance(news, Outcome)
    return news


def gone(child: Child) -> bool:
    """Wait until nothing is left of it."""
    child.wait(time.monotonic() + 10)
    return child.is_gone()


def test_it_plans_waits_for_the_word_and_does_what_it_planned() -> None:
    """What the engine weighs comes through; the payload stays with who applies it, in one and the same process."""
    child = start(Work())
    plan = hear(child)
    time.sleep(0.02)
    before = child.news(time.monotonic())
    child.begin(None, time.monotonic())

    assert plan == Plan("it", "run", child.errand.decision, STEPS, needs_bytes=9, limit_seconds=30.0)
    assert (before, outcome_of(child)) == (None, DONE)


def test_without_the_word_nothing_is_done(tmp_path: Path) -> None:
    """Also if the engine dies: its end of the socket closes, and the child ends."""
    mark = tmp_path / "done"
    abandoned, orphan = start(Work(mark.touch)), start(Work(mark.touch))
    hear(abandoned)
    hear(orphan)
    abandoned.abandon()
    os.close(orphan.fd)

    assert (gone(abandoned), gone(orphan), mark.exists()) == (True, True, False)


def test_one_that_dies_before_the_word_is_not_given_it() -> None:
    """Its plan is worth nothing any more, although it can be read still."""
    child = start(Work())
    select.select([child.fd], [], [], 10)
    os.kill(child.pid, signal.SIGKILL)
    assert gone(child)

    assert outcome_of(child).reason.startswith("the process of the action was killed by signal 9")


def test_a_plan_that_hangs_is_given_up() -> None:
    """A read that waits in the kernel for ever costs the engine nothing, and what is behind it a few seconds."""
    child = start(Work(planning=signal.pause))
    early = child.news(child.started + PLAN_PATIENCE - 1)
    outcome = child.news(child.started + PLAN_PATIENCE)

    assert early is None
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, outcome.reason.partition(",")[0]) == (OutcomeKind.FAILED, "it hangs in the kernel")
    assert gone(child)


def test_an_action_that_hangs_is_left_behind() -> None:
    """Long after the limit that its plan has named; without a limit never."""
    child = begun(Work(signal.pause))
    now = time.monotonic()
    early = child.news(now + 29)
    late = child.news(now + 31 + HANG_PATIENCE)

    assert early is None
    assert isinstance(late, Outcome)
    assert gone(child)


def test_a_plan_may_be_long() -> None:
    """More than the socket takes at once: it is cut to what people read."""
    errand = Errand(Work(), decision(), surroundings())
    plan = Plan("it", "run", errand.decision, ("ü" * 9000,) * 9000, "n" * 9000)
    read = decode(encode(plan), errand)

    assert isinstance(read, Plan)
    assert (len(read.steps), set(map(len, read.steps)), len(read.refusal)) == (64, {400}, 2000)


def test_an_outcome_survives_the_way() -> None:
    """What a child writes is what the engine reads; anything else is nothing."""
    errand = Errand(Work(), decision(), surroundings())
    outcome = Outcome("purge", "purge", OutcomeKind.APPLIED, "ü" * 9000, 1.5, "root", "stage", "/", 10, 20, 0.5)
    read = decode(encode(outcome), errand)
    nonsense = (b"", b"{}", b"[1]", b'{"outcome": {"kind": "none"}}', b'{"plan": 1}', b'{"plan": {}}', b"\xff", b"5")

    assert isinstance(read, Outcome)
    assert (read.reason, read.freed_bytes, read.kind) == ("ü" * 2000, 10, OutcomeKind.APPLIED)
    assert [decode(line, errand) for line in nonsense] == [None] * len(nonsense)


def test_its_process_can_be_told_from_others() -> None:
    """As long as it lives; the dead one that nobody has waited for is none."""
    child = begun(Work(signal.pause))
    process = child.process
    alive = is_alive(process)
    os.kill(child.pid, signal.SIGKILL)
    outcome_of(child)

    assert (alive, is_alive(process), process.pid) == (True, False, child.pid)


def test_it_leaves_what_only_the_engine_may_hold() -> None:
    """Before it does anything: a pipe held open here would hide the death of its other end."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    child = start(Work(planning=signal.pause), leave=lambda: os.close(theirs))
    os.close(theirs)
    ended = os.read(ours, 1)
    child.abandon()
    os.close(ours)

    assert (ended, gone(child)) == (b"", True)


def test_a_fault_of_an_action_is_an_outcome() -> None:
    """An action promises not to raise; one that does has failed, and says why, whichever half it was in."""

    def fail() -> None:
        raise KeyError("no such thing")

    for outcome in (outcome_of(start(Work(planning=fail))), outcome_of(begun(Work(fail)))):
        assert (outcome.kind, outcome.action, outcome.mount_point) == (OutcomeKind.FAILED, "it", "/")
        assert "KeyError('no such thing')" in outcome.reason


def test_signals_for_the_engine_do_not_end_it() -> None:
    """Ctrl-C goes to all processes of the terminal: the engine waits for us, and then ends."""
    ready, tell = os.pipe2(os.O_CLOEXEC)
    go, start_it = os.pipe2(os.O_CLOEXEC)

    def work() -> None:
        os.write(tell, b"x")
        os.read(go, 1)

    child = begun(Work(work))
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
    outcome_of(begun(Work(lambda: subprocess.run(["cp", "/proc/self/status", str(said)], check=True))))
    lines = dict(line.split(":\t", 1) for line in said.read_text().splitlines() if ":\t" in line)

    assert [int(lines[name], 16) & ~OF_THE_C_LIBRARY for name in ("SigBlk", "SigIgn", "SigCgt")] == [0, 0, 0]


def test_signals_are_as_they_were_in_the_engine() -> None:
    """Blocked only while forking."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    outcome_of(begun(Work()))

    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_what_it_leaves_behind_does_not_hold_its_end_back() -> None:
    """A process that hangs in the kernel may keep the socket open for ever; the child has ended all the same."""
    go, release = os.pipe2(os.O_CLOEXEC)

    def work() -> None:
        if os.fork() == 0:
            os.close(release)
            os.read(go, 1)
            os._exit(0)

    outcome = outcome_of(begun(Work(work)))
    os.close(release)
    os.close(go)

    assert outcome == DONE


def test_one_that_dies_without_a_word_has_failed() -> None:
    """Killed, or gone by itself."""
    killed = outcome_of(begun(Work(lambda: os.kill(os.getpid(), signal.SIGKILL))))
    left = outcome_of(begun(Work(lambda: os._exit(0))))

    assert {killed.kind, left.kind} == {OutcomeKind.FAILED}
    assert killed.reason.startswith("the process of the action was killed by signal 9;")
    assert left.reason.startswith("the process of the action ended without a word;")


def test_at_the_end_of_the_daemon_it_gets_its_time() -> None:
    """Done in time, its outcome is the outcome."""
    assert begun(Work(lambda: time.sleep(0.05))).end(time.monotonic() + 10) == DONE


def test_at_the_end_of_the_daemon_it_ends_too(tmp_path: Path) -> None:
    """Not done in time, it is killed and reaped, and the program that it runs goes with it."""
    pid_file = tmp_path / "pid"
    program = f"import os,time; open({str(pid_file)!r},'w').write(str(os.getpid())); time.sleep(60)"
    code = (
        "import time; from overlaywatch.actions.program import Program\n"
        f"Program(({sys.executable!r}, '-c', {program!r}), 60.0).run(time.monotonic)"
    )
    child = begun(Work(lambda: exec(code)))  # noqa: S102
    deadline = time.monotonic() + 10
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        select.select([], [], [], 0.01)

    assert child.end(time.monotonic()) is None
    assert child.is_gone()
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
