# SPDX-License-Identifier: Apache-2.0
"""The ways to restart a machine, from the politest to the one that always works.

This file must not know when to reboot or in which order the rungs are taken.
Sources: org.freedesktop.login1(5), systemctl(1), reboot(8) of sysvinit and busybox, reboot(2).
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from overlaywatch.actions.outcomes import why
from overlaywatch.actions.program import Ended, Program, find
from overlaywatch.kernel import reboot
from overlaywatch.kernel.root import KernelRoot
from overlaywatch.units import printable

_CALL_LIMIT: Final = 10.0
_TIME_TO_STOP: Final = 90.0
"""What systemd gives a service to stop in (DefaultTimeoutStopSec); a machine that is still up then, hangs."""

_TIME_TO_STOP_BY_FORCE: Final = 30.0
_TIME_TO_RESTART: Final = 5.0
_MICROSECONDS: Final = 1_000_000
_MANAGER: Final = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to restart the machine.

    `run(grace, message)` asks for it in `grace` seconds and returns None if that was accepted, which
    does not yet mean that the machine goes down, or else why not. `limit` is how long it may take,
    in a child of its own; 0: it cannot hang, and is done in this very process. `settle`: seconds after
    which the machine should be down; 0: it restarts nothing. `waits`: it lets the grace pass itself;
    else that must be over before. `needs_programs`: a dead root cannot give them. `flushes`: it writes
    out what is dirty, which may be the very thing that overflows a snapshot. `withdrawn()` says whether
    somebody took back what was accepted, and is asked only while the grace lasts. `holds()` says whether
    it has something scheduled from before, which then is left to come true.
    """

    name: str
    run: Callable[[float, str], str | None]
    limit: float = 0.0
    settle: float = 0.0
    waits: bool = False
    needs_programs: bool = False
    flushes: bool = False
    withdrawn: Callable[[], bool] = _never
    holds: Callable[[], bool] = _never


def default_rungs() -> tuple[Rung, ...]:
    """All of them, in the order in which they are taken."""
    return (
        logind_rung(("busctl",)),
        program_rung("init", (("systemctl", "reboot"), ("reboot",)), _TIME_TO_STOP),
        program_rung("init by force", (("systemctl", "--force", "reboot"), ("reboot", "-f")), _TIME_TO_STOP_BY_FORCE),
        sync_rung(os.sync, 10.0),
        kernel_rung("reboot(2)", reboot.restart),
        kernel_rung("SysRq", lambda: reboot.restart_by_sysrq(KernelRoot())),
    )


def logind_rung(bus: tuple[str, ...], kind: str = "reboot", unix_time: Callable[[], float] = time.time) -> Rung:
    """logind: tells all users on their terminals, delays for inhibitors, stops services in order.

    `bus` is the program that speaks D-Bus, `kind` the type of ScheduleShutdown (`dry-reboot` only tells).
    """
    logind = _Logind(bus, kind, unix_time)
    return Rung(
        "logind",
        logind.schedule,
        limit=4 * _CALL_LIMIT,
        settle=_TIME_TO_STOP,
        waits=True,
        needs_programs=True,
        withdrawn=logind.withdrawn,
        holds=logind.holds,
    )


def program_rung(name: str, commands: tuple[tuple[str, ...], ...], settle: float) -> Rung:
    """The first of some commands whose program is there: init systems differ."""

    def run(grace: float, message: str) -> str | None:
        del grace, message
        there = [command for command in commands if find(command[0])]
        if not there:
            return "no program: " + ", ".join(command[0] for command in commands)
        return _problem(_run(there[0]))

    return Rung(name, run, limit=2 * _CALL_LIMIT, settle=settle, needs_programs=True)


def sync_rung(sync: Callable[[], None], limit: float) -> Rung:
    """sync(2), so that what follows loses less; given up after some seconds: on a broken device it never ends."""

    def run(grace: float, message: str) -> str | None:
        del grace, message
        sync()
        return None

    return Rung("sync", run, limit=limit, flushes=True)


def kernel_rung(name: str, restart: Callable[[], None]) -> Rung:
    """The kernel restarts the machine at once: `restart` does not return, or raises OSError."""

    def run(grace: float, message: str) -> str | None:
        del grace, message
        try:
            restart()
        except OSError as error:
            return why(error)
        return None

    return Rung(name, run, settle=_TIME_TO_RESTART)


@dataclass(frozen=True, slots=True)
class _Logind:
    bus: tuple[str, ...]
    kind: str
    unix_time: Callable[[], float]

    def schedule(self, grace: float, message: str) -> str | None:
        """Schedule it, then read back that it is: accepting a call and doing it are two things."""
        # Who is not told is rebooted all the same: the answer to this one does not matter. It may take its time.
        self._call("call", *_MANAGER, "SetWallMessage", "sb", message, "true")
        at = self.unix_time() + grace
        when = str(int(at * _MICROSECONDS))
        refused = _problem(self._call("call", *_MANAGER, "ScheduleShutdown", "st", self.kind, when))
        return refused or self._not_kept(at)

    def _not_kept(self, at: float) -> str | None:
        """Why what was accepted for `at` (Unix seconds) will not come; None if nothing speaks against it.

        Nothing is scheduled any more once it is carried out, and the bus is among what is stopped then: the next
        rung would cut off services that are being stopped in order.
        """
        scheduled = self._scheduled()
        if scheduled in {self.kind, None} or (scheduled == "" and self.unix_time() >= at):
            return None
        return f"accepted, but what is scheduled then is {scheduled!r}"

    def withdrawn(self) -> bool:
        """Whether somebody said `shutdown -c`, or scheduled something else. What cannot be asked is not withdrawn."""
        return self._scheduled() not in {self.kind, None}

    def holds(self) -> bool:
        """Whether anything is scheduled; if it is no reboot, withdrawn() says that somebody decided otherwise."""
        return bool(self._scheduled())

    def _scheduled(self) -> str | None:
        """The type of the scheduled shutdown; empty: none; None: cannot be asked. busctl(1) prints `(st) "…" 0`."""
        answer = self._call("get-property", *_MANAGER, "ScheduledShutdown")
        words = answer.last_line.split('"') if isinstance(answer, Ended) and answer.succeeded else []
        return words[1] if len(words) > 1 else None

    def _call(self, *arguments: str) -> Ended | OSError:
        return _run((*self.bus, *arguments))


def _run(command: tuple[str, ...]) -> Ended | OSError:
    try:
        return Program(command, timeout=_CALL_LIMIT, time_to_obey=1.0).run(time.monotonic)
    except OSError as error:
        return error


def _problem(answer: Ended | OSError) -> str | None:
    """Why a program did not do its work; None if it did."""
    if isinstance(answer, OSError):
        return why(answer)
    if answer.succeeded:
        return None
    return f"{answer.how}: {printable(answer.last_line)}" if answer.last_line else answer.how
