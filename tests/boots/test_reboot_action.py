# SPDX-License-Identifier: Apache-2.0
"""The action `reboot` with its real rungs, in guests that may really go down."""

import sys
from pathlib import Path

import pytest

from tests.boots.conftest import BootGuest

pytestmark = pytest.mark.boots

APPLY = """
import os, pathlib, sys, time
from overlaywatch.actions.reboot import RebootAction
from overlaywatch.model import LayerState
from tests.actions.facts import Desk, decision, surroundings, table

states = frozenset(LayerState(state) for state in sys.argv[2].split(","))
log = open("/run/lab/log", "a")
def announce(text):
    print(text, file=log, flush=True)
    os.fsync(log.fileno())
made = RebootAction.from_table(table(grace=sys.argv[1], min_uptime="0s"), Desk().context())
action = RebootAction("it", made.settings, announce)
around = surroundings()
outcome = action.apply(action.plan(decision(states=states), around), around)
announce(f"{outcome.kind}: {outcome.reason}")
"""


def announced(results: Path) -> list[str]:
    """What the action said while it climbed; the file outlives the guest."""
    return (results / "log").read_text().splitlines()


def command(grace: str, states: str) -> tuple[str, ...]:
    """Plan and apply in the guest."""
    return (sys.executable, "-c", APPLY, grace, states)


def test_kernel_reboots_when_nobody_else_can(boot_guest: BootGuest, results: Path) -> None:
    """Without a service manager every polite rung fails with its reason, and reboot(2) does it."""
    ending = boot_guest(*command("0s", "ok"))
    assert (ending.status, ending.boots, ending.panicked) == (None, 2, False), ending.console
    said = announced(results)
    assert [line.partition(":")[0] for line in said] == ["rebooting", "logind", "init", "init by force"]


def test_dead_root_is_left_at_once(boot_guest: BootGuest, results: Path) -> None:
    """No program is started, nobody waits for a grace of minutes."""
    ending = boot_guest(*command("10m", "ok,invalid"))
    assert (ending.status, ending.boots) == (None, 2), ending.console
    assert ending.seconds < 30
    assert [line.partition(":")[0] for line in announced(results)] == ["rebooting"]


def test_logind_reboots_and_tells_users(boot_guest: BootGuest, results: Path) -> None:
    """With systemd the first rung is enough: it is scheduled, accepted, and happens when the grace is over."""
    ending = boot_guest(*command("1s", "ok"), init="systemd")
    assert (ending.status, ending.boots, ending.timed_out) == (None, 2, False), ending.console
    assert len(announced(results)) == 1


def test_services_are_stopped_in_order_also_without_grace(boot_guest: BootGuest, results: Path) -> None:
    """logind has begun before it can be asked: what takes its time to stop gets it, and no other rung is tried."""
    slow = "systemd-run --quiet --unit=slow -p ExecStop='sh -c \"sleep 5; touch /run/lab/stopped\"' sleep infinity"
    ending = boot_guest(
        "sh", "-c", f"{slow} && trap '' TERM && exec \"$@\"", "sh", *command("0s", "ok"), init="systemd"
    )
    assert (ending.status, ending.boots, ending.timed_out) == (None, 2, False), ending.console
    assert (results / "stopped").exists()
    assert len(announced(results)) == 1


def test_cancelled_reboot_does_not_happen(boot_guest: BootGuest, results: Path) -> None:
    """`shutdown -c` is obeyed: the machine stays up, and the outcome says who stopped it."""
    manager = "org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager"
    script = f'(sleep 2; busctl call {manager} CancelScheduledShutdown) & "$@"; wait'
    ending = boot_guest("sh", "-c", script, "sh", *command("60s", "ok"), init="systemd")
    assert (ending.status, ending.boots) == (0, 1), ending.console
    assert announced(results)[-2:] == ["cancelled", "refused: somebody has cancelled it (shutdown -c)"]


def test_sysrq_is_the_last_word(boot_guest: BootGuest) -> None:
    """Where even reboot(2) is refused, the last rung restarts the machine."""
    script = "from overlaywatch.actions.reboot_rungs import default_rungs; default_rungs()[-1].run(0.0, '')"
    ending = boot_guest(sys.executable, "-c", script)
    assert (ending.status, ending.boots, ending.panicked) == (None, 2, False), ending.console
