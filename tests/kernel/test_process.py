# SPDX-License-Identifier: Apache-2.0
"""One process told from another that has its number."""

import os
import subprocess
from pathlib import Path

import pytest

from overlaywatch.kernel.process import Process, identify, is_alive, parse_stat
from overlaywatch.kernel.root import KernelRoot

STAT = (
    "4211 (a) b (c) S 1 4211 4211 0 -1 4194560 1204 0 3 0 12 4 0 0 20 0 1 0 981234 11534336 1407 "
    "18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)


def test_name_may_hold_anything() -> None:
    """Parentheses and blanks too; what counts is behind the last one (proc_pid_stat(5))."""
    assert parse_stat(STAT) == ("S", 981234)


@pytest.mark.parametrize("text", ["", "1 (x)", "1 (x) S 1 2", STAT.replace("981234", "much")])
def test_what_is_no_stat_is_none(text: str) -> None:
    """Nothing is guessed."""
    assert parse_stat(text) is None


def test_process_is_itself_and_nobody_else() -> None:
    """Its number with another start is another process; one that nobody has waited for is dead."""
    this = identify(os.getpid())
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    dead = identify(child.pid)
    child.wait()

    assert this is not None
    assert (is_alive(this), is_alive(Process(this.pid, this.started_ticks + 1)), dead) == (True, False, None)
    assert identify(child.pid) is None


def test_nothing_is_known_without_proc(tmp_path: Path) -> None:
    """No process, and no error."""
    assert identify(1, KernelRoot(tmp_path)) is None
