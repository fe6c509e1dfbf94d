# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.fuzz`: every parser over a million inputs each, as a table; what fails is kept in tests/fuzz/found.

The same seed gives the same inputs on every machine and with any number of processes.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence

from tests.fuzz import campaign
from tests.fuzz.campaign import SHARD, Finding, Tally
from tests.fuzz.table import PARSERS, Parser

_BY_NAME = {parser.name: parser for parser in PARSERS}
_LINE = "{:18} {:>9} {:>9} {:>9} {:>8}"

Task = tuple[str, int, int, int]
"""Parser, shard, inputs, seed."""


def tasks(parsers: Sequence[Parser], inputs: int, seed: int) -> Iterator[Task]:
    """The shards of every parser, all of one before the next."""
    for parser in parsers:
        for shard, done in enumerate(range(0, inputs, SHARD)):
            yield parser.name, shard, min(SHARD, inputs - done), seed


def work(task: Task) -> Tally:
    """One shard, in a process of its own."""
    name, shard, inputs, seed = task
    return campaign.run(_BY_NAME[name], shard, inputs, seed)


def together(tallies: Sequence[Tally]) -> str:
    """The line of one parser."""
    inputs, accepted = sum(one.inputs for one in tallies), sum(one.accepted for one in tallies)
    seconds = sum(one.seconds for one in tallies)
    return _LINE.format(tallies[0].parser, inputs, accepted, inputs - accepted, f"{seconds:.1f}")


def keep(finding: Finding) -> None:
    """Print it and write it down: tests/fuzz/test_parsers.py tries it from now on."""
    finding.file.parent.mkdir(exist_ok=True)
    finding.file.write_bytes(finding.data)
    print(f"  {finding.problem}\n  {finding.data[:400]!r}\n  kept as {finding.file}", flush=True)


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="inputs for each parser (default: a million)")
    parser.add_argument("--only", action="append", choices=_BY_NAME, metavar="PARSER", help="this one (repeatable)")
    parser.add_argument("--seed", type=int, default=1, help="other seeds give other inputs (default: 1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each CPU)")
    return parser.parse_args()


def main() -> int:
    """1 if anything was found."""
    given = options()
    chosen = [parser for parser in PARSERS if given.only is None or parser.name in given.only]
    findings: dict[bytes, Finding] = {}
    print(_LINE.format("parser", "inputs", "accepted", "refused", "seconds"), flush=True)
    started = time.monotonic()
    with multiprocessing.get_context("fork").Pool(given.jobs, campaign.prepare) as pool:
        tallies: list[Tally] = []
        for tally in pool.imap(work, tasks(chosen, given.inputs, given.seed)):
            tallies.append(tally)
            if sum(1 for _ in tallies) == -(-given.inputs // SHARD):
                print(together(tallies), flush=True)
                for one in tallies:
                    if one.finding is not None and findings.setdefault(one.finding.data, one.finding) is one.finding:
                        keep(one.finding)
                tallies = []
    minutes = (time.monotonic() - started) / 60
    print(f"{len(chosen)} parsers, {given.inputs} inputs each, {minutes:.1f} min by {given.jobs} processes")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
