# SPDX-License-Identifier: Apache-2.0
"""docs/accuracy.md: what is measured, what was not reached and why, and every case."""

from collections.abc import Iterator, Sequence
from typing import Final

from benchmarks.accuracy.judge import POINTS, Comparison, Finding
from benchmarks.accuracy.reasons import reason_for
from tests.integration.devices import MIB

INTRODUCTION: Final = """\
# How true the headroom is, measured

`make accuracy` writes this page. It builds each chain anew in a lab guest (Linux {kernel}, one CPU), asks for the
headroom, fills the chain until the first write fails, and asks again and again on the way. Announced is what
`overlaywatch status` says; went in is the number of bytes that were safe (fsync) before the first failure, to 256 KiB.
How it ended is taken from the kernel alone: the error, the word of the snapshot or pool, its log, and which file system
was full.

Filled with: **new** files of 1 MiB, a fsync after each; **overwrite**: a file of the image, in place, 1 MiB and a fsync
at a time; **mix**: both in turn; **scattered**: 4 KiB here and there of that file. Chains are named by the letter and
the chunk size (in sectors) of the snapshot, its file system, and where the exception store lies.

To be reached: never more than 1 % (or 1 MiB) too much; at most 5 % (or 4 MiB) too little; limit and failure named right
at the start. **{reached} of {all} cases reach all of it.**

What is announced, and why it is that:

* It is the room for **new data**. Rewriting what a snapshot has copied before costs nothing, so more than the headroom
  can be written where files are rewritten or deleted; `explain --deep` tells how much free space is already copied.
* A part of the room below a file system is kept for what it writes of its own: 1/32 for ext4 (eight blocks of journal
  for a file and its fsync), 1/64 for xfs, measured with a fsync after each MiB; for btrfs 1/8 for each copy of its
  metadata, measured with small files and a sync now and then. Who syncs seldom, and with btrfs who writes large files,
  gets in up to so much more; who syncs after every few KiB less.
* Of RAM, 1/64 of MemAvailable is kept back for what the kernel needs to hold the pages.
"""

COLUMNS: Final = ("chain", "filled with", "announced", "went in", *POINTS, "ended by", "what came", "reached")


def report(findings: Sequence[Finding], failed: Sequence[str]) -> str:
    """The page. `failed` are cases that could not be measured, each with its why."""
    kernel = findings[0].result.kernel if findings else "unknown"
    reached = sum(not finding.wrong for finding in findings)
    lines = [INTRODUCTION.format(kernel=kernel, reached=reached, all=len(findings) + len(failed))]
    lines += ["## Not reached, and why", "", *(_misses(findings) or ["Nothing."]), ""]
    lines += [f"* Not measured: {one}" for one in failed]
    lines += [
        "## All cases",
        "",
        "Sizes in MiB. Differences: announced less what then went in; above zero is too much.",
        "",
    ]
    lines += [_line(COLUMNS), "|" + "---|" * len(COLUMNS), *(_line(_row(finding)) for finding in findings)]
    return "\n".join(lines) + "\n"


def unexplained(findings: Sequence[Finding]) -> list[str]:
    """Cases that miss a goal and have no reason."""
    return [f"{one.result.case}: {'; '.join(one.wrong)}" for one in findings if one.wrong and not reason_for(one)]


def _misses(findings: Sequence[Finding]) -> list[str]:
    """By reason, each with its cases."""
    missed = [finding for finding in findings if finding.wrong]
    reasons = dict.fromkeys(reason_for(finding) for finding in missed)
    return [line for reason in reasons for line in _of_one_reason(reason, missed)]


def _of_one_reason(reason: str, missed: Sequence[Finding]) -> Iterator[str]:
    yield f"* {reason or '**Unexplained.**'}"
    for finding in missed:
        if reason_for(finding) == reason:
            yield f"  * {finding.result.name}, {finding.result.way}: {'; '.join(finding.wrong)}"


def _row(finding: Finding) -> tuple[str, ...]:
    result = finding.result
    differences = (_difference(one) for one in finding.comparisons)
    return (
        result.name,
        result.way,
        _mebibytes(finding.comparisons[0].announced),
        _mebibytes(result.written),
        *differences,
        result.ended.rstrip(":"),
        f"{result.happened} ({result.error})",
        "no" if finding.wrong else "yes",
    )


def _line(words: Sequence[str]) -> str:
    return f"| {' | '.join(words)} |"


def _mebibytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / MIB:.1f}"


def _difference(one: Comparison) -> str:
    return f"{one.difference / MIB:+.1f}"
