# SPDX-License-Identifier: Apache-2.0
"""The contract's words in plain sentences: failures, states, and how bad things are.

This file must not know how anything is laid out. Facts: device-mapper from drivers/md/dm-snap.c and
dm-thin.c, ext4 and jbd2 from fs/, tmpfs and the OOM killer from mm/.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final, assert_never

from overlaywatch.model import BROKEN, UNSURE, Failure, LayerState, Reading, Verdict
from overlaywatch.units import format_duration

WARN_RATIO: Final = 0.8
BAD_RATIO: Final = 0.9
WARN_SECONDS: Final = 1800.0
BAD_SECONDS: Final = 600.0


class Level(IntEnum):
    """How bad it is, the worst last."""

    GOOD = 0
    UNKNOWN = 1
    WARN = 2
    BAD = 3


def level_of_ratio(ratio: float | None) -> Level:
    """Of a used ratio, by the thresholds that `check` has by default."""
    if ratio is None:
        return Level.UNKNOWN
    return Level.BAD if ratio > BAD_RATIO else Level.WARN if ratio > WARN_RATIO else Level.GOOD


def level_of_time(seconds: float | None) -> Level:
    """Of a time to full; no forecast is no reason to worry."""
    if seconds is None:
        return Level.GOOD
    return Level.BAD if seconds < BAD_SECONDS else Level.WARN if seconds < WARN_SECONDS else Level.GOOD


def level_of_states(states: Iterable[LayerState]) -> Level:
    """Of the states in one chain: the worst of them."""
    return max((_level_of_state(state) for state in states), default=Level.UNKNOWN)


def _level_of_state(state: LayerState) -> Level:
    if state in BROKEN:
        return Level.BAD
    if state in UNSURE:
        return Level.UNKNOWN
    return Level.GOOD if state is LayerState.OK else Level.WARN


def is_bad_news(verdict: Verdict) -> bool:
    """Whether nothing more can be written, or a layer says of itself that something is wrong."""
    return verdict.headroom_bytes == 0 or level_of_states(verdict.states) >= Level.WARN


def failure_in_short(verdict: Verdict) -> str:
    """What happens when the limit is reached, in a few words."""
    match verdict.failure:
        case None:
            return "unknown"
        case Failure.ENOSPC:
            return "no space" + (", deletes help" if verdict.reclaimable else "")
        case Failure.READ_ONLY:
            return "read-only: reads go on"
        case Failure.DEAD_ROOT:
            return f"dead {_what_dies(verdict)}: reads fail too"
        case Failure.OOM:
            return "OOM kills processes"
        case Failure.IO_ERROR:
            return "I/O errors, writes lost"
        case Failure.NONE:
            return "cannot overflow"
        case _ as other:
            assert_never(other)


def _what_dies(verdict: Verdict) -> str:
    return "root" if verdict.mount.mount_point == "/" else "file system"


def failure_in_full(verdict: Verdict) -> str:
    """What happens when the limit is reached, for somebody who has to decide what to do now."""
    match verdict.failure:
        case None:
            return "Cannot say: some layer of the chain could not be read."
        case Failure.ENOSPC:
            return _ENOSPC + (_DELETES_HELP if verdict.reclaimable else _DELETES_DO_NOT)
        case Failure.READ_ONLY:
            return _READ_ONLY
        case Failure.DEAD_ROOT:
            return _DEAD_ROOT
        case Failure.OOM:
            return _OOM
        case Failure.IO_ERROR:
            return _IO_ERROR
        case Failure.NONE:
            return "Nothing: there is room below for everything that can be written here."
        case _ as other:
            assert_never(other)


_ENOSPC: Final = "Writes are refused with 'No space left on device' (ENOSPC); what was written stays. "
_DELETES_HELP: Final = "Deleting files makes room at once."
_DELETES_DO_NOT: Final = "Deleting files does not give the room back."
_READ_ONLY: Final = (
    "Device-mapper says 'Overflow': every later write fails with an I/O error, the journal aborts, and the file "
    "system becomes read-only. Reads go on. What was not yet written out is lost, although the programs were told "
    "that it was written."
)
_DEAD_ROOT: Final = (
    "Device-mapper says 'Invalid': every read and write of what is not in the page cache fails with an I/O error, "
    "programs no longer start, and only a reboot helps."
)
_OOM: Final = (
    "RAM ends before any file system says that it is full: the kernel kills processes, often innocent ones, "
    "and panics if none is left to kill."
)
_IO_ERROR: Final = (
    "The file system believes that it has room, the layer below has none: writes end in I/O errors, are lost, "
    "and the file system becomes read-only."
)

_STATES: Final = {
    LayerState.OK: "ok",
    LayerState.OVERFLOW: "Overflow: every write fails, reads go on; only a reboot helps",
    LayerState.INVALID: "Invalid: reads and writes fail; only a reboot helps",
    LayerState.MERGE_FAILED: "Merge failed: writes fail; the origin is half merged",
    LayerState.OUT_OF_DATA_SPACE: "out of data space: writers hang, then get I/O errors",
    LayerState.READ_ONLY: "read-only: the kernel takes no more writes here",
    LayerState.NEEDS_CHECK: "needs_check: takes no more metadata until it is repaired offline",
    LayerState.FAILED: "failed: every read and write ends in an I/O error",
    LayerState.ERRORS: "errors: the file system has counted errors; check it before it is trusted",
    LayerState.UNKNOWN: "unknown",
    LayerState.UNREADABLE: "cannot be read",
}


def state_in_words(reading: Reading | None, now: float) -> tuple[str, ...]:
    """A state other than ok, why, and how old its numbers are, in parts; none if all is well."""
    if reading is None:
        return ("not read in this look",)
    return (*_state_and_reason(reading), *_age(reading, now))


def _state_and_reason(reading: Reading) -> tuple[str, ...]:
    if reading.state is LayerState.OK:
        return ()
    said = _STATES[reading.state]
    if reading.state in UNSURE:
        return (f"{said}: {reading.reason}" if reading.reason else said,)
    # "Invalid: ... (the kernel says 'Invalid')" would say it twice.
    told = not reading.reason or f"'{said.partition(':')[0]}'" in reading.reason
    return (*said.split("; "), *(() if told else (reading.reason,)))


def _age(reading: Reading, now: float) -> tuple[str, ...]:
    if reading.numbers_at is None or reading.used_bytes is None:
        return ()
    return (f"the numbers are {format_duration(max(now - reading.numbers_at, 0.0))} old",)
