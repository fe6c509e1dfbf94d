# SPDX-License-Identifier: Apache-2.0
"""The rungs of the action `reboot` themselves, with programs that only write down how they were called."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from overlaywatch.actions.bounded import bounded
from overlaywatch.actions.reboot_rungs import default_rungs, kernel_rung, logind_rung, program_rung


@pytest.fixture
def bus(tmp_path: Path) -> Callable[[str], tuple[str, ...]]:
    """A program in place of busctl; `answers` is shell for what it does with $method."""

    def make(answers: str) -> tuple[str, ...]:
        program = tmp_path / "busctl"
        program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\nmethod=$5\n{answers}\n')
        program.chmod(0o755)
        return (str(program),)

    return make


def test_logind_is_asked_as_its_manual_says(bus: Callable[[str], tuple[str, ...]], tmp_path: Path) -> None:
    """org.freedesktop.login1(5): the message first, then the time in microseconds; then it is read back."""
    rung = logind_rung(
        bus("""case $1 in get-property) echo '(st) "reboot" 1700000060000000';; esac"""), "reboot", lambda: 1.7e9
    )
    assert rung.run(60.0, "going down") is None
    manager = "org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager"
    assert (tmp_path / "calls").read_text().splitlines() == [
        f"call {manager} SetWallMessage sb going down true",
        f"call {manager} ScheduleShutdown st reboot 1700000060000000",
        f"get-property {manager} ScheduledShutdown",
    ]
    assert not rung.withdrawn()


def test_logind_that_refuses_is_a_failure(bus: Callable[[str], tuple[str, ...]]) -> None:
    """Its own words are kept."""
    rung = logind_rung(bus("case $method in ScheduleShutdown) echo 'Call failed: Access denied'; exit 1;; esac"))
    assert rung.run(60.0, "x") == "exit status 1: Call failed: Access denied"


def test_logind_that_forgets_is_a_failure(bus: Callable[[str], tuple[str, ...]]) -> None:
    """Accepted is not scheduled."""
    rung = logind_rung(bus("""case $1 in get-property) echo '(st) "" 0';; esac"""))
    assert rung.run(60.0, "x") == "accepted, but what is scheduled then is ''"


def test_schedule_that_is_carried_out_already_is_no_failure(
    bus: Callable[[str], tuple[str, ...]], tmp_path: Path
) -> None:
    """Once its time has come nothing is scheduled any more: services are being stopped, and are left to it."""
    clock = bus(f"""case $1 in get-property) echo '(st) "" 0'; touch {tmp_path}/asked;; esac""")
    rung = logind_rung(clock, "reboot", lambda: 1.7e9 + 60.0 * (tmp_path / "asked").exists())
    assert rung.run(60.0, "x") is None
    assert logind_rung(clock).run(0.0, "x") is None


def test_bus_that_falls_silent_after_it_accepted_is_no_failure(bus: Callable[[str], tuple[str, ...]]) -> None:
    """The bus is among what a shutdown stops: no answer denies nothing of what was accepted."""
    rung = logind_rung(bus("case $1 in get-property) echo 'Failed to connect to bus'; exit 1;; esac"))
    assert rung.run(60.0, "x") is None


def test_other_schedule_is_a_failure_whatever_the_time(bus: Callable[[str], tuple[str, ...]]) -> None:
    """Something else stands there: somebody was faster, and that is no reboot."""
    rung = logind_rung(bus("""case $1 in get-property) echo '(st) "poweroff" 17';; esac"""))
    assert rung.run(0.0, "x") == "accepted, but what is scheduled then is 'poweroff'"


def test_slow_announcement_takes_nothing_from_the_grace(bus: Callable[[str], tuple[str, ...]], tmp_path: Path) -> None:
    """The time is reckoned when users have been told, which may take its ten seconds."""
    slow = bus(f"""case $method in SetWallMessage) touch {tmp_path}/told;; esac
case $1 in get-property) echo '(st) "reboot" 17';; esac""")
    rung = logind_rung(slow, "reboot", lambda: 1.7e9 + 10.0 * (tmp_path / "told").exists())
    assert rung.run(60.0, "x") is None
    assert "ScheduleShutdown st reboot 1700000070000000" in (tmp_path / "calls").read_text()


@pytest.mark.parametrize(
    ("answer", "withdrawn"),
    [('(st) "reboot" 17', False), ('(st) "" 0', True), ('(st) "poweroff" 17', True), ("Failed to connect", False)],
)
def test_cancellation_is_seen(bus: Callable[[str], tuple[str, ...]], answer: str, withdrawn: bool) -> None:
    """Nothing scheduled, or something else: somebody decided otherwise. No answer is no decision."""
    assert logind_rung(bus(f"echo '{answer}'")).withdrawn() is withdrawn


@pytest.mark.parametrize(
    ("answer", "holds"),
    [('(st) "reboot" 17', True), ('(st) "" 0', False), ('(st) "poweroff" 17', True), ("Failed to connect", False)],
)
def test_schedule_is_found_again(bus: Callable[[str], tuple[str, ...]], answer: str, holds: bool) -> None:
    """Anything that is scheduled: one that somebody made instead of ours must not be overwritten."""
    assert logind_rung(bus(f"echo '{answer}'")).holds() is holds


def test_programs_that_are_not_there_are_a_failure() -> None:
    """Without systemd and without a reboot program the kernel's own way is left."""
    assert program_rung("init", (("no-such-1", "x"), ("no-such-2",)), 90.0).run(0.0, "x") == (
        "no program: no-such-1, no-such-2"
    )
    assert logind_rung(("no-such-busctl",)).run(60.0, "x") == "no-such-busctl: no such file or directory"


def test_first_program_that_is_there_is_run(tmp_path: Path) -> None:
    """Init systems differ; its failure is told with its words."""
    commands = (("no-such",), ("sh", "-c", f"echo ran >{tmp_path}/ran"), ("sh", "-c", "exit 1"))
    assert program_rung("init", commands, 90.0).run(0.0, "x") is None
    assert (tmp_path / "ran").exists()
    assert program_rung("init", (("sh", "-c", "echo no; exit 1"),), 90.0).run(0.0, "x") == "exit status 1: no"


def test_kernel_rung_tells_why_it_is_still_here() -> None:
    """reboot(2) returns only with an error."""

    def refuse() -> None:
        raise PermissionError(1, "Operation not permitted")

    assert kernel_rung("reboot(2)", refuse).run(0.0, "x") == "operation not permitted"


def test_bounded_work_answers() -> None:
    """What the work says comes back, also through its death."""
    assert bounded(lambda: None, 10.0) is None
    assert bounded(lambda: "no\udcff", 10.0) == "no\\udcff"
    assert bounded(lambda: str(1 / 0), 10.0) == "division by zero"
    assert bounded(lambda: os.kill(os.getpid(), signal.SIGKILL), 10.0) == "its process was killed by signal 9"
    assert bounded(lambda: "x" * 100_000, 10.0) == "x" * 4000


def test_default_ladder_ends_with_what_needs_nothing() -> None:
    """The last two rungs start no program, cannot hang and flush nothing; all that can hang has a limit."""
    rungs = default_rungs()
    assert [rung.name for rung in rungs] == ["logind", "init", "init by force", "sync", "reboot(2)", "SysRq"]
    assert not any(rung.needs_programs or rung.flushes or rung.limit for rung in rungs[-2:])
    assert all(rung.limit > 0 for rung in rungs[:-2])
