# SPDX-License-Identifier: Apache-2.0
"""Record real fills in the lab: `python -m benchmarks.forecast.record FOLDER [SCENE…]`, inside a guest.

Each scene makes a small live system, lets a program loose on it, and writes down what the daemon sees of
it twice a second, as FOLDER/SCENE.trace. The traces of tests/traces were recorded so:

    python -m tests.lab -- .venv/bin/python -m benchmarks.forecast.record /run/lab
    python -m tests.lab --systemd --snapshot -- .venv/bin/python -m benchmarks.forecast.record /run/lab journald
"""

import gzip
import os
import platform
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from overlaywatch import registry
from overlaywatch.config.settings import Settings, WatchSettings
from overlaywatch.engine.monitor import Monitor
from overlaywatch.kernel.view import KernelView
from overlaywatch.model import LayerId, Reading, Verdict
from overlaywatch.trace import Look, format_trace
from overlaywatch.units import KIB, MIB
from tests.integration import stacks

STEP: Final = 0.5
LONGEST_SILENCE: Final = 10.0
"""Looks that change nothing are left out, but for one in so many seconds."""
STAGE: Final = Path("/tmp/live")
PACKAGES: Final = Path("/var/cache/apt/archives")

Work = Callable[[Path], None]
Stage = Callable[[Path], Iterator[Path]]


# --- what is let loose ----------------------------------------------------------------------------


def pour(target: Path, size: int, rate: float) -> None:
    """So many bytes at so many a second, as a download arrives; OSError when it is full."""
    began, written = time.monotonic(), 0
    with target.open("wb") as file:
        while written < size:
            written += file.write(os.urandom(64 * KIB))
            file.flush()
            time.sleep(max(0.0, began + written / rate - time.monotonic()))
        os.fsync(file.fileno())


def install(place: Path, count: int) -> None:
    """What apt does: each package comes at the pace of a network, then is unpacked and synced."""
    cache = place / "archives"
    cache.mkdir(exist_ok=True)
    debs = [deb for deb in sorted(PACKAGES.glob("*.deb")) if 700 * KIB < deb.stat().st_size < 4 * MIB]
    for deb in debs[:count]:
        pour(cache / deb.name, deb.stat().st_size, 4 * MIB)
    for deb in debs[:count]:
        subprocess.run(["dpkg-deb", "-x", deb, place / "root"], check=True, stderr=subprocess.DEVNULL)
        os.sync()


def rotate(place: Path, tooth: int, keep: int, rate: float, seconds: float) -> None:
    """A log that grows; at `tooth` bytes it is compressed, and of the old ones `keep` stay."""
    rng, until, number = random.Random(7), time.monotonic() + seconds, 0
    words = [os.urandom(6).hex().encode() for _ in range(400)]
    while time.monotonic() < until:
        log, written = place / "log", 0
        with log.open("wb") as file:
            while written < tooth and time.monotonic() < until:
                written += file.write(b" ".join(rng.choices(words, k=rng.randrange(200, 4000))) + b"\n")
                file.flush()
                time.sleep(26 * KIB / rate)
        with log.open("rb") as file, gzip.open(place / f"log.{number}.gz", "wb", 1) as packed:
            shutil.copyfileobj(file, packed)
        (place / f"log.{number - keep}.gz").unlink(missing_ok=True)
        number += 1


def rewrite(place: Path, seconds: float) -> None:
    """A small database: the same 4 MiB again and again, each change synced, so that the journal works too."""
    rng, until = random.Random(8), time.monotonic() + seconds
    with (place / "database").open("w+b") as file:
        file.write(bytes(4 * MIB))
        while time.monotonic() < until:
            file.seek(rng.randrange(0, 1024) * 4 * KIB)
            file.write(os.urandom(4 * KIB))
            file.flush()
            os.fsync(file.fileno())
            time.sleep(0.05)


