# SPDX-License-Identifier: Apache-2.0
"""The journal names who has written most when a stage becomes true, and only then."""

import subprocess
import sys
from pathlib import Path

import pytest

from overlaywatch.engine.journal import name_writers
from overlaywatch.model import NO_FORECAST, Decision
from tests.cli import ticks

WRITE = "import sys; open(sys.argv[1], 'wb').write(bytes(1000)); print(flush=True); sys.stdin.read()"


def test_writers_are_named_with_a_decision(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One line with names, process ids and sizes."""
    (verdict,) = [one for one in ticks.overlay_on_tmpfs().verdicts if one.mount.mount_point == "/"]
    decision = Decision("root", "warn", "/", "page", "used above 70%", ticks.NOW, verdict, NO_FORECAST)
    command = [sys.executable, "-c", WRITE, str(tmp_path / "file")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        name_writers([decision])
        process.communicate()
    (record,) = caplog.records
    assert record.getMessage().startswith("most was written, each since it began, by ")
    assert record.getMessage().count(" (") in {1, 2, 3}


def test_nobody_is_named_for_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Without a decision no process is looked into."""
    name_writers([])
    assert not caplog.records
