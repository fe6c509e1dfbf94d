# SPDX-License-Identifier: Apache-2.0
"""The lab tells the truth: how a guest ended, and that the host was left alone."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.boots.conftest import BootGuest
from tests.lab.uml import Guest, LabError, Running
from tests.tools import CHECKOUT

pytestmark = pytest.mark.boots

REBOOT = f"{sys.executable} -c 'import ctypes; ctypes.CDLL(None).reboot(0x01234567)'"
LOGIND = "org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager"


def test_status_of_the_command_comes_back(boot_guest: BootGuest) -> None:
    """The exit status of linux.uml says nothing; that of the command is handed over."""
    ending = boot_guest("sh", "-c", "exit 7")
    assert (ending.status, ending.boots, ending.timed_out) == (7, 1, False)


def test_guest_writes_nothing_to_the_host_but_results(boot_guest: BootGuest, results: Path, tmp_path: Path) -> None:
    """A guest that is root and writes where it likes leaves the host's files as they were."""
    victim = tmp_path / "victim"
    victim.write_text("the host's")
    ending = boot_guest("sh", "-c", f"rm {victim} && echo changed >{victim} && cp {victim} /run/lab/kept")
    assert ending.status == 0, ending.console
    assert victim.read_text() == "the host's"
    assert (results / "kept").read_text() == "changed\n"


def test_reboot_is_seen(boot_guest: BootGuest) -> None:
    """A guest that reboots has no status and one boot more than it was allowed."""
    ending = boot_guest("sh", "-c", REBOOT)
    assert (ending.status, ending.boots, ending.panicked) == (None, 2, False)


def test_second_boot_can_go_on(boot_guest: BootGuest, results: Path) -> None:
    """A guest that may boot twice runs its command twice, and what it kept in memory is gone."""
    script = f'echo "$LAB_BOOT $(ls /etc/kept)" >>/run/lab/log; touch /etc/kept; test "$LAB_BOOT" = 2 || {REBOOT}'
    ending = boot_guest("sh", "-c", script, boots=2)
    assert (ending.status, ending.boots) == (0, 2)
    assert (results / "log").read_text() == "1 \n2 \n"


def test_panic_is_seen(boot_guest: BootGuest) -> None:
    """A guest whose kernel panics has no status, and its console says why."""
    ending = boot_guest("sh", "-c", "echo c >/proc/sysrq-trigger")
    assert (ending.status, ending.panicked) == (None, True)
    assert "its kernel panicked" in ending.explain()


def test_guest_that_overstays_is_killed(boot_guest: BootGuest, results: Path) -> None:
    """The timeout is hard: no process of the guest is left."""
    ending = boot_guest("sleep", "600", timeout=4)
    assert (ending.status, ending.timed_out) == (None, True)
    assert ending.seconds < 10
    # SIGKILL was sent to all of them; on a busy machine not every one has got it yet.
    wait_until(lambda: not [pid for pid in psutil.pids() if str(results) in command_line(pid)])


def test_guest_dies_with_its_runner(tmp_path: Path) -> None:
    """A runner that is killed, and cannot clean up, leaves no guest behind."""
    command = [sys.executable, "-m", "tests.lab", "--results", str(tmp_path / "guest"), "sleep", "600"]
    # Beyond what a shell can spell as a number of its own: the runner may have many files open.
    runner = subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_until((tmp_path / "guest/boots").exists)
    runner.kill()
    runner.wait()
    wait_until(lambda: not [pid for pid in psutil.pids() if str(tmp_path) in command_line(pid)])


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, ten seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def command_line(pid: int) -> str:
    """The arguments of a process; empty for one that has ended meanwhile or waits to be reaped."""
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def test_foreign_folder_is_not_emptied(tmp_path: Path) -> None:
    """A results folder that holds anything else is refused before anything is deleted."""
    (tmp_path / "precious").write_text("data")
    with pytest.raises(LabError, match="would be emptied"):
        Running(Guest(("true",), tmp_path, 10))
    assert os.listdir(tmp_path) == ["precious"]


def test_systemd_guest_has_logind(boot_guest: BootGuest) -> None:
    """With systemd as process 1 nothing has failed, and logind says that it may reboot."""
    script = f"systemctl is-system-running --wait && busctl call {LOGIND} CanReboot"
    ending = boot_guest("sh", "-c", script, init="systemd")
    assert ending.status == 0, ending.console
    assert 's "yes"' in ending.console


def test_reboot_by_logind_is_seen(boot_guest: BootGuest) -> None:
    """A scheduled reboot of logind ends the guest as it would end a machine: services first."""
    script = f"busctl call {LOGIND} ScheduleShutdown st reboot $(($(date +%s%6N) + 500000)); sleep 60"
    ending = boot_guest("sh", "-c", script, init="systemd")
    assert (ending.status, ending.boots, ending.timed_out) == (None, 2, False), ending.console
