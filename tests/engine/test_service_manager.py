# SPDX-License-Identifier: Apache-2.0
"""What a real datagram socket in the place of the service manager receives."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from overlaywatch.engine.systemd import ServiceManager, status_text, watchdog_seconds
from overlaywatch.model import Forecast, Host, Survey, Tick
from overlaywatch.units import GIB, MIB
from tests import verdicts

HOST = Host("live-7", "6.1.0", "b00t", privileged=True)
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Manager:
    """The receiving end."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """All messages so far, as UTF-8."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode("utf-8"))
            except BlockingIOError:
                return found

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """A service manager that watches for 3 s; the environment is put back."""
    before = {name: os.environ.pop(name, None) for name in VARIABLES}
    os.environ |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
    listening = Manager(tmp_path / "notify")
    yield listening
    listening.close()
    for name, value in before.items():
        os.environ.pop(name, None)
        os.environ |= {} if value is None else {name: value}


@pytest.fixture
def speaker(manager: Manager) -> Iterator[ServiceManager]:
    """What speaks to it."""
    del manager
    speaking = ServiceManager()
    yield speaking
    speaking.close()


def tick(
    now: float = 1000.0, used: float | None = 0.5, headroom: int | None = 64 * MIB, mount_point: str = "/"
) -> Tick:
    """A tick with one mount point."""
    verdict = verdicts.root(used=used, headroom=headroom, mount_point=mount_point)
    return Tick(now, 1.7e9, HOST, Survey((), {}, (), ()), (verdict,), {mount_point: Forecast(1.0, 90.0)})


def test_the_watchdog_is_fed_by_finished_ticks_only(manager: Manager, speaker: ServiceManager) -> None:
    """Once in a quarter of its period, however fast ticks come; nothing else feeds it."""
    speaker.reloading()
    speaker.ready()
    silent = manager.heard()
    for number in range(200):
        speaker.tick_finished(tick(now=1000.0 + number / 100))

    assert not any("WATCHDOG" in text for text in silent)
    assert manager.heard().count("WATCHDOG=1") == 3
    assert speaker.watchdog_seconds == 3.0


def test_the_status_is_said_when_it_changes(manager: Manager, speaker: ServiceManager) -> None:
    """In human words; once a second at most, and the last word is never kept back for good."""
    for number in range(100):
        speaker.tick_finished(tick(now=1000.0 + number / 100, used=0.5 + number / 200))
    speaker.tick_finished(tick(now=1001.0, used=0.995))
    speaker.tick_finished(tick(now=1002.0, used=0.995))
    said = [text for text in manager.heard() if text.startswith("STATUS=")]

    assert said == [
        "STATUS=/: 64.0 MiB left on dm-snapshot:live-rw (50.0% used), full in 90 s",
        "STATUS=/: 64.0 MiB left on dm-snapshot:live-rw (99.5% used), full in 90 s",
    ]


@pytest.mark.parametrize("mount_point", ["/mnt/ü", "/mnt/€", "/mnt/a\nREADY=1", "/mnt/\udcff"])
def test_no_name_breaks_the_status(manager: Manager, speaker: ServiceManager, mount_point: str) -> None:
    """UTF-8 as it is; a line break or a byte that is no text cannot become a message of its own."""
    speaker.tick_finished(tick(mount_point=mount_point))
    (said,) = [text for text in manager.heard() if text.startswith("STATUS=")]

    assert "\n" not in said
    assert said.startswith(f"STATUS={mount_point}" if mount_point.isprintable() else "STATUS=/mnt/")
    assert "64.0 MiB left" in said


def test_the_course_of_a_service(manager: Manager, speaker: ServiceManager) -> None:
    """READY, RELOADING with the time that Type=notify-reload wants, READY again, STOPPING."""
    speaker.ready()
    speaker.reloading()
    speaker.ready()
    speaker.stopping()
    first, reloading, again, stopping = manager.heard()

    assert (first, again, stopping.split("\n")[0]) == ("READY=1", "READY=1", "STOPPING=1")
    word, stamp = reloading.split("\n")
    assert word == "RELOADING=1"
    assert abs(int(stamp.removeprefix("MONOTONIC_USEC=")) / 1e6 - time.monotonic()) < 10


def test_a_manager_that_hangs_does_not_make_ticks_wait(speaker: ServiceManager) -> None:
    """Nobody reads: process 1 may come from the very root that has died."""
    began = time.monotonic()
    for number in range(2000):
        speaker.tick_finished(tick(now=1000.0 + number * 10, used=0.5 + number / 4000))

    assert time.monotonic() - began < 2.0


def test_without_a_manager_nothing_happens(manager: Manager) -> None:
    """A run from a shell: no socket, no watchdog."""
    del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]
    speaker = ServiceManager()
    speaker.ready()
    speaker.tick_finished(tick())

    assert (speaker.watchdog_seconds, manager.heard()) == (None, [])


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("30000000", None, 30.0),
        ("30000000", "", 30.0),
        pytest.param("500000", str(os.getpid()), 0.5, id="our-own-pid"),
        ("30000000", "1", None),
        ("0", None, None),
        ("", None, None),
        (None, None, None),
        ("-5", None, None),
        ("soon", None, None),
    ],
)
def test_watchdog_period(usec: str | None, pid: str | None, seconds: float | None) -> None:
    """As sd_watchdog_enabled(3) reads it; meant for another process, or no number, is no watchdog."""
    assert watchdog_seconds(usec, pid) == seconds


def test_status_names_the_worst_mount_point() -> None:
    """By use, then by room; what cannot be measured is said not to be."""
    full = verdicts.root(used=0.9, headroom=GIB, mount_point="/full")
    easy = verdicts.root(used=0.1, headroom=MIB, mount_point="/easy")
    dark = verdicts.root(used=None, headroom=None, mount_point="/dark")
    survey = Survey((), {}, (), ())
    both = Tick(1.0, 1.0, HOST, survey, (easy, full, dark), {}, paused=True)
    none = Tick(1.0, 1.0, HOST, survey, (dark,), {})

    assert status_text(both) == "paused; /full: 1.0 GiB left on dm-snapshot:live-rw (90.0% used)"
    assert status_text(none) == "watching 1 mount points, none of which can be measured"
