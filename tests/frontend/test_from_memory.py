# SPDX-License-Identifier: Apache-2.0
"""A frontend lives on memory alone: after the fork nothing is imported and no file is opened.

A program of its own makes the engine, so that nothing which pytest has imported helps. An audit hook
(sys.addaudithook; import, open and compile are its events) ends the frontend with status 99 when it does
what needs a disk.
"""

import json
import subprocess
import sys

from overlaywatch.document import status_document
from tests.cli import ticks
from tests.frontend.receivers import webhook
from tests.frontend.support import daemon_document, notification
from tests.tools import CHECKOUT

PROGRAM = """
import json, os, select, socket, sys
from overlaywatch import pipe
from overlaywatch.frontend.process import prepare, spawn

def watch(event, arguments):
    if armed and (event == "import" or event == "open" and not str(arguments[0]).startswith("/proc/self/")):
        os._exit(99)

armed = False
sys.addaudithook(watch)
options = prepare(["127.0.0.1:0"], [sys.argv[1]])
os.register_at_fork(after_in_child=lambda: globals().update(armed=True))
modules = set(sys.modules)
handle = spawn(options)
assert set(sys.modules) == modules
decoder = pipe.Decoder()

def take():
    assert select.select([handle.read_fd], [], [], 20)[0], "the frontend says nothing"
    data = os.read(handle.read_fd, 65536)
    assert data, "the frontend has ended"
    return [pipe.parse_report(payload) for payload in decoder.feed(data)]

def send(frame):
    os.set_blocking(handle.write_fd, True)
    os.write(handle.write_fd, frame)

def fetch(path, headers=""):
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(f"GET {path} HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n{headers}\\r\\n".encode())
        while client.recv(65536):
            pass

(listening,) = take()
host, _, port = listening.addresses[0].rpartition(":")
send(pipe.encode_tick(sys.argv[2].encode(), json.loads(sys.argv[3])))
for headers in ("", "Accept-Encoding: gzip\\r\\n", "Accept: application/openmetrics-text\\r\\n"):
    for path in ("/metrics", "/", "/api/v1/status", "/-/ready", "/nowhere"):
        fetch(path, headers)
send(pipe.encode(json.loads(sys.argv[4])))
send(pipe.encode({**json.loads(sys.argv[4]), "kind": "alertmanager", "id": "2"}))
reports = take()
while len(reports) < 2:
    reports += take()
print(sorted(report.outcome for report in reports))
os.close(handle.write_fd)
print(os.waitstatus_to_exitcode(os.waitpid(handle.pid, 0)[1]))
"""


def test_nothing_is_imported_and_no_file_is_opened() -> None:
    """It is forked, listens, renders every page in every form, delivers both kinds, and ends: all from memory."""
    with webhook() as hook:
        frame = notification("webhook", [hook.url])
        frame["config"] = {"url": hook.url, "urls": [hook.url], "timeout": 5.0}
        arguments = [hook.url, json.dumps(status_document(ticks.filling())), json.dumps(daemon_document())]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments, json.dumps(frame)],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.stdout, done.stderr) == ("['applied', 'applied']\n0\n", "")
    assert len(hook.posted) == 2
