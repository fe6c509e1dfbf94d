# SPDX-License-Identifier: Apache-2.0
"""One tick, against the bare system calls that it makes. Run in a lab guest for snapshots: see __main__.py.

`python -m benchmarks.ticks COUNT... ` prints one JSON object per count of snapshots (0: none are made).
"""

import fcntl
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import median_seconds, paired_seconds
from overlaywatch import registry
from overlaywatch.config.settings import Settings
from overlaywatch.engine import host
from overlaywatch.engine.counters import Counters
from overlaywatch.engine.journal import Remarks
from overlaywatch.engine.monitor import Monitor
from overlaywatch.engine.publisher import Publisher
from overlaywatch.engine.rhythm import Rhythm
from overlaywatch.kernel import dm_wire
from overlaywatch.kernel.dm_dmsetup import DmsetupReader
from overlaywatch.kernel.dm_ioctl import IoctlReader
from overlaywatch.kernel.view import KernelReader, KernelView
from overlaywatch.model import Tick
from tests.integration import devices

MOUNTS = 10
SECTORS = 8192
CONTROL = Path("/dev/mapper/control")


class Ticker:
    """What the engine does in one tick, without anybody to tell it to."""

    def __init__(self, reader: KernelReader) -> None:
        sources = registry.make_sources()
        self._reader = reader
        self._monitor: Monitor[KernelView] = Monitor(Settings(), sources, time.monotonic)
        self._rhythm, self._publisher = Rhythm(sources), Publisher()
        self._remarks, self._counters, self._host = Remarks(), Counters(0.0), host.describe()
        self.paths: tuple[str, ...] = ()

    def tick(self) -> None:
        """Look, judge, forecast, decide, plan the next look, remark, encode."""
        now = time.monotonic()
        seen = self._monitor.step(self._reader.look(), now)
        pace = self._rhythm.plan(seen, self._monitor.forecaster, now, 10.0, None, 0.0)
        tick = Tick(
            now,
            time.time(),
            self._host,
            seen.survey,
            seen.verdicts,
            seen.forecasts,
            seen.stages,
            seen.decisions,
            (),
            pace,
        )
        self._remarks.of(tick)
        self._publisher.encode(tick, self._counters, ready=True)
        self.paths = tuple(layer.mount_points[0] for layer in seen.survey.layers if layer.mount_points)


def bare_calls(paths: tuple[str, ...], numbers: list[int]) -> Callable[[], None]:
    """The system calls of a tick and nothing else, as strace(1) shows them with ten mounts.

    One list and a status for each device, statvfs for each file system, two stat(2) for the files behind
    loops, two poll(2), one read of meminfo, and 21 looks at the clock: the lab kernel has no vDSO.
    """
    meminfo, control = os.open("/proc/meminfo", os.O_RDONLY), os.open(CONTROL, os.O_RDWR) if CONTROL.exists() else -1
    requests = [dm_wire.encode_request(512, dm_wire.NO_FLUSH, number) for number in numbers]
    status, listing = (dm_wire.request_number(code) for code in (dm_wire.CMD_TABLE_STATUS, dm_wire.CMD_LIST_DEVICES))
    list_request = dm_wire.encode_request(131072 if len(numbers) > 100 else 1024, 0, 0)
    poll = select.poll()
    poll.register(meminfo, select.POLLPRI)

    def calls() -> None:
        if control >= 0:
            fcntl.ioctl(control, listing, bytearray(list_request))
            for request in requests:
                fcntl.ioctl(control, status, request)
            os.stat("/")
            os.stat("/")
        for path in paths:
            os.statvfs(path)
        os.pread(meminfo, 65536, 0)
        poll.poll(0)
        poll.poll(0)
        for _ in range(21):
            time.monotonic()

    return calls


@contextmanager
def mounts(count: int) -> Iterator[None]:
    """So many small tmpfs. Belongs into a mount namespace of its own."""
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / f"mount{number}" for number in range(count)]
        for place in places:
            place.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "bench", str(place)], check=True)
        try:
            yield
        finally:
            for place in places:
                subprocess.run(["umount", str(place)], check=True)


@contextmanager
def snapshots(count: int) -> Iterator[None]:
    """So many snapshots of one loop, their COW devices slices of another one: two devices for each.

    The slices are half as large as the origin: each of the snapshots can overflow, and is peeked at.
    """
    if not count:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        size = SECTORS * devices.SECTOR
        with (
            devices.loop(Path(folder) / "origin", size) as origin,
            devices.loop(Path(folder) / "cow", size * count) as cow,
            devices.many({f"c{n}": f"0 {SECTORS // 2} linear {cow.number} {n * SECTORS}" for n in range(count)}),
        ):
            cows = _numbers("c")
            with devices.many(
                {f"s{n}": f"0 {SECTORS} snapshot {origin.number} {cows[f'c{n}']} N 8" for n in range(count)}
            ):
                yield


def _numbers(prefix: str) -> dict[str, str]:
    """major:minor by name, of the devices whose names begin with `prefix`."""
    names = {node: (node / "dm/name").read_text().strip() for node in Path("/sys/block").glob("dm-*")}
    return {name: (node / "dev").read_text().strip() for node, name in names.items() if name.startswith(prefix)}


def measure(count: int) -> dict[str, float]:
    """Seconds, with ten small tmpfs and so many snapshots."""
    with mounts(MOUNTS), snapshots(count):
        reader = registry.open_reader(Settings())
        ticker = Ticker(reader)
        ticker.tick()
        numbers = [os.makedev(device.major, device.minor) for device in reader.dm.devices()] if reader.dm else []
        tick, bare = paired_seconds(ticker.tick, bare_calls(ticker.paths, numbers), 30 if count > 100 else 300)
        found = {"snapshots": float(count), "devices": float(len(numbers)), "tick": tick, "bare": bare}
        reader.close()
        return found | (_readers() if numbers else {})


def _readers() -> dict[str, float]:
    ioctl, dmsetup = IoctlReader(CONTROL), DmsetupReader()
    found = {"ioctl": median_seconds(ioctl.devices, 20), "dmsetup": median_seconds(dmsetup.devices, 3, warm_up=1)}
    ioctl.close()
    status = ["dmsetup", "status", "--target", "snapshot"]
    return found | {
        "dmsetup_status": median_seconds(lambda: subprocess.run(status, check=True, capture_output=True), 3, warm_up=1)
    }


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(json.dumps(measure(int(argument))), flush=True)
