# SPDX-License-Identifier: Apache-2.0
"""In the guest: build, ask, fill, ask again and again, and see how it ends.

`python -m benchmarks.accuracy.measure RESULTS CASE…` adds one JSON object per case to the file RESULTS.
"""

import ctypes
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.accuracy.builders import Built
from benchmarks.accuracy.cases import CASES, Case
from benchmarks.accuracy.writer import Stopped, Writer, writer
from overlaywatch.config.settings import Settings, WatchSettings
from overlaywatch.model import Verdict
from overlaywatch.registry import take_look
from tests.integration.devices import MIB

STEP, FINE = MIB, MIB // 4
LOOKS: Final = 24
"""About as often the headroom is asked for while a chain fills."""
NEAR: Final = 2 * MIB
MCL_CURRENT_AND_FUTURE: Final = 3
"""mlockall(2)"""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was announced when so much had gone in, in bytes; None: unknown."""

    written: int
    headroom: int | None


@dataclass(frozen=True, slots=True)
class Result:
    """All that is known of one filling. `error` is the first refused write's, as errno names it, or how it ended."""

    case: str
    name: str
    way: str
    samples: tuple[Sample, ...]
    written: int
    limit: str | None
    failure: str | None
    ended: str
    error: str
    happened: str
    seconds: float
    kernel: str


def look(place: Path) -> Verdict:
    """What is said of one mount point, now."""
    return take_look(Settings(watch=WatchSettings(include=(str(place),)))).verdicts[0]


def measure(case: Case, folder: Path, images: Path) -> Result:
    """One case, from nothing to nothing."""
    started = time.monotonic()
    with case.chain.build(folder, images) as built:
        with writer(built.place, built.base, case.way) as hand:
            before = look(built.place)
            samples, written, stopped = fill(built.place, hand, before)
        return Result(
            case=case.id,
            name=case.name,
            way=case.way,
            samples=tuple(samples),
            written=written,
            limit=before.limit,
            failure=before.failure.value if before.failure else None,
            ended="ram" if stopped.killed else built.ended(),
            error=in_a_word(stopped),
            happened=happened(stopped, built),
            seconds=time.monotonic() - started,
            kernel=os.uname().release,
        )


def fill(place: Path, hand: Writer, before: Verdict) -> tuple[list[Sample], int, Stopped]:
    """Write until it fails; what was announced meanwhile, and the bytes that were safe before."""
    written, told, samples = 0, before.headroom_bytes or 0, [Sample(0, before.headroom_bytes)]
    pause = max(STEP, told // LOOKS)
    while True:
        size = FINE if told - (written - samples[-1].written) <= NEAR else STEP
        if stopped := hand.step(size):
            return samples, written, stopped
        written += size
        if written - samples[-1].written >= pause:
            samples.append(Sample(written, look(place).headroom_bytes))
            told = samples[-1].headroom or 0


def happened(stopped: Stopped, built: Built) -> str:
    """What a writer met, in the contract's words, by the error and the kernel's own words alone."""
    word = built.word()
    if stopped.killed:
        return "oom"
    if "Invalid" in word:
        return "dead_root"
    if "Overflow" in word:
        return "read_only"
    return "enospc" if stopped.error == errno.ENOSPC and has_no_room(built.place) else "io_error"


def has_no_room(place: Path) -> bool:
    """Whether the file system says so: xfs hands on an ENOSPC of the thin pool below, and is as dead as by EIO."""
    stat = os.statvfs(place)
    return stat.f_bavail * stat.f_frsize < STEP or (stat.f_files > 0 and stat.f_ffree == 0)


def in_a_word(stopped: Stopped) -> str:
    """`ENOSPC`, `killed`, `stuck`."""
    if stopped.error:
        return errno.errorcode.get(stopped.error, str(stopped.error))
    return "killed" if stopped.killed else "stuck"


def stay_alive() -> None:
    """Whatever ends, it is not to be this process: in memory, and not to be killed."""
    ctypes.CDLL(None).mlockall(MCL_CURRENT_AND_FUTURE)
    Path("/proc/self/oom_score_adj").write_text("-1000")


def attempt(case: Case, images: Path) -> Result | str:
    """One case in a folder of its own; what went wrong, if it could not be built."""
    folder = Path(tempfile.mkdtemp(prefix="accuracy-", dir="/tmp"))
    try:
        return measure(case, folder, images)
    except (OSError, subprocess.CalledProcessError) as failed:
        return "\n".join([f"{case.id}: {failed}", *getattr(failed, "__notes__", [])])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(words: Sequence[str]) -> None:
    """Measure the named cases."""
    results, wanted = Path(words[0]), set(words[1:])
    images = results.parent / "images"
    images.mkdir(exist_ok=True)
    stay_alive()
    for case in CASES:
        if case.id in wanted:
            found = attempt(case, images)
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found if isinstance(found, str) else asdict(found)) + "\n")
                os.fsync(file.fileno())


if __name__ == "__main__":
    main(sys.argv[1:])
