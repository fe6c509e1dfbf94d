# SPDX-License-Identifier: Apache-2.0
"""Deleting exactly the files of a plan, in its order, until there is room enough.

This file must not know how the files were chosen. Each is looked at again through a descriptor of its
folder, reached without symbolic links and within the mount: only the very inode of the plan,
unchanged and with one name, is removed. Between that look and unlinkat(2) its owner can still put
another of his own files in its place; nothing that he could not delete himself can be made to go.
"""

import errno
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from overlaywatch.actions.purge_walk import File
from overlaywatch.kernel import beneath
from overlaywatch.kernel.openfiles import InUse

_MEASURE_AFTER_FILES: Final = 32
_MEASURE_SHARE: Final = 8
_HOPELESS: Final = frozenset({errno.EROFS, errno.EIO})
"""The file system itself is broken or read-only: no other file will fare better."""


@dataclass(frozen=True, slots=True)
class Goal:
    """When to stop: at this headroom (None: never before the end), or when `time_left()` is 0."""

    headroom: Callable[[], int | None]
    until: int | None
    time_left: Callable[[], float]

    def reached(self, headroom: int | None) -> bool:
        """Whether there is room enough; unknown is not enough, and not a reason to delete more than planned."""
        return self.until is not None and headroom is not None and headroom >= self.until


@dataclass(slots=True)
class Tally:
    """What has been done. `room_bytes` is what the deleted files held; `stopped` says why it ended early."""

    before: int | None
    after: int | None
    deleted: int = 0
    room_bytes: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    stopped: str = ""

    @property
    def gained_bytes(self) -> int:
        """What the headroom has risen by, as measured, but no more than what the files held."""
        if self.before is None or self.after is None:
            return 0
        return max(0, min(self.after - self.before, self.room_bytes))


def delete(root: int, files: Sequence[File], goal: Goal, in_use: InUse) -> Tally:
    """Delete below the open mount point. What cannot be deleted is counted, never raised."""
    headroom = goal.headroom()
    tally = Tally(headroom, headroom)
    since, unmeasured = 0, 0
    for file in files:
        tally.stopped = _reason_to_stop(goal, tally)
        if tally.stopped:
            break
        if _delete_one(root, file, in_use, tally):
            since, unmeasured = since + file.room_bytes, unmeasured + 1
        if _worth_measuring(goal, tally.after, since, unmeasured):
            tally.after, since, unmeasured = goal.headroom(), 0, 0
    if unmeasured:
        tally.after = goal.headroom()
    return tally


def _reason_to_stop(goal: Goal, tally: Tally) -> str:
    if goal.reached(tally.after):
        return "there is room enough"
    if goal.time_left() <= 0:
        return "the time is up"
    return "the file system refuses" if tally.kept["refused by the file system"] else ""


def _worth_measuring(goal: Goal, last: int | None, since: int, unmeasured: int) -> bool:
    """Measuring costs more than deleting a small file: do it when what went may have made a difference."""
    if not unmeasured or goal.until is None:
        return False
    gap = goal.until - (last or 0)
    return unmeasured >= _MEASURE_AFTER_FILES or since * _MEASURE_SHARE >= gap


def _delete_one(root: int, file: File, in_use: InUse, tally: Tally) -> bool:
    try:
        objection = _unlink(root, file, in_use)
    except FileNotFoundError:
        objection = "gone meanwhile"
    except OSError as error:
        objection = "refused by the file system" if error.errno in _HOPELESS else (error.strerror or "failed").lower()
    if objection:
        tally.kept[objection] += 1
        return False
    tally.deleted += 1
    tally.room_bytes += file.room_bytes
    return True


def _unlink(root: int, file: File, in_use: InUse) -> str:
    """Remove the file if it is still the one that was planned; else why not. Raises OSError."""
    folder, _, name = file.below.rpartition("/")
    parent = beneath.open_handle(root, folder or ".")
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not file.is_still(found):
            return "changed meanwhile"
        if (found.st_dev, found.st_ino, file.path) in in_use:
            return "in use"
        os.unlink(name, dir_fd=parent)
    finally:
        os.close(parent)
    return ""
