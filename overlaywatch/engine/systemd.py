# SPDX-License-Identifier: Apache-2.0
"""Talking to the service manager: sd_notify(3), through the sdnotify package.

Without a service manager every call does nothing. One that does not listen (process 1 may hang with
the root that it came from) must not make the engine wait, so what it does not take is lost.
"""

import os
import re
import time
from typing import Final

import sdnotify

from overlaywatch.model import Tick
from overlaywatch.units import format_duration, format_ratio, format_size, printable

_PATIENCE: Final = 1.0
"""Seconds for the three messages of which the loss would be noticed."""

_USEC: Final = re.compile("[0-9]{1,20}")

_STATUS_SECONDS: Final = 1.0
"""Ticks may come every 10 ms, and nobody reads so fast."""


class ServiceManager:
    """READY, STATUS, WATCHDOG, RELOADING and STOPPING, each said once where once is enough."""

    def __init__(self) -> None:
        # Without an address sdnotify would make a socket, and leave it lying about.
        self._notifier = sdnotify.SystemdNotifier() if os.environ.get("NOTIFY_SOCKET") else None
        self._status = ""
        self._watchdog_seconds = watchdog_seconds(os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID"))
        self._next_keepalive = 0.0
        self._next_status = 0.0

    @property
    def watchdog_seconds(self) -> float | None:
        """How long the service manager waits for a finished tick; None: it does not watch."""
        return self._watchdog_seconds

    def _tell(self, text: str, patience: float = 0.0) -> None:
        if self._notifier is None or self._notifier.socket is None:
            return
        self._notifier.socket.settimeout(patience)
        # sdnotify encodes as Latin-1 and drops what cannot be; sd_notify(3) wants UTF-8.
        self._notifier.notify(text.encode("utf-8").decode("latin-1"))

    def ready(self) -> None:
        """The first tick is finished, and the frontend listens."""
        self._tell("READY=1", _PATIENCE)

    def reloading(self) -> None:
        """The configuration is being read again; the time is needed by Type=notify-reload."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", _PATIENCE)

    def stopping(self) -> None:
        """The daemon is on its way out."""
        self._tell("STOPPING=1\nSTATUS=stopping", _PATIENCE)

    def tick_finished(self, tick: Tick) -> None:
        """Feed the watchdog, which only a finished tick may do, and say how things are if that changed."""
        if self._watchdog_seconds is not None and tick.now >= self._next_keepalive:
            self._next_keepalive = tick.now + self._watchdog_seconds / 4
            self._tell("WATCHDOG=1")
        status = status_text(tick)
        if status != self._status and tick.now >= self._next_status:
            self._status, self._next_status = status, tick.now + _STATUS_SECONDS
            self._tell(f"STATUS={status}")

    def close(self) -> None:
        """Give the socket back."""
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.close()


def watchdog_seconds(usec: str | None, pid: str | None) -> float | None:
    """The watchdog period of sd_watchdog_enabled(3), None if it is off or meant for another process."""
    match = _USEC.fullmatch(usec or "")
    if match is None or (pid and pid != str(os.getpid())):
        return None
    return int(match[0]) / 1_000_000 or None


def status_text(tick: Tick) -> str:
    """One line for `systemctl status`: the mount point that is worst off, in human words."""
    verdicts = [verdict for verdict in tick.verdicts if verdict.headroom_bytes is not None]
    if not verdicts:
        return f"watching {len(tick.verdicts)} mount points, none of which can be measured"
    worst = min(verdicts, key=lambda verdict: (-(verdict.used_ratio or 0), verdict.headroom_bytes or 0))
    paused = "paused; " if tick.paused else ""
    used = f" ({format_ratio(worst.used_ratio)} used)" if worst.used_ratio is not None else ""
    left = format_size(_two_digits(worst.headroom_bytes or 0))
    forecast = tick.forecasts.get(worst.mount.mount_point)
    full = forecast.time_to_full_seconds if forecast else None
    soon = f", full in {format_duration(full)}" if full is not None else ""
    return f"{paused}{printable(worst.mount.mount_point)}: {left} left on {printable(str(worst.limit))}{used}{soon}"


def _two_digits(size: int) -> int:
    """Rounded down to two binary digits of detail, so that the line does not change at every tick."""
    shift = max(0, size.bit_length() - 5)
    return size >> shift << shift
