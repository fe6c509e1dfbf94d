# SPDX-License-Identifier: Apache-2.0
"""What `make demo` promises to whoever looks on is what happens."""

import os
import re
import subprocess
import sys

import pytest

from tests.demo.stages import can_unshare
from tests.tools import CHECKOUT

pytestmark = pytest.mark.boots


def show(stage: str) -> tuple[int, str]:
    """Exit status and text of the demonstration, written faster than for people."""
    command = [sys.executable, "-m", "tests.demo", "--stage", stage, "--rate", "4"]
    done = subprocess.run(
        command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, re.sub(r"\x1b\[[0-9;]*m|\r", "", done.stdout.decode(errors="replace"))


def test_live_root_is_seen_filling_and_is_rebooted() -> None:
    """In the lab kernel: bars, a forecast, an alert, a purge, the reboot, and the machine that has come back."""
    status, text = show("lab")
    assert status == 0, text
    assert re.search(r"█+░+ +\d+\.\d%  [\d.]+ MiB left on dm-snapshot:live-rw, full in ", text), text
    assert "alert firing: /" in text
    assert re.search(r"clean: applied: .*8 files", text), text
    assert "policy root, stage last-resort, /: reboot" in text
    assert "reboot: Restarting system" in text
    assert "The machine has booted again" in text


@pytest.mark.skipif(not can_unshare() and os.environ.get("CI") != "true", reason="no user namespaces here")
def test_without_a_kernel_of_its_own_an_overlay_is_shown() -> None:
    """In a private namespace: the same up to the last resort, which is announced only."""
    status, text = show("namespace")
    assert status == 0, text
    assert re.search(r"█+░+ +\d+\.\d%  [\d.]+ MiB left on tmpfs:", text), text
    assert "alert firing" in text
    assert re.search(r"clean: applied: .*8 files", text), text
