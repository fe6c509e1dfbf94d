# SPDX-License-Identifier: Apache-2.0
"""Whom the daemon tells: a webhook receiver, and Debian's Alertmanager as a real process."""

import contextlib
import http.server
import json
import queue
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.integration.daemon import PATIENCE, Document, free_port, until
from tests.tools import need

ALERTMANAGER: Final = """
route: {receiver: nobody}
receivers: [{name: nobody}]
"""


class Webhook:
    """Takes what is posted to it; `next` gives it in the order in which it came."""

    def __init__(self, port: int, told: "queue.Queue[Document]") -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self._told = told

    def next(self, seconds: float = PATIENCE) -> Document:
        """What was posted next."""
        return self._told.get(timeout=seconds)

    @property
    def is_empty(self) -> bool:
        """Whether nothing else was posted."""
        return self._told.empty()


@contextlib.contextmanager
def webhook() -> Iterator[Webhook]:
    """A receiver on a port of its own."""
    told: queue.Queue[Document] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Take it in."""
            told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # its name in http.server
            """Nobody reads it."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield Webhook(server.server_port, told)
        finally:
            server.shutdown()
            thread.join()


class Alertmanager:
    """What it knows, by its API."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=PATIENCE):
                return True
        except OSError:
            return False

    def alerts(self) -> list[Document]:
        """The alerts that are firing; those that are over are not in its list."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=PATIENCE) as answer:
            found: list[Document] = json.load(answer)
            return found


@contextlib.contextmanager
def alertmanager(folder: Path) -> Iterator[Alertmanager]:
    """One that is ready, and tells nobody."""
    (folder / "alertmanager.yml").write_text(ALERTMANAGER)
    port = free_port()
    command = [
        need("prometheus-alertmanager"),
        f"--config.file={folder}/alertmanager.yml",
        f"--storage.path={folder}/alertmanager",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with (folder / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        found = Alertmanager(port)
        until(found.is_ready, "Alertmanager does not get ready")
        yield found
    finally:
        process.terminate()
        process.wait(PATIENCE)
