# SPDX-License-Identifier: Apache-2.0
"""Which of the files that may be deleted will be: old before young, large before small, no more than needed.

This file must not know where the files come from or what becomes of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from overlaywatch.actions.purge_walk import File


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may go. `needs_bytes` 0: everything; `max_bytes` None: no bound."""

    needs_bytes: int
    max_files: int
    max_bytes: int | None


def choose(files: Iterable[File], bounds: Bounds, now: float) -> tuple[File, ...]:
    """The files to delete, in the order in which they go; `now` in Unix seconds."""
    chosen: list[File] = []
    room = 0
    for file in sorted(files, key=lambda file: (-age_class(file, now), -file.room_bytes, file.below)):
        if len(chosen) >= bounds.max_files or (bounds.needs_bytes and room >= bounds.needs_bytes):
            break
        if bounds.max_bytes is None or room + file.room_bytes <= bounds.max_bytes:
            chosen.append(file)
            room += file.room_bytes
    return tuple(chosen)


def age_class(file: File, now: float) -> int:
    """Ages within a factor of two are alike: among those, the largest file goes first, so fewer must."""
    return int(max(now - file.touched, 1.0)).bit_length()
