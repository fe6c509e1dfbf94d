# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.forecast [--json]`: the tables of docs/forecast.md. The same at every run, and everywhere."""

import argparse
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.forecast.made import FAMILIES, traces_of
from benchmarks.forecast.rules import RULES, Ours
from benchmarks.forecast.score import Score, score
from benchmarks.forecast.traces import Trace, recorded
from overlaywatch.units import format_duration

Scores = Mapping[str, Score]


def scores_of(traces: Sequence[Trace]) -> Scores:
    """What each rule made of these traces."""
    return {rule.name: sum((score(rule, trace) for trace in traces), Score()) for rule in RULES}


def rows(pattern: str = "") -> Iterator[tuple[str, Sequence[Trace]]]:
    """The name of a row, and its traces."""
    for one in FAMILIES:
        if pattern in one.name:
            yield f"{one.name} ({one.count})", traces_of(one)
    for trace in recorded():
        if pattern in trace.name:
            yield f"recorded: {trace.name}", [trace]


def paged(one: Score) -> str:
    """A cell: the lead, and in words what went wrong."""
    wrong = [f"{one.missed} of {one.fills} missed"] if one.missed else []
    wrong += [f"{one.false} false"] if one.false else []
    lead = [format_duration(round(one.lead))] if one.lead and one.missed < one.fills else []
    return ", ".join(lead + wrong) or "·"


def off(one: Score) -> str:
    """A cell: median and worst factor, and the part of the moments at which nothing was forecast."""
    if one.error is None:
        return "·" if not one.silent else "none"
    median, worst = one.error
    quiet = f", {one.silent / (one.silent + len(one.factors)):.0%} none" if one.silent else ""
    return f"{_factor(median)} ({_factor(worst)}){quiet}"


def _factor(factor: float) -> str:
    return f"{factor:.2f}" if factor < 10 else f"{factor:.0f}" if factor < 1000 else "> 1000"


def table(title: str, cells: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A Markdown table, a column for each rule."""
    head = f"| {title} | {' | '.join(rule.name for rule in RULES)} |"
    lines = [f"| {name} | {' | '.join(row)} |" for name, row in cells]
    return "\n".join([head, "|---" * (len(RULES) + 1) + "|", *lines]) + "\n"


def summary(total: Scores) -> str:
    """A Markdown table, a line for each rule."""
    columns = (
        "rule",
        "fills missed",
        "false pages",
        "warning, median",
        "factor off: median",
        "9 in 10",
        "worst",
        "silent",
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, one in total.items():
        median, most, worst = (_factor(one.within(share) or 0.0) for share in (0.5, 0.9, 1.0))
        silent = f"{one.silent / max(1, one.silent + len(one.factors)):.0%}"
        lead = format_duration(round(one.lead or 0.0))
        lines.append(
            f"| {name} | {one.missed} of {one.fills} | {one.false} | {lead} | {median} | {most} | {worst} | {silent} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecast", description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--ours", action="store_true", help="leave out predict_linear")
    given = parser.parse_args()
    if given.ours:
        RULES[:] = [rule for rule in RULES if isinstance(rule, Ours)]
    names, traces = zip(*rows(given.only), strict=True)
    with multiprocessing.Pool(os.cpu_count()) as pool:
        found = pool.map(scores_of, traces, chunksize=1)
    total = {rule.name: sum((one[rule.name] for one in found), Score()) for rule in RULES}
    every = [*zip(names, found, strict=True)]
    print(summary(total))
    print(
        table(
            "the first page comes before the end", [(name, [paged(one[r.name]) for r in RULES]) for name, one in every]
        )
    )
    print(table("time to full off by a factor", [(name, [off(one[r.name]) for r in RULES]) for name, one in every]))


if __name__ == "__main__":
    main()
