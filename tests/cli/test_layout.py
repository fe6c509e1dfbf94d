# SPDX-License-Identifier: Apache-2.0
"""Bars, shortened names, and layers drawn on each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.cli.layout import bar, flow, shorten
from overlaywatch.cli.strata import strata
from overlaywatch.model import Failure, Layer, LayerId, LayerKind

ratios = st.floats(0, 1.5)


@given(ratio=ratios, width=st.integers(1, 200))
def test_bar_is_full_only_when_it_is_full(ratio: float, width: int) -> None:
    """A bar has its width, is whole exactly from 100 % on, and empty exactly at 0."""
    drawn = bar(ratio, width)

    assert len(drawn) == width
    assert (drawn == "█" * width) == (ratio >= 1)
    assert (drawn == "░" * width) == (ratio == 0)


@given(one=ratios, other=ratios, width=st.integers(1, 60))
def test_a_longer_bar_is_never_less(one: float, other: float, width: int) -> None:
    """What is fuller has no shorter bar."""
    less, more = sorted((one, other))

    assert _halves(bar(less, width)) <= _halves(bar(more, width))


def _halves(drawn: str) -> int:
    return 2 * drawn.count("█") + drawn.count("▌")


def test_unknown_has_a_bar_that_looks_like_none() -> None:
    """Unknown is neither empty nor full."""
    assert bar(None, 5) == "·····"


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("/var/lib", 8, "/var/lib"), ("/var/lib/docker", 9, "/var…cker"), ("abcdef", 2, "a…"), ("abcdef", 1, "…")],
)
def test_long_names_keep_both_ends(text: str, width: int, expected: str) -> None:
    """The middle is left out, because both ends tell names apart."""
    assert shorten(text, width) == expected


@given(parts=st.lists(st.text("ab ", min_size=1, max_size=30), max_size=12), width=st.integers(10, 80))
def test_flow_cuts_no_part_and_keeps_the_order(parts: list[str], width: int) -> None:
    """Joined again, the lines are the parts; only a part that is itself too long makes a line too long."""
    lines = flow(parts, width)

    assert " · ".join(lines) == " · ".join(parts)
    assert all(len(line) <= width or line in parts for line in lines)


def layer(name: str) -> Layer:
    """A layer of this name."""
    return Layer(LayerId(f"tmpfs:{name}"), LayerKind.TMPFS, (), (), Failure.ENOSPC, reclaimable=True)


@given(st.lists(st.integers(-1, 11), min_size=12, max_size=12))
def test_every_layer_is_drawn_once_and_above_what_it_lies_on(below: list[int]) -> None:
    """Whatever lies on what, even in a circle, no layer is lost or drawn twice."""
    layers = [layer(str(index)) for index in range(12)]
    backing = {one.id: [layers[under].id] if under >= 0 else [] for one, under in zip(layers, below, strict=True)}

    drawn = [stratum.layer.id for stratum in strata(layers, lambda one: backing[one.id])]

    assert sorted(drawn) == sorted(one.id for one in layers)
    for index, under in enumerate(below):
        if under > index:  # the references of this drawing that cannot be part of a circle
            continue
        if all(step < number for number, step in enumerate(below)):
            assert under < 0 or drawn.index(layers[index].id) < drawn.index(layers[under].id)


def test_layers_that_lie_side_by_side() -> None:
    """Two towers on one base: the lines lead from each layer to the one below it."""
    names = {"a": "b", "b": "base", "c": "d", "d": "base"}
    layers = [layer(name) for name in ("a", "b", "c", "d", "base")]

    def backing(one: Layer) -> list[LayerId]:
        below = names.get(one.id.partition(":")[2])
        return [LayerId(f"tmpfs:{below}")] if below else []

    assert [f"{stratum.lead}{stratum.layer.id}" for stratum in strata(layers, backing)] == [
        "  ┌ tmpfs:a",
        "┌ tmpfs:b",
        "│ ┌ tmpfs:c",
        "├ tmpfs:d",
        "tmpfs:base",
    ]
