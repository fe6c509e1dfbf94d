# SPDX-License-Identifier: Apache-2.0
"""What `make demo` promises to whoever looks on is what happens, up to the reboot."""

import re
import subprocess
import sys

import pytest

from tests.demo import stages
from tests.tools import CHECKOUT

pytestmark = pytest.mark.boots


def show(*options: str) -> tuple[int, str]:
    """Exit status and text of the demonstration; its output is no terminal."""
    command = [sys.executable, "-m", "tests.demo", *options]
    done = subprocess.run(
        command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, done.stdout.decode(errors="replace").replace("\r", "")


def test_live_root_fills_and_is_rebooted() -> None:
    """In the lab kernel: an alert, a purge, the reboot, and another boot with an empty overlay."""
    status, text = show("--stage", "lab", "--rate", "3")
    assert status == 0, text
    assert "ALERT     a webhook got OverlayRootWarn, firing: / on " in text
    assert "deleted 8 of 8 files, 8.0 MiB" in text
    assert "df has gone up, the headroom has not" in text
    assert "REBOOT    reboot in 2 s, by the first that works of: logind" in text
    assert "reboot: Restarting system" in text
    boots = re.findall(r"BOOTED AGAIN: boot ([0-9a-f-]{36})|It has booted: boot ([0-9a-f-]{36})", text)
    assert len({first or second for first, second in boots}) == 2, text
    assert re.search(r"^/ .* [0-4]\.\d%  +6[0-4]\.\d MiB  dm-snapshot:live-rw", text, re.MULTILINE), text
    assert "\x1b" not in text


def test_unwatched_root_is_lost() -> None:
    """The message of the README is the kernel's own: nothing of the image can be read any more, and df shows room."""
    status, text = show("--unwatched")
    assert status == 0, text
    assert "device-mapper: snapshots: Invalidating snapshot: Unable to allocate exception." in text
    assert "0 1572864 snapshot Invalid" in text
    assert "cat: /etc/passwd: Input/output error" in text
    assert re.search(r"/dev/mapper/live-rw +739M +\d+M +6\d\dM +\d+% /", text), text


def test_best_place_is_one_of_those_that_there_are() -> None:
    """Where a lab kernel can boot, there is always a place."""
    assert stages.best() in stages.STAGES
