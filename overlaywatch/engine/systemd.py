# SPDX-License-Identifier: Apache-2.0
"""Talking to the service manager: sd_notify(3), through the sdnotify package.

Must not know what a tick found. Without a service manager every call does nothing.
"""

import os
import time

import sdnotify

from overlaywatch.model import Tick
from overlaywatch.units import format_duration, format_ratio, format_size


class ServiceManager:
    """READY, STATUS, WATCHDOG, RELOADING and STOPPING, each said once where once is enough."""

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        self._status = ""
        self._watchdog_seconds = watchdog_seconds(os.environ.get("WATCHDOG_USEC"), os.environ.get("WATCHDOG_PID"))
        self._next_keepalive = 0.0

    @property
    def watchdog_seconds(self) -> float | None:
        """How long the service manager waits for a finished tick; None: it does not watch."""
        return self._watchdog_seconds

    def ready(self) -> None:
        """The first tick is finished, and the frontend listens."""
        self._notifier.notify("READY=1")

    def reloading(self) -> None:
        """The configuration is being read again; the time is needed by Type=notify-reload."""
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The daemon is on its way out."""
        self._notifier.notify("STOPPING=1\nSTATUS=stopping")

    def tick_finished(self, tick: Tick) -> None:
        """Feed the watchdog, which only a finished tick may do, and say how things are if that changed."""
        if self._watchdog_seconds is not None and tick.now >= self._next_keepalive:
            self._next_keepalive = tick.now + self._watchdog_seconds / 4
            self._notifier.notify("WATCHDOG=1")
        status = status_text(tick)
        if status != self._status:
            self._status = status
            self._notifier.notify(f"STATUS={status}")


def watchdog_seconds(usec: str | None, pid: str | None) -> float | None:
    """The watchdog period of sd_watchdog_enabled(3), None if it is off or meant for another process."""
    if not usec or not usec.isdigit() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 1_000_000


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
    return f"{paused}{worst.mount.mount_point}: {left} left on {worst.limit}{used}{soon}"


def _two_digits(size: int) -> int:
    """Rounded down to two binary digits of detail, so that the line does not change at every tick."""
    shift = max(0, size.bit_length() - 5)
    return size >> shift << shift
