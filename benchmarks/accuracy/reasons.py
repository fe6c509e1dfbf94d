# SPDX-License-Identifier: Apache-2.0
"""Why a goal is not reached, where it cannot be. A case that misses one without a reason here is a defect."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.accuracy.judge import Finding


@dataclass(frozen=True, slots=True)
class Reason:
    """Holds for the cases that `covers` says, and excuses only what begins with `excuses`."""

    covers: Callable[[Finding], bool]
    excuses: str
    text: str


REASONS: Final = (
    Reason(
        lambda finding: finding.result.way == "scattered",
        "too much",
        "Four KiB written into a chunk of 128 KiB that was never copied cost the whole chunk: 32 times as much. The "
        "headroom is that of new data, which comes in runs; nothing tells beforehand how scattered the next writes "
        "will be. `explain` tells what fits at worst. With chunks of 4 KiB, as dracut makes them, it is all the same.",
    ),
    Reason(
        lambda finding: finding.result.name.startswith("thin"),
        "too little",
        "A pool gives room in blocks of 512 KiB, as dracut makes it, and ten of them (5 MiB) are kept for the journal, "
        "bitmaps and inode tables, which take blocks that hold no data. None to ten were taken, depending on the file "
        "system and on where it writes: that cannot be known. They are still kept when little else is left.",
    ),
    Reason(
        lambda finding: finding.result.ended == "ram",
        "too little",
        "What RAM can still take is the kernel's own estimate (MemAvailable): it counts half of the page cache as "
        "lost, and finds more of it when it must. In a guest of 300 MB that was up to 9 MiB more.",
    ),
    Reason(
        lambda finding: " btrfs " in finding.result.name,
        "too little",
        "A btrfs writes its metadata to a new place each time, and how much that is depends on who writes: of a store "
        "of 64 MiB, files of 1 MiB (as here) left 57 MiB for data, files of 64 KiB and a sync after each 8 MiB 48 MiB "
        "or little more, the same with a sync after each MiB 41 MiB, a fsync after each 64 KiB 22 MiB. Announced "
        "are 48 MiB: more would be too much in ordinary use.",
    ),
    Reason(
        lambda finding: "few inodes" in finding.result.name,
        "too much",
        "The inodes ended, not the bytes. How many bytes go into the files that can still be made depends on their "
        "sizes; the inodes left are told beside the headroom, and policies can ask for them (`inodes_above`).",
    ),
)


def reason_for(finding: Finding) -> str:
    """The text for a case, if it excuses all that was not reached; else empty."""
    for reason in REASONS:
        if reason.covers(finding) and all(one.startswith(reason.excuses) for one in finding.wrong):
            return reason.text
    return ""
