# SPDX-License-Identifier: Apache-2.0
"""What happens on the stage: the daemon watches a mount point, a program fills it, and everything is shown.

It must not know what the mount point lies on, or which machine this is. All that is told comes from the daemon: from
`overlaywatch status`, its HTTP interface, its log, and a webhook that receives its alerts.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from overlaywatch.units import MIB, format_duration, format_ratio, format_size
from tests.demo import runaway
from tests.demo.plot import PACKAGES, Plot
from tests.demo.screen import BAD, FAINT, GOOD, PLAIN, STRONG, WARN, Screen
from tests.demo.watched import Alert, Daemon, picture, receiver, running

PORT: Final = 10187
STEP: Final = 0.5
LONGEST: Final = 90.0
SAID_OTHERWISE: Final = ("demo.toml", "listening on", "page: applied", "policy root", "ready: ", "reload", "stopping")
"""Lines of the log that only repeat what is told here in other words."""

SAID_ONCE: Final = frozenset({"most was written"})


@dataclass(slots=True)
class Play:
    """One performance. It succeeds when all three stages were seen to do what they are for."""

    plot: Plot
    screen: Screen
    purged: threading.Event = field(default_factory=threading.Event)
    seen: set[str] = field(default_factory=set)

    @property
    def succeeded(self) -> bool:
        """Whether everything has happened that was promised, up to a reboot, which nobody here lives to see."""
        return {"alert", "lesson", "last resort"} <= self.seen

    def go_on(self, daemon: Daemon, webhook: int) -> None:
        """Look on until it is over."""
        deadline = time.monotonic() + LONGEST
        while time.monotonic() < deadline and not (self.succeeded and not self.plot.reboots):
            mount = daemon.mount(self.plot.mount_point)
            if mount is not None:
                self._look(mount, daemon.settings)
            if "lesson" in self.seen:
                time.sleep(STEP)
            elif self.purged.wait(STEP):
                self._learn(daemon, webhook)

    def _look(self, mount: dict[str, Any], settings: Path) -> None:
        style = self.screen.style
        headroom, used, full = (mount[key] for key in ("headroom_bytes", "used_ratio", "time_to_full_seconds"))
        if full is not None and "forecast" not in self.seen:
            self.seen.add("forecast")
            self.screen.tell(f"FORECAST  it has gone on for long enough to be a trend: full in {in_words(full)}.", WARN)
        there = os.statvfs(self.plot.mount_point)
        df = format_size(there.f_bavail * there.f_frsize)
        left = "unknown" if headroom is None else format_size(headroom)
        soon = f"full in {in_words(full)}" if full is not None else "no forecast yet"
        told = f"The daemon says: {left} left, {soon}.   df says: {df} available."
        short = f"{format_ratio(used or 0)} of {mount['limit']} used, {left} left, {soon}; df says {df}"
        self.screen.show(["", *picture(settings, style.width, colour=style.colour), "", told], short)

    def hear(self, what: str | Alert) -> None:
        """A line of the daemon's log, or an alert. In a thread: the machine may be down before the next look."""
        if isinstance(what, dict):
            self._hear_alert(what)
        elif what.startswith("clean: applied"):
            self._purged(what)
        elif what.startswith("clean: delete"):
            self.screen.tell(f"PURGE     {PACKAGES} old packages are deleted from {self.plot.cache}.", WARN)
        elif what.startswith("reboot: dry_run"):
            self.seen.add("last resort")
            self.screen.tell(f"REBOOT    not here, where only a dry run is shown. {what}", BAD)
        elif what.startswith("reboot: reboot"):
            self.seen.add("last resort")
            self.screen.tell(f"REBOOT    {what.removeprefix('reboot: ')}", BAD)
            self.screen.tell(
                "GOING     The services stop in order, and the same machine boots again: ten seconds.", PLAIN
            )
        elif not any(word in what for word in (*SAID_OTHERWISE, *self.seen & SAID_ONCE)):
            self.seen |= {word for word in SAID_ONCE if word in what}
            self.screen.tell(what, FAINT)

    def _hear_alert(self, alert: Alert) -> None:
        self.seen.add("alert")
        summary = alert["annotations"]["summary"]
        self.screen.tell(f"ALERT     a webhook got {alert['labels']['alertname']}, {alert['status']}: {summary}", WARN)

    def _purged(self, said: str) -> None:
        self.screen.tell(f"PURGED    {said.removeprefix('clean: applied: ')}", WARN)
        self.seen.add("reusable" if "reusable only" in said else "purged")
        self.purged.set()

    def _learn(self, daemon: Daemon, webhook: int) -> None:
        """What the purge was good for; then, where it is only shown, the last resort comes into the configuration."""
        self.seen.add("lesson")
        if "reusable" in self.seen:
            self.screen.tell("LESSON    df has gone up, the headroom has not: what lies below never shrinks.", STRONG)
        else:
            self.screen.tell("LESSON    Here what was deleted is room again: there is no snapshot below.", GOOD)
        if not self.plot.reboots:
            daemon.reload(self.plot.config(webhook, purged=True))


def in_words(seconds: float) -> str:
    """Whole seconds: nobody reads milliseconds while it fills."""
    return format_duration(max(1, round(seconds)))


def perform(plot: Plot, screen: Screen, folder: Path, writer: Sequence[str] = ()) -> bool:
    """The whole of it, with the daemon's files in `folder`; whether it was a success.

    `writer` are the words before the command of the program that fills, to start it as a service, say.
    """
    prepare(plot)
    play = Play(plot, screen)
    with receiver(play.hear) as webhook:
        settings = folder / "demo.toml"
        settings.write_text(plot.config(webhook))
        screen.tell(plot.in_english())
        with running(settings, PORT, play.hear) as daemon, filling(plot, screen, writer):
            play.go_on(daemon, webhook)
            screen.close()
    return play.succeeded


def prepare(plot: Plot) -> None:
    """Packages that nobody needs any more, and a place for a log."""
    for folder in (plot.cache, plot.log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(PACKAGES):
        (plot.cache / f"package-{number}.deb").write_bytes(os.urandom(MIB))
    os.sync()


@contextlib.contextmanager
def filling(plot: Plot, screen: Screen, writer: Sequence[str]) -> Iterator[None]:
    """The program that fills, for as long as this lasts."""
    rate = screen.style.rate
    command = [*writer, sys.executable, runaway.__file__, str(plot.log), str(rate)]
    screen.tell(f"A program begins to write {rate:g} MiB a second to {plot.log}.", STRONG)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()
