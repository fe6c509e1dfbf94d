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
        "will be. With chunks of 4 KiB, which every live system uses that names a size, there is no difference.",
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
