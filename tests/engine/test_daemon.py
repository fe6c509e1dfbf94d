# SPDX-License-Identifier: Apache-2.0
"""The daemon as a real process: what the service manager hears, and what signals, kills and mounts do to it."""

import json
import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.running import (
    BASE,
    WATCHDOG_SECONDS,
    Served,
    alive_with,
    all_gone,
    appending,
    children_of,
    lines,
    served,
    soon,
)
from tests.integration.receivers import webhook


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One daemon for all tests that leave it as they found it."""
    with served(tmp_path_factory.mktemp("shared"), BASE) as daemon:
        daemon.start()
        yield daemon.ready()


# --- what the service manager hears ------------------------------------------------------------------


def test_ready_is_said_when_the_first_request_would_be_answered(tmp_path: Path) -> None:
    """READY comes after listening and after a tick: one request, sent at that moment, finds the room measured."""
    with served(tmp_path, BASE) as daemon:
        daemon.start()
        heard = daemon.manager.until("READY")
        assert daemon.metrics().value("mount_headroom_bytes", mount_point=str(daemon.room.path)) == 16 * 2**20
        status = [one.fields["STATUS"] for one in heard if "STATUS" in one.fields]
        assert status == [f"{daemon.room.path}: 16.0 MiB left on tmpfs:{daemon.room.path} (0.0% used)"]
        assert daemon.stop() == 0
        assert any(one.fields.get("STOPPING") == "1" for one in daemon.manager.listen(0))


def test_only_finished_ticks_feed_the_watchdog(shared: Served) -> None:
    """WATCHDOG comes again and again, not from a stopped engine, and again when it goes on."""
    fed = [one for one in shared.manager.listen(1.6) if "WATCHDOG" in one.fields]
    assert len(fed) >= 2
    shared.signal(signal.SIGSTOP)
    try:
        shared.manager.listen(0)
        assert shared.manager.listen(WATCHDOG_SECONDS / 2) == []
    finally:
        shared.signal(signal.SIGCONT)
    shared.manager.until("WATCHDOG", 0.5)


# --- reload ------------------------------------------------------------------------------------------


def test_reload_swaps_all_or_nothing(tmp_path: Path) -> None:
    """A good configuration is taken over and shown by its hash; after a bad one the old policies go on acting."""
    config, done = appending(tmp_path)
    with served(tmp_path, config.replace("50%", "90%")) as daemon:
        daemon.start()
        first = daemon.ready().metrics().labels("config_info")
        good = daemon.config.read_text().replace("90%", "50%")
        daemon.configure(good)
        daemon.signal(signal.SIGHUP)
        reloading = daemon.manager.until("RELOADING")[-1]
        assert int(reloading.fields["MONOTONIC_USEC"]) == pytest.approx(reloading.at * 1e6, abs=1e6)
        daemon.manager.until("READY")
        soon(lambda: daemon.metrics().labels("config_info") != first, "another hash", daemon)
        second = daemon.metrics().labels("config_info")
        assert daemon.metrics().value("config_last_reload_successful") == 1

        daemon.configure(good.replace("50%", "much"))
        daemon.signal(signal.SIGHUP)
        daemon.manager.until("RELOADING")
        daemon.manager.until("READY")
        soon(lambda: daemon.metrics().value("config_last_reload_successful") == 0, "the failure is shown", daemon)
        assert daemon.metrics().labels("config_info") == second
        assert str(daemon.config) in daemon.log
        assert "used_above" in daemon.log
        daemon.room.fill(10)
        soon(lambda: lines(done) == 1, "the old policy acts", daemon)


def test_reload_asks_for_no_name_of_its_own(tmp_path: Path) -> None:
    """The name that it listens on was looked up at the start: a name server that hangs now would hold up the engine."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 guard.invalid\n")
    config, _ = appending(tmp_path)
    with served(tmp_path, config) as daemon:
        daemon.room.run("mount", "--bind", str(hosts), "/etc/hosts")
        daemon.start("guard.invalid")
        first = daemon.ready().metrics().labels("config_info")
        hosts.write_text("")
        daemon.configure(daemon.config.read_text().replace("50%", "60%"))
        daemon.signal(signal.SIGHUP)
        soon(lambda: daemon.metrics().labels("config_info") != first, "another hash", daemon)


