# SPDX-License-Identifier: Apache-2.0
"""The kernel command line is split as the kernel splits it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.kernel.cmdline import get, parse_cmdline

WORDS = st.text(st.characters(codec="utf-8", exclude_characters='"'), min_size=1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("root=live:LABEL=LIVE rd.live.image ro\n", ("root=live:LABEL=LIVE", "rd.live.image", "ro")),
        ('a="b c" d', ("a=b c", "d")),
        ('"a=b c" d', ("a=b c", "d")),
        ('a=""', ("a=",)),
        ("", ()),
        (" \n", ()),
        ('a="b c', ("a=b c",)),
    ],
)
def test_splitting(text: str, words: tuple[str, ...]) -> None:
    """Blanks separate, except in double quotes, which vanish."""
    assert parse_cmdline(text) == words


@given(st.lists(WORDS))
def test_quoted_words_round_trip(words: list[str]) -> None:
    """Whatever stands in quotes is one word."""
    assert parse_cmdline(" ".join(f'"{word}"' for word in words)) == tuple(words)


def test_last_value_counts() -> None:
    """A bare word has an empty value; what is not there has none; of two the last counts."""
    words = ("quiet", "overlaywatch.actions=on", "overlaywatch.actions=dry-run", "root=LABEL=a=b")
    assert get(words, "overlaywatch.actions") == "dry-run"
    assert get(words, "quiet") == ""
    assert get(words, "root") == "LABEL=a=b"
    assert get(words, "overlaywatch") is None
