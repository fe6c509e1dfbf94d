# SPDX-License-Identifier: Apache-2.0
"""From the kernel to an action: a store fills at full speed, people are told, and a purge does what it planned."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import stacks
from tests.integration.daemon import Daemon, Document, mount, running
from tests.integration.devices import MIB
from tests.integration.receivers import Alertmanager, Webhook, alertmanager, webhook
from tests.integration.stacks import mounted

pytestmark = pytest.mark.kernel

TELL = """
[daemon]
interval = "1s"
[watch]
include = ["{place}"]
[action.page]
type = "alertmanager"
urls = ["{page}"]
labels = {{ severity = "critical" }}
[action.hook]
type = "webhook"
url = "{hook}"
[[policy]]
name = "store"
mount_point = "{place}"
[[policy.stage]]
name = "warn"
used_above = "50%"
actions = ["page", "hook"]
"""

PURGE = """
[daemon]
interval = "1s"
[watch]
include = ["{place}"]
[action.free]
type = "purge"
paths = ["{place}/cache/*"]
older_than = "0s"
until_headroom = "{until}"
[[policy]]
name = "room"
mount_point = "{place}"
[[policy.stage]]
name = "purge"
headroom_below = "{below}"
cooldown = "1h"
actions = ["free"]
"""


def fill(place: Path, mebibytes: int) -> None:
    """As fast as it goes."""
    command = ["dd", "if=/dev/zero", f"of={place}", "bs=1M", f"count={mebibytes}", "conv=fsync"]
    subprocess.run(command, check=True, capture_output=True)


def caches(place: Path, count: int) -> list[Path]:
    """So many files of 4 MiB in `cache`, the first one the oldest."""
    folder = place / "cache"
    folder.mkdir()
    files = [folder / f"{number:02}" for number in range(count)]
    for number, file in enumerate(files):
        fill(file, 4)
        os.utime(file, (time.time() - 86400 + number * 60,) * 2)
    return files


def planned(daemon: Daemon, place: Path) -> set[str]:
    """The files that `overlaywatch plan` names."""
    plans = json.loads(daemon.command("plan", "--config", str(daemon.config), "--json"))["plans"]
    steps = " ".join(step for plan in plans for step in plan["steps"])
    return {file.name for file in (place / "cache").iterdir() if str(file) in steps}


@pytest.mark.parametrize("persistent", ["N", "P"])
def test_warning_reaches_a_webhook_and_a_real_alertmanager(tmp_path: Path, scratch: Path, persistent: str) -> None:
    """The stage that the fill makes true is told to both, with the layer that limits in its text."""
    with told(tmp_path, scratch, persistent) as (live, daemon, hook, manager):
        fill(live.place / "more", 40)
        assert_firing(live, hook.next(), daemon.until(lambda _: next(iter(manager.alerts()), None), "an alert"))


def test_warning_stands_while_it_is_true_and_is_taken_back_when_the_store_has_grown(
    tmp_path: Path, scratch: Path
) -> None:
    """Deleting what filled the store changes nothing; growth does, and both are told that it is over."""
    with told(tmp_path, scratch, "PO") as (live, daemon, hook, manager):
        fill(live.place / "more", 40)
        began = hook.next()
        assert_firing(live, began, daemon.until(lambda _: next(iter(manager.alerts()), None), "an alert"))
        (live.place / "more").unlink()
        os.sync()
        daemon.fresh()
        assert (len(manager.alerts()), hook.is_empty) == (1, True)
        live.cow.grow(256 * MIB)
        over = hook.next()
        assert (over["status"], over["id"]) == ("resolved", began["id"])
        assert over["ends_at"] > began["starts_at"]
        daemon.until(lambda _: not manager.alerts(), "the end of the alert in Alertmanager")
        daemon.until(lambda status: not status["policies"][0]["stages"][0]["active"], "the end of the stage")


@contextlib.contextmanager
def told(folder: Path, scratch: Path, persistent: str) -> Iterator[tuple[stacks.Live, Daemon, Webhook, Alertmanager]]:
    """A store, a daemon that watches it, and both whom it tells."""
    with (
        stacks.live(folder, scratch, persistent) as live,
        webhook() as hook,
        alertmanager(folder) as manager,
        running(folder, TELL.format(place=live.place, page=manager.url, hook=hook.url)) as daemon,
    ):
        yield live, daemon, hook, manager


def assert_firing(live: stacks.Live, posted: Document, alert: Document) -> None:
    """What a webhook was sent, and what Alertmanager knows."""
    assert (posted["status"], posted["labels"]["stage"]) == ("firing", "warn")
    assert alert["labels"]["mount_point"] == str(live.place)
    assert (alert["labels"]["severity"], alert["status"]["state"]) == ("critical", "active")
    assert live.layer in alert["annotations"]["description"]


def test_purge_on_an_overlay_deletes_what_was_planned_and_stops_when_there_is_room(tmp_path: Path) -> None:
    """tmpfs below overlayfs: exactly the planned files go, the others stay, and the headroom is what was wanted."""
    base = tmp_path / "base"
    with mounted("tmpfs", base, "tmpfs", "size=64m"):
        for name in ("lower", "upper", "work"):
            (base / name).mkdir()
        options = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
        with mounted("overlay", tmp_path / "root", "overlay", options) as place:
            files = caches(place, 10)
            config = PURGE.format(place=place, until="30MiB", below="20MiB")
            with running(tmp_path, config) as daemon:
                fill(place / "more", 6)
                status = daemon.until(
                    lambda one: one if (mount(one, place)["headroom_bytes"] or 0) >= 30 * MIB else None, "room"
                )
                freed = daemon.until(
                    lambda _: daemon.metrics().value("action_freed_bytes_total", action="free"), "the outcome"
                )
            left = sorted(file.name for file in (place / "cache").iterdir())
    # 64 MiB hold 46: three of 4 MiB bring 18 up to 30. The oldest go first, and not one more than is needed.
    assert left == [file.name for file in files[3:]]
    assert 30 * MIB <= mount(status, place)["headroom_bytes"] < 34 * MIB
    assert freed == 12 * MIB


@pytest.mark.parametrize("persistent", ["N", "P", "PO"])
def test_purge_over_a_snapshot_deletes_the_plan_and_says_that_the_store_does_not_shrink(
    tmp_path: Path, scratch: Path, persistent: str
) -> None:
    """The files that `plan` names go and no others; the room is reusable, and no byte is called freed."""
    with stacks.live(tmp_path, scratch, persistent) as live:
        files = caches(live.place, 8)
        fill(live.place / "more", 4)
        config = PURGE.format(place=live.place, until="34MiB", below="30MiB")
        off = config.replace('interval = "1s"', 'interval = "1s"\nactions = "off"')
        with running(tmp_path, off) as daemon:
            expected = planned(daemon, live.place)
            daemon.configure(config)
            daemon.signal(signal.SIGHUP)
            daemon.until(lambda _: len(list((live.place / "cache").iterdir())) < len(files) or None, "a purge")
            daemon.until(lambda _: "reusable" in daemon.log or None, "its outcome")
            left = {file.name for file in (live.place / "cache").iterdir()}
            freed = daemon.metrics().value("action_freed_bytes_total", action="free")
    assert expected
    assert {file.name for file in files} - left == expected
    assert not freed
