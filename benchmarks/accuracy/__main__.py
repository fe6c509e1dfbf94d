# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.accuracy [--only WORD] [--guests N] [--write FILE]`: measure all cases, as Markdown.

Takes about seven minutes on a quiet machine with two processors, as root, in lab guests. Ends with 1 if a goal is
missed that nobody has explained.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from benchmarks.accuracy.cases import CASES, MEMORY, Case, Guest
from benchmarks.accuracy.judge import judge
from benchmarks.accuracy.measure import Result, Sample
from benchmarks.accuracy.report import report, unexplained
from tests.lab import uml

MOST_PER_GUEST: Final = 40
TIMEOUT: Final = 900.0


def batches(cases: Sequence[Case]) -> Iterator[list[Case]]:
    """Cases for one boot each: of one kind of guest, and not too many; where RAM ends, one."""
    for kind in MEMORY:
        mine = [case for case in cases if case.guest == kind]
        size = 1 if kind == "small" else MOST_PER_GUEST
        yield from (mine[first : first + size] for first in range(0, len(mine), size))


def measured(cases: Sequence[Case]) -> list[Result | str]:
    """What a guest found out; booted again for those after a case that took it down."""
    found: list[Result | str] = []
    while left := cases[len(found) :]:
        part, ending = _in_guest(left[0].guest, [case.id for case in left])
        found += part
        if len(part) < len(left):
            found.append(f"{left[len(part)].id}: {ending.explain()}")
    for one in found:
        print(f"{one.case}: {one.seconds:.1f} s" if isinstance(one, Result) else one, file=sys.stderr, flush=True)
    return found


def _in_guest(kind: Guest, ids: Sequence[str]) -> tuple[list[Result | str], uml.Ending]:
    command = (sys.executable, "-m", "benchmarks.accuracy.measure", "/run/lab/results", *ids)
    with tempfile.TemporaryDirectory() as folder:
        ending = uml.run(uml.Guest(command, Path(folder), TIMEOUT, MEMORY[kind]))
        lines = uml.read_or(Path(folder) / "results", "").splitlines()
    return [_as_result(json.loads(line)) for line in lines], ending


def _as_result(value: object) -> Result | str:
    if not isinstance(value, dict):
        return str(value)
    return Result(**{**value, "samples": tuple(Sample(**one) for one in value["samples"])})


def main() -> int:
    """Measure, print, and tell by the exit status whether all is explained."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--only", default="", metavar="WORD", help="cases whose name contains this")
    parser.add_argument("--guests", type=int, default=2, help="guests side by side (default: 2)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there, not to the terminal")
    given = parser.parse_args()
    if reason := uml.missing():
        raise SystemExit(f"accuracy: {reason}")
    cases = [case for case in CASES if given.only in case.id]
    with ThreadPoolExecutor(given.guests) as pool:
        results = [one for part in pool.map(measured, batches(cases)) for one in part]
    findings = [judge(one) for one in results if isinstance(one, Result)]
    failed = [one for one in results if isinstance(one, str)]
    page = report(findings, failed)
    if given.write:
        given.write.write_text(page, encoding="utf-8")
    else:
        print(page)
    left = [*failed, *unexplained(findings)]
    print("".join(f"accuracy: {one}\n" for one in left), file=sys.stderr, end="")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
