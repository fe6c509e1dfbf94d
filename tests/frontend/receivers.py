# SPDX-License-Identifier: Apache-2.0
"""Receivers of notifications: a webhook that answers as told, a server that hangs, a real Alertmanager."""

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from tests.frontend.support import PATIENCE, until
from tests.tools import need

CERTIFICATE: Final = Path(__file__).with_name("localhost.pem")


class Webhook:
    """A server on 127.0.0.1 that keeps what is posted and answers with `status`."""

    def __init__(self, *, tls: bool = False) -> None:
        self.status = 200
        self.posted: list[tuple[str, dict[str, object]]] = []
        self.headers: list[dict[str, str]] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name that http.server wants
                body = self.rfile.read(int(self.headers["Content-Length"]))
                webhook.posted.append((self.path, json.loads(body)))
                webhook.headers.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(webhook.status)
                self.end_headers()
                self.wfile.write(b"so it is\n")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in http.server
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        host = "localhost" if tls else "127.0.0.1"
        self.url = f"{'https' if tls else 'http'}://{host}:{self._server.server_port}/overlay?token=t"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait for it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def webhook(*, tls: bool = False) -> Iterator[Webhook]:
    """A webhook that is gone afterwards."""
    made = Webhook(tls=tls)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def black_hole() -> Iterator[str]:
    """The URL of a server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


@contextmanager
def dripping() -> Iterator[str]:
    """The URL of a server that answers with a header of one byte each 20 ms, without end."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            client, _ = server.accept()
            with client:
                client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not ended.wait(0.02):
                    try:
                        client.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        ended.set()
        thread.join()


class Alertmanager:
    """A real one, on a port of its own, with its data in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        config = folder / "alertmanager.yml"
        config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process = subprocess.Popen(
            [
                # Debian's name, unless there is the one that Fedora and its makers give it.
                shutil.which("alertmanager") or need("prometheus-alertmanager"),
                f"--config.file={config}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--cluster.listen-address=",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask its API; status 0 while it does not listen."""
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            client.request("GET", path)
            answer = client.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            client.close()

    def alerts(self) -> list[dict[str, object]]:
        """Its alerts that have not ended, by its own account."""
        _, body = self.get("/api/v2/alerts")
        found = json.loads(body)
        assert isinstance(found, list)
        return found

    def received(self, status: str) -> int:
        """How many alerts of this status it has counted: firing or resolved."""
        _, body = self.get("/metrics")
        prefix = f'alertmanager_alerts_received_total{{status="{status}",version="v2"}} '
        return sum(int(line.removeprefix(prefix)) for line in body.decode().splitlines() if line.startswith(prefix))

    def wait(self) -> None:
        """Until it answers."""
        until(lambda: self.get("/-/ready")[0] == 200, lambda: time.sleep(0.05))

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


@contextmanager
def alertmanager(folder: Path) -> Iterator[Alertmanager]:
    """A real Alertmanager that is gone afterwards."""
    made = Alertmanager(folder)
    try:
        made.wait()
        yield made
    finally:
        made.close()
