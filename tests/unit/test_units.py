# SPDX-License-Identifier: Apache-2.0
"""Quantities as people write and read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.units import (
    GIB,
    KIB,
    MIB,
    UnitError,
    format_duration,
    format_ratio,
    format_size,
    parse_duration,
    parse_ratio,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("512B", 512),
        ("64MiB", 64 * MIB),
        (" 2 GiB ", 2 * GIB),
        ("1.5KiB", 1536),
        ("1TiB", 1024 * GIB),
        ("9007199254740993", 2**53 + 1),
    ],
)
def test_size_is_read_in_bytes(text: str, size: int) -> None:
    """Units are powers of 1024, and whole numbers are exact beyond the precision of a float."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MiB", "-1", "64 M", "64MB", "64mib", "1e3", "0x10", "1,5GiB", ".5GiB", "1 2", "٣MiB", "9" * 20, "inf"]
)
def test_wrong_size_is_refused_with_an_example(text: str) -> None:
    """Decimal units, signs, exponents and foreign digits are no sizes; the error shows how one is written."""
    with pytest.raises(UnitError, match="such as '64MiB'"):
        parse_size(text)


@pytest.mark.parametrize(("text", "ratio"), [("0%", 0.0), ("80%", 0.8), ("99.5 %", 0.995), ("100%", 1.0)])
def test_ratio_is_read_from_a_percentage(text: str, ratio: float) -> None:
    """A percentage is a ratio from 0 to 1."""
    assert parse_ratio(text) == pytest.approx(ratio, abs=1e-12)


@pytest.mark.parametrize("text", ["", "%", "80", "0.8", "101%", "-1%", "80%%", "eighty%", "100.1%"])
def test_wrong_ratio_is_refused_with_an_example(text: str) -> None:
    """Without the sign nobody knows whether 0.8 is a ratio or a percentage."""
    with pytest.raises(UnitError, match="such as '80%'"):
        parse_ratio(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("250ms", 0.25), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("1d 2h", 93600), ("1.5h", 5400)],
)
def test_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    """Parts with units add up."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", " ", "90", "s", "-1s", "1w", "1h30", "10 minutes", "1h,30m", "9" * 400 + "s"])
def test_wrong_duration_is_refused_with_an_example(text: str) -> None:
    """A number without a unit is no duration, nor is one that would be infinite."""
    with pytest.raises(UnitError, match="such as '90s'"):
        parse_duration(text)


@given(st.text(max_size=40))
def test_any_text_is_a_quantity_or_a_unit_error(text: str) -> None:
    """No text makes the parsers fail in another way, and what they accept is finite and not negative."""
    for parse in (parse_size, parse_ratio, parse_duration):
        try:
            value = parse(text)
        except UnitError:
            continue
        assert 0 <= value < float("inf")


@given(st.integers(0, 2**50), st.sampled_from([("B", 1), ("KiB", KIB), ("MiB", MIB), ("GiB", GIB)]))
def test_size_scales_by_its_unit_exactly(number: int, unit: tuple[str, int]) -> None:
    """Whole numbers of any unit lose nothing."""
    assert parse_size(f"{number}{unit[0]}") == number * unit[1]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (MIB - 1, "1.0 MiB"),
        (63 * MIB + 200 * KIB, "63.2 MiB"),
        (32 * GIB, "32.0 GiB"),
        (-MIB, "-1.0 MiB"),
        (5000 * 1024 * GIB, "5000.0 TiB"),
    ],
)
def test_size_is_shown_in_the_unit_that_reads_well(size: int, text: str) -> None:
    """Three digits before the point, and never 1024.0 of a unit while there is a larger one."""
    assert format_size(size) == text


@given(st.integers(0, 2**60))
def test_shown_size_can_be_read_again(size: int) -> None:
    """What is printed is a valid size, within the rounding of one decimal."""
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.051, abs=1)


@pytest.mark.parametrize(
    ("ratio", "text"), [(0.0, "0.0%"), (0.834, "83.4%"), (0.99999, "99.9%"), (1.0, "100.0%"), (1.2, "120.0%")]
)
def test_ratio_is_not_shown_as_full_while_something_is_left(ratio: float, text: str) -> None:
    """100 % means full, so nothing is rounded up to it."""
    assert format_ratio(ratio) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.25, "250 ms"),
        (90, "90 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (12000, "3 h 20 min"),
        (172800, "2 d"),
        (4 * 86400 + 7200, "4 d 2 h"),
    ],
)
def test_duration_is_shown_in_two_units_at_most(seconds: float, text: str) -> None:
    """The larger a duration is, the coarser its units."""
    assert format_duration(seconds) == text
