# SPDX-License-Identifier: Apache-2.0
"""Actions that take long run in a child that is forked from memory: detection never waits for them.

Must not know which actions there are. The child is a copy of the engine with everything already
imported and locked pages shared, so forking needs nothing from the disk. It reports its Outcome as
one line of JSON through a pipe; one that dies without a word has failed.
"""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Final

from overlaywatch.model import Outcome, OutcomeKind
from overlaywatch.ports import Plan

_SIGNALS_OF_THE_ENGINE: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_MOST_BYTES: Final = 64 * 1024


@dataclass(slots=True)
class Child:
    """A running action: its process, the pipe that its outcome comes through, and what it is for."""

    pid: int
    fd: int
    plan: Plan
    started: float
    received: bytes = b""


def start(plan: Plan, apply: Callable[[], Outcome], now: float) -> Child:
    """Fork a child that applies the plan. Raises OSError if the machine has no room for a process."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
    except OSError:
        os.close(read_fd)
        os.close(write_fd)
        raise
    if pid == 0:
        os.close(read_fd)
        _run(apply, write_fd)
    os.close(write_fd)
    os.set_blocking(read_fd, False)
    return Child(pid, read_fd, plan, now)


def _run(apply: Callable[[], Outcome], write_fd: int) -> None:
    """The child's whole life. It never returns into the engine's code."""
    try:
        for number in _SIGNALS_OF_THE_ENGINE:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        outcome = apply()
        os.write(write_fd, encode(outcome))
    finally:
        os._exit(0)


def encode(outcome: Outcome) -> bytes:
    """An Outcome as one line of JSON; its reason is cut so that the line fits into a pipe at once."""
    values = asdict(outcome)
    values["reason"] = outcome.reason[:2000]
    return json.dumps(values).encode() + b"\n"


def decode(line: bytes) -> Outcome | None:
    """The Outcome of a line, or None if it is none."""
    try:
        values = json.loads(line)
        values["kind"] = OutcomeKind(values["kind"])
        return Outcome(**{field.name: values[field.name] for field in fields(Outcome)})
    except (ValueError, KeyError, TypeError):
        return None


def collect(child: Child, now: float) -> Outcome | None:
    """Read what the child has written; its Outcome once it has ended, else None."""
    try:
        chunk = os.read(child.fd, _MOST_BYTES)
    except BlockingIOError:
        return None
    if chunk:
        child.received += chunk
        return None
    os.close(child.fd)
    _, status = os.waitpid(child.pid, 0)
    return decode(child.received) or _died(child, status, now)


def _died(child: Child, status: int, now: float) -> Outcome:
    decision = child.plan.decision
    code = os.waitstatus_to_exitcode(status)
    how = f"was killed by signal {-code}" if code < 0 else "ended without a word"
    return Outcome(
        action=child.plan.action,
        type=child.plan.type,
        kind=OutcomeKind.FAILED,
        reason=f"the process of the action {how}",
        at=now,
        policy=decision.policy,
        stage=decision.stage,
        mount_point=decision.mount_point,
        took_seconds=now - child.started,
    )
