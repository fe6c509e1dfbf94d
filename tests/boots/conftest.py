# SPDX-License-Identifier: Apache-2.0
"""For tests that boot a guest of their own: they reboot it, kill its kernel, or need systemd in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.uml import Ending, Guest, run

BootGuest = Callable[..., Ending]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """What the guest sees as /run/lab; pytest keeps it when the test fails."""
    return tmp_path / "guest"


@pytest.fixture
def boot_guest(results: Path) -> BootGuest:
    """Boot a guest, run a command in it, wait for its end: `boot_guest("sh", "-c", "…", boots=2)`."""

    def boot(*command: str, timeout: float = 60, memory: str = "512M", **options: Any) -> Ending:
        return run(Guest(command, results, timeout, memory, **options))

    return boot