def test_new_receiver_is_told_when_its_name_is_gone(tmp_path: Path) -> None:
    """The frontend learns the names of a new configuration while there is a disk, not when the root is dead."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 receiver.invalid\n")
    config, _ = appending(tmp_path)
    with served(tmp_path, config) as daemon, webhook() as hook:
        daemon.room.run("mount", "--bind", str(hosts), "/etc/hosts")
        daemon.start()
        daemon.ready()
        url = hook.url.replace("127.0.0.1", "receiver.invalid")
        action = f'[action.hook]\ntype = "webhook"\nurl = "{url}"\n[[policy]]\n'
        text = daemon.config.read_text().replace('["note"]', '["hook"]').replace("[[policy]]\n", action)
        daemon.configure(text)
        daemon.signal(signal.SIGHUP)
        daemon.manager.until("RELOADING")
        daemon.manager.until("READY")
        time.sleep(1.0)  # a look-up in a file, in a thread: nothing tells that it is done
        hosts.write_text("")
        daemon.room.fill(10)
        assert hook.next()["status"] == "firing"


# --- the end -----------------------------------------------------------------------------------------


def test_stop_ends_an_action_that_is_under_way(tmp_path: Path) -> None:
    """SIGTERM during an action of a minute ends everything within five seconds, with status 0."""
    config, done = appending(tmp_path)
    marker = f"60.{os.getpid()}"
    with served(tmp_path, config.replace(f"echo done >> {done}", f"sleep {marker}; true")) as daemon:
        daemon.room.fill(10)
        daemon.start()
        soon(lambda: alive_with(marker), "the action begins", daemon)
        family = [daemon.pid, *children_of(daemon.pid), *alive_with(marker)]
        started = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - started < 5
        all_gone(family, daemon)


def test_stop_does_not_wait_for_a_frontend_that_hangs(tmp_path: Path) -> None:
    """A stopped frontend, with its pipe full, holds up neither the ticks nor the end."""
    with served(tmp_path, BASE) as daemon:
        daemon.start()
        frontend = daemon.ready().frontend
        os.kill(frontend, signal.SIGSTOP)
        for round_ in range(400):
            daemon.room.fill(round_ % 2 * 4)
            time.sleep(0.005)
        daemon.manager.listen(0)
        daemon.manager.until("WATCHDOG", 1)
        started = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - started < 6
        assert not Path(f"/proc/{frontend}").exists()


# --- what cannot work --------------------------------------------------------------------------------


def test_wrong_configuration_is_told_in_full(tmp_path: Path) -> None:
    """Status 78, and every mistake is on stderr, not only the first."""
    with served(tmp_path, '[daemon]\ninterval = "soon"\ncolour = "red"\n') as daemon:
        done = daemon.attempt()
        assert done.returncode == 78
        for wanted in (str(daemon.config), "interval", "colour"):
            assert wanted in done.stderr


def test_unusable_address_is_wrong_usage(tmp_path: Path) -> None:
    """An address that is none is status 2 with what was expected."""
    with served(tmp_path, BASE) as daemon:
        done = daemon.attempt("nowhere")
        assert done.returncode == 2
        assert "--web.listen-address" in done.stderr
        assert "HOST:PORT" in done.stderr


def test_second_daemon_of_a_folder_gives_up(shared: Served) -> None:
    """Two daemons would do everything twice: the second ends with 1 and says why, in one line."""
    done = shared.attempt("off")
    assert done.returncode == 1
    assert "another overlaywatch is running" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# --- kills -------------------------------------------------------------------------------------------

HOOK = """
[action.hook]
type = "webhook"
url = "URL"
[[policy]]
name = "room"
mount_point = "ROOM"
[[policy.stage]]
name = "half"
used_above = "50%"
actions = ["hook"]
"""


def test_killed_frontend_costs_neither_ticks_nor_news(tmp_path: Path) -> None:
    """A new frontend answers within 2 s, the watchdog is fed all the while, and what was pending is told once."""
    with webhook() as receiver:
        url = receiver.url
        with served(tmp_path, BASE + HOOK.replace("URL", url)) as daemon, socket.socket() as gate:
            # Refuses until it listens: nobody else gets the port in the meantime.
            gate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            gate.bind(("127.0.0.1", 0))
            daemon.configure(daemon.config.read_text().replace(url, f"http://127.0.0.1:{gate.getsockname()[1]}/"))
            daemon.start()
            before = daemon.ready().frontend
            daemon.room.fill(10)
            soon(lambda: "refused" in daemon.log, "the delivery fails", daemon)
            daemon.manager.listen(0)
            os.kill(before, signal.SIGKILL)
            killed = time.monotonic()
            soon(lambda: daemon.frontend not in (0, before) and daemon.get("/-/ready"), "a new frontend", daemon, 2)
            assert time.monotonic() - killed < 2
            gate.listen()
            gate.settimeout(10)
            assert posted(gate) == "firing"
            gate.settimeout(1.5)
            with pytest.raises(TimeoutError):
                gate.accept()
            fed = [one for one in daemon.manager.listen(0) if "WATCHDOG" in one.fields]
            assert len(fed) >= int(time.monotonic() - killed)
    assert daemon.log.count("the frontend ended") == 1


def posted(gate: socket.socket) -> str:
    """Take one document that is posted, say thanks, and give its status."""
    connection, _ = gate.accept()
    with connection, connection.makefile("rb") as stream:
        length = 0
        while (line := stream.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        document = json.loads(stream.read(length))
        connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    return str(document["status"])


def test_killed_engine_does_nothing_twice(tmp_path: Path) -> None:
    """However often and whenever it is killed: the action with a cooldown is done at most once, in the end once."""
    config, done = appending(tmp_path)
    moments = random.Random(6)
    with served(tmp_path, config) as daemon:
        daemon.room.fill(10)
        for _ in range(10):
            daemon.start()
            time.sleep(moments.uniform(0.05, 0.6))
            children = children_of(daemon.pid)
            daemon.kill()
            all_gone(children, daemon)
            assert lines(done) <= 1, daemon.log
        daemon.manager.listen(0)
        daemon.start()
        daemon.ready()
        soon(lambda: lines(done) == 1, "in the end it is done", daemon)
        daemon.fresh()
        daemon.kill()
        daemon.start()
        daemon.ready().fresh()
        assert lines(done) == 1
