# SPDX-License-Identifier: Apache-2.0
"""Everything that the daemon is made of lies on the root that dies, and it outlives it."""

import re
import sys
from pathlib import Path

import pytest

from tests.boots.conftest import BootGuest

pytestmark = pytest.mark.boots


def test_daemon_outlives_the_file_system_that_it_came_from(boot_guest: BootGuest, results: Path) -> None:
    """No page can be read from the root any more: metrics are served, the alert arrives, the machine is rebooted."""
    ending = boot_guest(sys.executable, "-m", "tests.boots.dying_root", timeout=90, memory="1G", boots=2)
    found = {file.name: file.read_text() for file in results.iterdir() if file.is_file()}
    assert (ending.status, ending.boots) == (0, 2), ending.explain() + found.get("log", "")
    assert "snapshot Invalid" in found["snapshot"]
    # Interpreter and libraries were mapped from the device-mapper device, and nothing from the host.
    mapped = re.findall(r"(\S+) \d+ +(/.*)", found["maps"])
    assert {device for device, path in mapped if ".so" in path} == {"fe:00"}, found["maps"]
    assert found["exec"] != "0"
    assert "'stage': 'dead'" in found["told"]
    assert 'overlaywatch_layer_state{layer="dm-snapshot:live-rw",state="invalid"} 1.0' in found["metrics"]
    assert "Traceback" not in found["log"], found["log"]