def untar(place: Path) -> None:
    """A large archive, as fast as the machine can."""
    packer = subprocess.Popen(["tar", "-cf", "-", "/usr/bin"], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-xf", "-", "-C", place], stdin=packer.stdout, check=True, stderr=subprocess.DEVNULL)


def install_that_fits(place: Path) -> None:
    """An installation into a store and a file system that are large enough."""
    time.sleep(40)
    install(place, 4)
    time.sleep(60)


def install_past_the_files(place: Path) -> None:
    """An installation for which the store is large enough, but the file system is not."""
    time.sleep(40)
    install(place, 14)


def install_that_fills(place: Path) -> None:
    """An installation for which the store is too small."""
    time.sleep(40)
    install(place, 200)


def tar_that_fills(place: Path) -> None:
    """Calm, then the end within seconds."""
    time.sleep(30)
    untar(place)


def rotation(place: Path) -> None:
    """Teeth of 12 MiB."""
    rotate(place, 12 * MIB, 2, 600 * KIB, 240)


def churn(place: Path) -> None:
    """Four minutes of a database, no fill."""
    rewrite(place, 240)


def purge(place: Path) -> None:
    """A steady fill, somebody tidies up at three quarters, and it goes on slowly."""
    for number in range(6):
        pour(place / f"part{number}", 8 * MIB, 800 * KIB)
    for number in range(5):
        (place / f"part{number}").unlink()
    pour(place / "slow", 2 * MIB, 30 * KIB)


def journald(place: Path) -> None:
    """A service that talks too much for two minutes, then is stopped."""
    time.sleep(30)
    until, line = time.monotonic() + 120, "connection from 192.0.2.7 refused: too many open files; " * 4
    with subprocess.Popen(["systemd-cat", "-t", "chatty"], stdin=subprocess.PIPE, text=True) as pipe:
        while pipe.stdin and time.monotonic() < until:
            pipe.stdin.write("".join(f"{time.monotonic():.6f} {line}\n" for _ in range(40)))
            pipe.stdin.flush()
            time.sleep(0.1)
    del place
    time.sleep(60)


# --- where ----------------------------------------------------------------------------------------


@contextmanager
def snapshot(folder: Path, size: int) -> Iterator[Path]:
    """ext4 on a dm-snapshot that overflows."""
    scratch = folder / "scratch"
    with stacks.mounted("tmpfs", scratch, "tmpfs"), stacks.live(folder, scratch, "PO", size) as live:
        yield live.place


@contextmanager
def tmpfs(folder: Path, size: int) -> Iterator[Path]:
    """A tmpfs, as below the overlay of a live system."""
    with stacks.mounted("tmpfs", folder / "tmpfs", "tmpfs", f"size={size}") as place:
        yield place


@contextmanager
def root(folder: Path, size: int) -> Iterator[Path]:
    """The root of the guest itself."""
    del folder, size
    yield Path("/")


SCENES: Final = {
    "install-fits": (snapshot, 192 * MIB, install_that_fits),
    "install-fills": (snapshot, 96 * MIB, install_that_fills),
    "install-fills-filesystem": (snapshot, 192 * MIB, install_past_the_files),
    "tar-fills": (snapshot, 96 * MIB, tar_that_fills),
    "rotation-tmpfs": (tmpfs, 64 * MIB, rotation),
    "rotation-snapshot": (snapshot, 96 * MIB, rotation),
    "churn": (snapshot, 64 * MIB, churn),
    "purge": (tmpfs, 64 * MIB, purge),
    "journald": (root, 0, journald),
}
BY_DEFAULT: Final = tuple(name for name in SCENES if name != "journald")


# --- the record -----------------------------------------------------------------------------------


def look(verdict: Verdict, reading: Reading | None, at: float) -> Look:
    """What is written down of a verdict."""
    return Look(
        at=at,
        headroom_bytes=verdict.headroom_bytes,
        used_ratio=verdict.used_ratio,
        inodes_ratio=verdict.inodes_ratio,
        states=verdict.states,
        limit=LayerId(verdict.limit) if verdict.limit else None,
        size_bytes=reading.size_bytes if reading else None,
        failure=verdict.failure,
        reclaimable=verdict.reclaimable,
    )


def looks(place: Path, is_over: Callable[[], bool]) -> Iterator[Look]:
    """Twice a second, until it is over and five seconds more; each mount point is called `/`."""
    settings = Settings(watch=WatchSettings(include=(str(place),)))
    reader = registry.open_reader(settings)
    monitor: Monitor[KernelView] = Monitor(settings, registry.make_sources(), time.monotonic)
    began, until, last = time.monotonic(), float("inf"), None
    while (now := time.monotonic()) < until:
        if is_over():
            until = min(until, now + 5)
        survey, verdicts = monitor.measure(reader.look(), now)
        for verdict in verdicts:
            reading = survey.readings.get(verdict.limit) if verdict.limit else None
            found = look(verdict, reading, now - began)
            if last is None or found.at - last.at >= LONGEST_SILENCE or found.headroom_bytes != last.headroom_bytes:
                last = found
                yield found
        time.sleep(STEP)
    reader.close()


def record(name: str, folder: Path) -> str:
    """The text of one trace."""
    stage, size, work = SCENES[name]
    with stage(folder, size) as place:
        thread = threading.Thread(target=_quietly, args=(work, place), daemon=True)
        thread.start()
        found = list(looks(place, lambda: not thread.is_alive()))
        comments = (
            f"{name}: recorded on Linux {platform.release()}, a look each {STEP} s",
            *(line.strip() for line in (work.__doc__ or "").splitlines()),
            (stage.__doc__ or "") + (f" {size // MIB} MiB." if size else ""),
        )
        return format_trace(found, comments)


def _quietly(work: Work, place: Path) -> None:
    """A disk that is full is the end of the scene, not a fault."""
    try:
        work(place)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"  ended by: {error}", flush=True)


def main() -> None:
    """Record the scenes that are named, or all but journald's."""
    target = Path(sys.argv[1])
    for name in sys.argv[2:] or BY_DEFAULT:
        print(name, flush=True)
        # A name of its own, as it becomes part of the ids of layers.
        STAGE.mkdir(parents=True)
        (target / f"{name}.trace").write_text(record(name, STAGE), encoding="ascii")
        shutil.rmtree(STAGE)


if __name__ == "__main__":
    main()
