# SPDX-License-Identifier: Apache-2.0
"""The daemon as a real process, and the three ways in which it is listened to: HTTP, its log, a webhook.

It must not know what is filled or shown. What the log says and what the webhook receives goes to whoever listens,
at once, from threads.
"""

import contextlib
import http.client
import http.server
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from overlaywatch.cli.dispatch import dispatch
from overlaywatch.cli.world import real_world
from overlaywatch.kernel.root import KernelRoot

PATIENCE: Final = 30.0

Alert = dict[str, Any]
"""What a webhook is posted: docs/configuration.md."""
Listener = Callable[[str | Alert], None]
"""Is told each line of the log, and each alert."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """`overlaywatch run` with a configuration that may be rewritten."""

    process: "subprocess.Popen[str]"
    settings: Path
    port: int

    def reload(self, config: str) -> None:
        """Take another configuration (SIGHUP)."""
        self.settings.write_text(config)
        self.process.send_signal(signal.SIGHUP)

    def mount(self, mount_point: str) -> dict[str, Any] | None:
        """A mount point of `GET /api/v1/status`, with the daemon's forecast; None if there is no answer."""
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            mounts = json.loads(self._get("/api/v1/status"))["mounts"]
            return next((mount for mount in mounts if mount["mount_point"] == mount_point), None)
        return None

    def wait_until_ready(self) -> None:
        """It has looked once. Raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._get("/-/ready")
                return
            time.sleep(0.05)
        raise TimeoutError("the daemon did not become ready")

    def _get(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise OSError(answer.status, text)
        return text


@contextlib.contextmanager
def receiver(listener: Listener) -> Iterator[int]:
    """A webhook receiver; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Take an alert."""
            alert = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()
            listener(alert)

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
def running(settings: Path, port: int, listener: Listener) -> Iterator[Daemon]:
    """The daemon, with its state beside its configuration. It is ready when this begins."""
    listen = ("--web.listen-address", f"127.0.0.1:{port}")
    command = [sys.executable, "-m", "overlaywatch", "run", "--config", str(settings), *listen]
    environment = os.environ | {"RUNTIME_DIRECTORY": str(settings.parent)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    reader = threading.Thread(target=_listen, args=(process, listener), daemon=True)
    reader.start()
    daemon = Daemon(process, settings, port)
    try:
        daemon.wait_until_ready()
        yield daemon
    finally:
        process.terminate()
        process.wait(PATIENCE)
        reader.join(PATIENCE)


def _listen(process: "subprocess.Popen[str]", listener: Listener) -> None:
    assert process.stderr is not None
    with process.stderr as log:
        for line in log:
            listener(line.strip().removeprefix("overlaywatch: "))


def picture(settings: Path, width: int, *, colour: bool) -> list[str]:
    """What `overlaywatch status` prints on a terminal. The verb itself, without the start of an interpreter."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    world = replace(real_world(), out=out, err=io.StringIO(), environ={"COLUMNS": str(width)})
    dispatch(["status", "--config", str(settings), "--color", "always" if colour else "never"], world)
    buffer = out.detach()
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode().splitlines()


def boot_id() -> str:
    """Which boot of the machine this is, as the kernel numbers it."""
    return (KernelRoot().proc / "sys/kernel/random/boot_id").read_text().strip()
