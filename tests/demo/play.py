# SPDX-License-Identifier: Apache-2.0
"""What happens on the stage: the daemon watches a mount point, somebody fills it, and each second is shown.

It must not know what the mount point lies on. The daemon is the real one, as a process of its own; what is
shown comes from its HTTP interface, from its log, and from a webhook that receives its alerts.
"""

import contextlib
import http.client
import http.server
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from overlaywatch.units import MIB, format_duration, format_ratio, format_size

PORT: Final = 10187
STEP: Final = 0.5
BAR: Final = 32
WIDTH: Final = 160
DIM, BOLD, RED, YELLOW, GREEN, PLAIN = (f"\033[{code}m" for code in ("2", "1", "31", "33", "32", "0"))


@dataclass(frozen=True, slots=True)
class Scene:
    """A mount point to be filled. `last` is what the last resort does beyond telling: reboot, or nothing."""

    mount_point: str
    mib_per_second: float
    seconds: float
    last: tuple[str, ...] = ()

    @property
    def cache(self) -> Path:
        """Files that a policy may purge."""
        return Path(self.mount_point) / "var/cache/demo"

    @property
    def log(self) -> Path:
        """The file that grows and grows."""
        return Path(self.mount_point) / "var/log/runaway.log"


def config(scene: Scene, webhook: int) -> str:
    """The configuration of the daemon: the example of the manual, in a hurry."""
    return f"""
[watch]
include = ["{scene.mount_point}"]
[action.page]
type = "webhook"
url = "http://127.0.0.1:{webhook}/"
[action.clean]
type = "purge"
paths = ["{scene.cache}/*.deb"]
older_than = "1s"
until_headroom = "1GiB"
[action.reboot]
type = "reboot"
grace = "2s"
min_uptime = "1s"
[[policy]]
name = "root"
mount_point = "{scene.mount_point}"
[[policy.stage]]
name = "warn"
used_above = "50%"
actions = ["page"]
[[policy.stage]]
name = "purge"
used_above = "65%"
actions = ["clean"]
[[policy.stage]]
name = "last-resort"
used_above = "85%"
state_is = ["overflow", "invalid"]
actions = [{", ".join(f'"{name}"' for name in ("page", *scene.last))}]
"""


class Screen:
    """Lines with the time since the beginning; safe to be used from several threads."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def say(self, text: str, colour: str = "") -> None:
        """One line."""
        with self._lock:
            print(f"{DIM}{time.monotonic() - self._began:5.1f} s{PLAIN}  {colour}{text}{PLAIN}", flush=True)

    def show(self, mount: dict[str, Any]) -> None:
        """A mount point of the status document, as a bar."""
        ratio = mount["used_ratio"] or 0.0
        colour = GREEN if ratio < 0.5 else YELLOW if ratio < 0.8 else RED
        cells = round(ratio * BAR)
        bar = f"{colour}{'█' * cells}{DIM}{'░' * (BAR - cells)}{PLAIN}"
        left = "unknown" if mount["headroom_bytes"] is None else format_size(mount["headroom_bytes"])
        full = mount["time_to_full_seconds"]
        soon = f", full in {format_duration(full)}" if full is not None else ""
        df = os.statvfs(mount["mount_point"])
        told = f"{DIM}df: {format_size(df.f_bavail * df.f_frsize)} free{PLAIN}"
        self.say(f"{bar} {format_ratio(ratio):>6}  {left} left on {mount['limit']}{soon}  {told}")


def fetch(path: str) -> dict[str, Any]:
    """An answer of the daemon; OSError while there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(answer.status, text.decode())
    document: dict[str, Any] = json.loads(text)
    return document


def watched(scene: Scene) -> dict[str, Any]:
    """The mount point of the scene in the status document."""
    mounts = fetch("/api/v1/status")["mounts"]
    found: dict[str, Any] = next(mount for mount in mounts if mount["mount_point"] == scene.mount_point)
    return found


@contextlib.contextmanager
def receiver(alerts: "queue.SimpleQueue[dict[str, Any]]") -> Iterator[int]:
    """A webhook receiver; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Take an alert."""
            alerts.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def daemon(settings: Path, screen: Screen) -> Iterator[subprocess.Popen[str]]:
    """The daemon, with its log on the screen."""
    listen = f"127.0.0.1:{PORT}"
    command = [sys.executable, "-m", "overlaywatch", "run", "--config", str(settings), "--web.listen-address", listen]
    environment = os.environ | {"RUNTIME_DIRECTORY": str(settings.parent)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    reader = threading.Thread(target=repeat, args=(process, screen), daemon=True)
    reader.start()
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        reader.join(5)


def repeat(process: "subprocess.Popen[str]", screen: Screen) -> None:
    """What the daemon says, line by line; what it says of this hasty configuration is left out."""
    assert process.stderr is not None
    for line in process.stderr:
        text = line.strip().removeprefix("overlaywatch: ")
        if "demo.toml" not in text:
            screen.say(text if len(text) <= WIDTH else f"{text[:WIDTH]}…", BOLD)


def prepare(scene: Scene) -> None:
    """Eight packages that nobody needs any more, and a place for a log."""
    for folder in (scene.cache, scene.log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(8):
        (scene.cache / f"package-{number}.deb").write_bytes(os.urandom(MIB))
    os.sync()


def fill(scene: Scene, stop: threading.Event) -> None:
    """A program that writes its log too fast, until the disk refuses or the play is over."""
    piece = os.urandom(MIB // 4)
    with contextlib.suppress(OSError), scene.log.open("ab", buffering=0) as log:
        while not stop.wait(0.25 / scene.mib_per_second):
            log.write(piece)
            os.fsync(log.fileno())


def play(scene: Scene, folder: Path) -> int:
    """The whole of it; 0 if the last stage was reached and its alert arrived."""
    screen = Screen()
    alerts: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    prepare(scene)
    with receiver(alerts) as port:
        settings = folder / "demo.toml"
        settings.write_text(config(scene, port))
        with daemon(settings, screen) as process:
            wait_until_ready(process)
            stop = threading.Event()
            writer = threading.Thread(target=fill, args=(scene, stop), daemon=True)
            screen.say(f"a program begins to write {scene.mib_per_second:g} MiB a second to {scene.log}", BOLD)
            writer.start()
            reached = look_on(scene, screen, alerts)
            stop.set()
            writer.join()
    return 0 if reached else 1


def wait_until_ready(process: "subprocess.Popen[str]") -> None:
    """The daemon has looked once."""
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            fetch("/api/v1/status")
            return
        time.sleep(0.05)
    raise TimeoutError("the daemon did not become ready")


def look_on(scene: Scene, screen: Screen, alerts: "queue.SimpleQueue[dict[str, Any]]") -> bool:
    """Show each step until the time is over; whether the last stage was announced."""
    reached = False
    deadline = time.monotonic() + scene.seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, StopIteration):
            screen.show(watched(scene))
        with contextlib.suppress(queue.Empty):
            while True:
                alert = alerts.get_nowait()
                screen.say(f"alert {alert['status']}: {alert['annotations']['summary']}", YELLOW)
                reached = reached or alert["labels"]["stage"] == "last-resort"
        if reached and not scene.last:
            break
        time.sleep(STEP)
    return reached
