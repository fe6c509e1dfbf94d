# SPDX-License-Identifier: Apache-2.0
"""`run --root`: the daemon watches a captured machine, shows it, and does nothing about it."""

import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.integration.daemon import PATIENCE, free_port
from tests.kernel import captures
from tests.tools import CHECKOUT

POLICY = """
[action.note]
type = "run"
command = ["touch", "{file}"]
[action.page]
type = "alertmanager"
urls = ["http://127.0.0.1:9/"]
[[policy]]
name = "root"
mount_point = "/"
[[policy.stage]]
name = "always"
headroom_below = "1GiB"
actions = ["note", "page"]
"""


def fetch(port: int, wanted: str) -> str:
    """/metrics, as soon as it has a line with `wanted`."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
                text = str(answer.read().decode())
        except OSError:
            text = ""
        if wanted in text:
            return text
        assert time.monotonic() < deadline, text
        time.sleep(0.05)


def test_the_captured_machine_is_shown_and_left_alone(tmp_path: Path) -> None:
    """Its figures are served, its stages are judged; there is no action, no alert, no state."""
    machine, done = captures.write(tmp_path / "machine"), tmp_path / "done"
    before = {path: path.stat().st_mtime_ns for path in machine.rglob("*")}
    config = tmp_path / "config.toml"
    config.write_text(POLICY.format(file=done))
    port = free_port()
    command = [sys.executable, "-m", "overlaywatch", "run", "--root", str(machine), "--config", str(config)]
    command += ["--web.listen-address", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            metrics = fetch(port, 'stage_active{mount_point="/",policy="root",stage="always"} 1.0')
        finally:
            daemon.send_signal(signal.SIGTERM)
            _, said = daemon.communicate(timeout=PATIENCE)
    assert 'overlaywatch_layer_used_bytes{layer="dm-snapshot:live-rw"} 1.253376e+06' in metrics
    assert 'chain="filesystem:/,dm-snapshot:live-rw,ramfs:rootfs,ram"' in metrics
    assert "overlaywatch_decisions_total" not in metrics
    assert "overlaywatch_alerts_total" not in metrics
    assert daemon.returncode == 0, said
    assert not done.exists()
    assert {path: path.stat().st_mtime_ns for path in machine.rglob("*")} == before
