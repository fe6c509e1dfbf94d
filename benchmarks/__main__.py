# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks [--quick]`: all tables, as Markdown. Takes about two minutes, as root.

The idle minute is a minute; --quick makes it five seconds, and leaves out the thousand snapshots.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import dependencies, running
from benchmarks.figures import Row, machine, mebibytes, milliseconds, table
from tests.lab import uml

DEPENDENCIES = ("psutil", "prometheus_client", "pyroute2", "sdnotify")


def ticks_here() -> dict[str, float]:
    """A tick with ten small tmpfs on this kernel, in a mount namespace of its own."""
    command = ["unshare", "--mount", sys.executable, "-m", "benchmarks.ticks", "0"]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def ticks_in_lab(counts: Sequence[int]) -> list[dict[str, float]]:
    """Ticks with snapshots, in the lab kernel; empty where it cannot be had."""
    if uml.missing():
        return []
    with tempfile.TemporaryDirectory() as folder:
        script = f'"$0" -m benchmarks.ticks {" ".join(map(str, counts))} > /run/lab/ticks'
        ending = uml.run(uml.Guest(("sh", "-c", script, sys.executable), Path(folder), timeout=300, memory="2G"))
        if ending.status != 0:
            raise SystemExit(f"benchmarks: the guest failed: {ending.explain()}")
        return [json.loads(line) for line in (Path(folder) / "ticks").read_text(encoding="ascii").splitlines()]


def tick_rows(here: dict[str, float], lab: Sequence[dict[str, float]]) -> Iterator[Row]:
    """Ticks, and the two ways of reading device-mapper."""
    yield Row("one tick, ten more mounts, this kernel", milliseconds(here["tick"]), "≤ 1 ms")
    yield Row("the bare system calls of it", milliseconds(here["bare"]))
    for one in lab:
        what = f"lab kernel: {one['snapshots']:.0f} snapshots ({one['devices']:.0f} devices)"
        ratio = f"{one['tick'] / one['bare']:.2f} × the bare calls ({milliseconds(one['bare'])})"
        yield Row(f"{what}: one tick", f"{milliseconds(one['tick'])}, {ratio}", "≤ 2 ×")
        if "ioctl" in one:
            yield Row(f"{what}: all records by ioctl", milliseconds(one["ioctl"]))
            yield Row(f"{what}: all records by dmsetup", milliseconds(one["dmsetup"]))
            yield Row(f"{what}: `dmsetup status --target snapshot`", milliseconds(one["dmsetup_status"]))


def memory_rows(ours: running.Daemon, peer: running.Daemon | None) -> Iterator[Row]:
    """Both processes together, the peer, and each dependency."""
    rss, pss = ours.memory()
    yield Row("PSS of engine and frontend together, memory locked", mebibytes(pss), "≤ 50 MiB")
    yield Row("RSS of both, what they share counted twice", mebibytes(rss))
    if peer:
        rss, pss = peer.memory()
        yield Row("node_exporter: PSS, RSS", f"{mebibytes(pss)}, {mebibytes(rss)}")
    whole = dependencies.measure()
    yield Row("PSS of an interpreter with all imports of the daemon", mebibytes(whole))
    for package in DEPENDENCIES:
        yield Row(f"the same without {package}", mebibytes(dependencies.measure(package)))


def process_rows(seconds: float) -> Iterator[Row]:
    """Everything about the running daemon, with node_exporter in the same run."""
    yield Row("start to READY, median of 5", milliseconds(running.starts(5)), "≤ 700 ms")
    with ExitStack() as stack:
        peer = stack.enter_context(running.node_exporter())
        ours = stack.enter_context(running.overlaywatch("1s"))
        # A pause as long as the interval: each scrape finds a new tick, as in life.
        taken = running.scrapes([ours, *([peer] if peer else [])], 30, 1.0)
        medians = [statistics.median(times) for times in taken]
        goal = f"≤ {milliseconds(medians[1] / 2)} (half)" if peer else ""
        yield Row("scrape as Prometheus does it, a new tick each, median of 30", milliseconds(medians[0]), goal)
        if peer:
            yield Row("node_exporter: the same", milliseconds(medians[1]))
        yield from memory_rows(ours, peer)
    with ExitStack() as stack:
        peer = stack.enter_context(running.node_exporter())
        ours = stack.enter_context(running.overlaywatch())
        shares = running.idle_share([ours, *([peer] if peer else [])], seconds)
        yield Row(f"CPU while idle, {seconds:.0f} s", f"{shares[0]:.2%} of a core", "≤ 0.2 %")
        if peer:
            yield Row("node_exporter: the same", f"{shares[1]:.2%} of a core")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="five idle seconds, and at most 100 snapshots")
    quick = parser.parse_args().quick
    print(f"{machine()}\n")
    rows = list(tick_rows(ticks_here(), ticks_in_lab((1, 100) if quick else (1, 100, 1000))))
    print(table("Ticks", rows))
    print(table("The running daemon", list(process_rows(5.0 if quick else 60.0))))


if __name__ == "__main__":
    main()
