# SPDX-License-Identifier: Apache-2.0
"""How the accuracy program judges: nothing that misses a goal goes unnoticed."""

from dataclasses import replace

import pytest

from benchmarks.accuracy.judge import judge
from benchmarks.accuracy.measure import Result, Sample
from benchmarks.accuracy.reasons import reason_for
from benchmarks.accuracy.report import report, unexplained
from overlaywatch.units import MIB

GOOD = Result(
    case="a-new",
    name="a",
    way="new",
    samples=(Sample(0, 100 * MIB), Sample(50 * MIB, 50 * MIB), Sample(90 * MIB, 10 * MIB)),
    written=100 * MIB,
    limit="tmpfs:/run",
    failure="enospc",
    ended="tmpfs:",
    error="ENOSPC",
    happened="enospc",
    seconds=1.0,
    kernel="6.1",
)


def announced(start: int | None, half: int, late: int) -> Result:
    """The same filling with other figures."""
    return replace(GOOD, samples=(Sample(0, start), Sample(50 * MIB, half), Sample(90 * MIB, late)))


@pytest.mark.parametrize(
    ("result", "wrong"),
    [
        (GOOD, ()),
        (announced(101 * MIB, 51 * MIB, 11 * MIB), ()),
        (announced(101 * MIB + 1, 50 * MIB, 10 * MIB), ("too much at start",)),
        (announced(95 * MIB, 46 * MIB, 6 * MIB), ()),
        (announced(95 * MIB - 1, 50 * MIB, 6 * MIB - 1), ("too little at start", "too little at nine tenths")),
        (announced(None, 50 * MIB, 10 * MIB), ("too little at start",)),
        (replace(GOOD, limit="ram"), ("limit ram, but tmpfs ended",)),
        (replace(GOOD, failure=None), ("failure None, but it was enospc",)),
    ],
)
def test_goals(result: Result, wrong: tuple[str, ...]) -> None:
    """1 % or 1 MiB too much, 5 % or 4 MiB too little, limit and failure by name."""
    assert judge(result).wrong == wrong


def test_a_reason_excuses_nothing_else() -> None:
    """Scattered writes may bring in less; that the wrong layer was named is a defect there, too."""
    much = judge(replace(announced(200 * MIB, 50 * MIB, 10 * MIB), way="scattered"))
    other = judge(replace(much.result, limit="ram"))

    assert reason_for(much)
    assert not unexplained([much])
    assert unexplained([other]) == ["a-new: too much at start; limit ram, but tmpfs ended"]


def test_page_has_every_case_and_every_miss() -> None:
    """Also those that could not be measured."""
    page = report([judge(GOOD), judge(replace(GOOD, name="b", limit="ram"))], ["c-new: no such device"])

    assert "**1 of 3 cases" in page
    assert "* **Unexplained.**\n  * b, new: limit ram, but tmpfs ended" in page
    assert "| a | new | 100.0 | 100.0 | +0.0 | +0.0 | +0.0 | tmpfs | enospc (ENOSPC) | yes |" in page
    assert "* Not measured: c-new: no such device" in page
