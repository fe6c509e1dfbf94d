# SPDX-License-Identifier: Apache-2.0
"""Actions that take long run in a child that is forked from memory: detection never waits for them.

Must not know which actions there are. The child is a copy of the engine with everything already
imported and locked pages shared, so forking needs nothing from the disk. It reports its Outcome as
one line of JSON through a pipe; one that dies without a word has failed. The engine never waits for
its death either: a process that hangs in the kernel cannot even be killed.
"""

import contextlib
import json
import logging
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Final

from overlaywatch.engine.events import SIGNALS
from overlaywatch.model import Outcome, OutcomeKind
from overlaywatch.ports import Plan

log: Final = logging.getLogger(__name__)

_MOST_BYTES: Final = 64 * 1024
_MOST_REASON: Final = 2000
_MOST_FREED: Final = 2**63
_LONGEST: Final = 1e12
_TIME_TO_DIE: Final = 0.5
_GIVE_UP: Final = signal.SIGQUIT


@dataclass(slots=True)
class Child:
    """A running action: its process, the pipe that its outcome comes through, and what it is for."""

    pid: int
    fd: int
    plan: Plan
    started: float
    received: bytes = b""


def start(plan: Plan, apply: Callable[[], Outcome], now: float, leave: Callable[[], None]) -> Child:
    """Fork a child that applies the plan. Raises OSError if the machine has no room for a process.

    `leave()` is called in the child first: it gives back what only the engine may hold.
    """
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    # A signal between fork and _become_a_worker() would be told to the engine, through the pipe that both have.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            os.close(read_fd)
            _run(plan, apply, leave, write_fd)
    except OSError:
        os.close(read_fd)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(write_fd)
    os.set_blocking(read_fd, False)
    return Child(pid, read_fd, plan, now)


def _run(plan: Plan, apply: Callable[[], Outcome], leave: Callable[[], None], write_fd: int) -> None:
    """The child's whole life. It never returns into the engine's code."""
    try:
        _become_a_worker()
        leave()
        os.write(write_fd, encode(_applied(plan, apply)))
    finally:
        os._exit(0)


def _become_a_worker() -> None:
    """Signals that go to all processes of a terminal are for the engine: it waits for us, or ends us.

    A handler that does nothing, rather than SIG_IGN, which a program would inherit over exec.
    """
    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, _for_the_engine)
    signal.signal(_GIVE_UP, _give_up)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _for_the_engine(number: int, frame: object) -> None:
    """Nothing."""


def _give_up(_number: int, _frame: object) -> None:
    """Unwind, so that a program that was started ends with all its own."""
    raise SystemExit


def _applied(plan: Plan, apply: Callable[[], Outcome]) -> Outcome:
    try:
        return apply()
    except Exception as error:  # an action promises not to raise; one that does must not fail without a word
        log.exception("%s: a fault of overlaywatch itself", plan.action)
        return _failed(plan, f"a fault of overlaywatch itself: {error!r}", plan.decision.at, 0.0)


def encode(outcome: Outcome) -> bytes:
    """An Outcome as one line of JSON; its reason is cut so that the line fits into a pipe at once."""
    values = asdict(outcome)
    values["reason"] = outcome.reason[:_MOST_REASON]
    return json.dumps(values).encode() + b"\n"


def decode(line: bytes) -> Outcome | None:
    """The Outcome of a line, or None if it is none."""
    try:
        values = json.loads(line)
        values["kind"] = OutcomeKind(values["kind"])
        outcome = Outcome(**{field.name: values[field.name] for field in fields(Outcome)})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return outcome if _is_whole(outcome) else None


def _is_whole(outcome: Outcome) -> bool:
    """Whether every field is of its type: the child may have been killed, or gone mad, while it wrote."""
    texts = (outcome.action, outcome.type, outcome.reason, outcome.policy, outcome.stage, outcome.mount_point)
    sizes, times = (outcome.freed_bytes, outcome.reusable_bytes), (outcome.at, outcome.took_seconds)
    return (
        all(isinstance(text, str) for text in texts)
        and all(type(size) is int and 0 <= size < _MOST_FREED for size in sizes)
        and all(type(time) in (int, float) and 0 <= time < _LONGEST for time in times)
    )


def collect(child: Child, now: float) -> Outcome | None:
    """Read what the child has written; its Outcome once it has ended, else None. Never waits.

    Its end is what counts, not that of the pipe: a process that it left behind may hold that open.
    """
    pid, status = os.waitpid(child.pid, os.WNOHANG)
    with contextlib.suppress(BlockingIOError):
        child.received += os.read(child.fd, _MOST_BYTES)
    if pid == 0:
        return None
    os.close(child.fd)
    return decode(child.received) or _failed(child.plan, _died(status), now, now - child.started)


def end(child: Child, deadline: float) -> Outcome:
    """Wait for its Outcome until `deadline` (monotonic), then end it. For the end of the engine itself."""
    while (left := deadline - time.monotonic()) > 0:
        select.select([child.fd], [], [], min(left, 0.1))
        if outcome := collect(child, time.monotonic()):
            return outcome
    os.kill(child.pid, _GIVE_UP)
    if reap(child.pid, _TIME_TO_DIE) is None:
        os.kill(child.pid, signal.SIGKILL)
        reap(child.pid, _TIME_TO_DIE)
    os.close(child.fd)
    now = time.monotonic()
    return _failed(child.plan, "it was not done when the daemon had to stop", now, now - child.started)


def reap(pid: int, patience: float) -> int | None:
    """The wait status of a child that is about to die; None if it did not within so many seconds."""
    deadline = time.monotonic() + patience
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.001)


def _died(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    how = f"was killed by signal {-code}" if code < 0 else "ended without a word"
    return f"the process of the action {how}"


def _failed(plan: Plan, reason: str, at: float, took_seconds: float) -> Outcome:
    decision = plan.decision
    return Outcome(
        action=plan.action,
        type=plan.type,
        kind=OutcomeKind.FAILED,
        reason=reason,
        at=at,
        policy=decision.policy,
        stage=decision.stage,
        mount_point=decision.mount_point,
        took_seconds=took_seconds,
    )
