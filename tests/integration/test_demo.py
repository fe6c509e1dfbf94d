# SPDX-License-Identifier: Apache-2.0
"""The demonstration on a machine's own kernel: everything but the reboot happens, and nothing is left of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import CHECKOUT

pytestmark = pytest.mark.kernel

RATE = "5"


def traces() -> tuple[str, ...]:
    """What a demonstration could leave behind: devices, loops, mounts."""
    devices = subprocess.run(["dmsetup", "ls"], capture_output=True, text=True, check=True).stdout
    loops = subprocess.run(["losetup", "--list", "--noheadings"], capture_output=True, text=True, check=True).stdout
    return devices, loops, Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize(
    ("stage", "limit", "lesson"),
    [
        ("host", "dm-snapshot:overlaywatch-demo", "df has gone up, the headroom has not"),
        ("namespace", "tmpfs:/mnt", "Here what was deleted is room again"),
    ],
)
def test_last_resort_is_shown_and_not_taken(stage: str, limit: str, lesson: str) -> None:
    """Alert and purge; then a dry run of the reboot, on a machine that stays up and as it was."""
    before = traces()
    command = [sys.executable, "-m", "tests.demo", "--stage", stage, "--rate", RATE]
    done = subprocess.run(command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert re.search(rf"\d% of {limit} used, [\d.]+ MiB left", text), text
    assert "ALERT     a webhook got OverlayRootWarn, firing: /mnt/live on " in text
    assert "deleted 8 of 8 files, 8.0 MiB" in text
    assert lesson in text
    assert "REBOOT    not here, where only a dry run is shown. reboot: dry_run: would: reboot in 2 s" in text
    assert traces() == before
