# SPDX-License-Identifier: Apache-2.0
"""The end of a store is seen within 100 ms of happening, whatever kind it is and however fast it came.

The kernel's log is the witness of when it happened. The daemon's own word for when it knew is `starts_at` of
the webhook that it calls for. The lab kernel has one CPU: while the kernel writes, nobody else runs. A trial
in which even the metronome, a thread that wants to run every few milliseconds, stood still is no trial.
"""

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.integration import stacks
from tests.integration.daemon import Daemon, layer, mount, running
from tests.integration.kernel_log import KernelLog, kernel_log
from tests.integration.receivers import Webhook, webhook

pytestmark = pytest.mark.kernel

SOON: Final = 0.100
STANDSTILL: Final = 0.040
MOST_TRIALS: Final = 6

MESSAGES: Final = {"N": "Invalidating snapshot", "P": "Invalidating snapshot", "PO": "Snapshot overflowed"}
"""drivers/md/dm-snap.c"""
STATES: Final = {"N": "invalid", "P": "invalid", "PO": "overflow"}

CONFIG: Final = """
[action.hook]
type = "webhook"
url = "{url}"
[[policy]]
name = "end"
[[policy.stage]]
name = "over"
state_is = ["invalid", "overflow"]
actions = ["hook"]
"""


class Metronome:
    """Wants to run every 5 ms; knows how long it could not."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick)

    def _tick(self) -> None:
        before = time.monotonic()
        while not self._over.wait(0.005):
            now = time.monotonic()
            self.longest, before = max(self.longest, now - before), now

    def __enter__(self) -> "Metronome":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@contextlib.contextmanager
def overfilled(live: stacks.Live, *, direct: bool) -> Iterator[None]:
    """Twice as much as fits, at full speed, beside what is done meanwhile."""
    flags = ["oflag=direct"] if direct else ["conv=fsync"]
    command = ["dd", "if=/dev/zero", f"of={live.place}/more", "bs=1M", "count=128", *flags]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.wait()


@dataclass(frozen=True, slots=True)
class Watch:
    """A daemon, whom it tells, and the witness."""

    daemon: Daemon
    hook: Webhook
    log: KernelLog


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """One for all trials, with the slowest pace that it has by default."""
    folder = tmp_path_factory.mktemp("watch")
    with webhook() as hook, running(folder, CONFIG.format(url=hook.url)) as daemon, kernel_log() as log:
        yield Watch(daemon, hook, log)


def trial(live: stacks.Live, watch: Watch, message: str, *, direct: bool, moving: bool) -> tuple[float, float]:
    """Seconds from the end of the store to the daemon's knowing; and the longest standstill of the machine."""
    watch.daemon.until(
        lambda status: [one for one in status["mounts"] if one["mount_point"] == str(live.place)], "the mount"
    )
    if moving:
        first = ["dd", "if=/dev/zero", f"of={live.place}/first", "bs=1M", "count=16", "conv=fsync"]
        subprocess.run(first, check=True, capture_output=True)
    else:
        time.sleep(1)  # the daemon has calmed down after the mount: the next tick is 10 s away
    watch.log.synchronise()
    with Metronome() as metronome, overfilled(live, direct=direct):
        told = watch.hook.next()
    happened = watch.log.first(message)
    assert happened is not None
    assert told["labels"]["mount_point"] == str(live.place)
    return told["starts_at"] - happened, metronome.longest


@pytest.mark.parametrize("moving", [False, True], ids=["calm", "moving"])
@pytest.mark.parametrize("direct", [False, True], ids=["buffered", "direct"])
@pytest.mark.parametrize("persistent", ["N", "P", "PO"])
def test_end_is_seen_within_100_ms(
    watch: Watch, tmp_path: Path, scratch: Path, persistent: str, direct: bool, moving: bool
) -> None:
    """From calm and in the midst of a fill, through the page cache and past it."""
    for number in range(MOST_TRIALS):
        with stacks.live(tmp_path, scratch, persistent, name=f"ow-{number}") as live:
            late, still = trial(live, watch, MESSAGES[persistent], direct=direct, moving=moving)
            if still < STANDSTILL:
                assert_exported(live, watch.daemon, STATES[persistent])
                break
    else:
        pytest.fail(f"in each of {MOST_TRIALS} trials the machine stood still", pytrace=False)
    print(f"seen after {late * 1000:.1f} ms")
    assert late < SOON


def assert_exported(live: stacks.Live, daemon: Daemon, state: str) -> None:
    """The state is in the status and the metrics, beside the last numbers and how old they are."""
    status = daemon.until(lambda one: one if layer(one, live.layer)["state"] == state else None, state)
    found, metrics = layer(status, live.layer), daemon.metrics()
    assert (found["size_bytes"], found["headroom_bytes"]) == (64 << 20, 0)
    assert 0 < found["used_bytes"] <= found["size_bytes"]
    assert found["numbers_age_seconds"] > 0
    assert mount(status, live.place)["headroom_bytes"] == 0
    assert metrics.value("layer_state", layer=live.layer, state=state) == 1
    assert metrics.value("layer_state", layer=live.layer, state="ok") == 0
    assert metrics.value("layer_used_bytes", layer=live.layer) == found["used_bytes"]
    # The scrape may be of a later tick: the age has grown, the numbers are the same.
    assert (metrics.value("layer_numbers_age_seconds", layer=live.layer) or 0) >= found["numbers_age_seconds"]
