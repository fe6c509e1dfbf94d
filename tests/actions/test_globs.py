# SPDX-License-Identifier: Apache-2.0
"""Patterns of paths: what they match, checked against a second implementation by one regular expression."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlaywatch.actions.globs import PatternError, PatternSet, States, parse_pattern


def walk(patterns: PatternSet, path: str) -> States:
    """Where a walk stands after the components of a path."""
    states = patterns.start()
    for name in path.split("/")[1:]:
        states = patterns.step(states, name)
    return states


def matches(pattern: str, path: str) -> bool:
    """Whether a file at this path is meant."""
    patterns = PatternSet([parse_pattern(pattern)])
    return patterns.matches(walk(patterns, path))


BY_HAND = {
    "*": r"(?!\.)[^/]*",
    "?": r"(?!\.)[^/]",
    "a*": r"a[^/]*",
    "*b": r"(?!\.)[^/]*b",
    ".*": r"\.[^/]*",
    "[ab]": r"[ab]",
    "[!a]*": r"(?!\.)[^/a][^/]*",
    "a": r"a",
    "ab": r"ab",
    ".a": r"\.a",
    "*.*": r"(?!\.)[^/]*\.[^/]*",
}
"""Components, and what they mean, written down by hand."""


def reference(parts: list[str], path: str) -> bool:
    """Whether a path matches, by one expression for all of it."""
    text = ""
    for index, part in enumerate(parts):
        if part == "**":
            text += r"(?:/[^/]+)+" if index == len(parts) - 1 else r"(?:/[^/]+)*"
        else:
            text += "/" + BY_HAND[part]
    return re.fullmatch(text, path, re.DOTALL) is not None


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/var/cache/apt/archives/*.deb", "/var/cache/apt/archives/vim.deb", True),
        ("/var/cache/apt/archives/*.deb", "/var/cache/apt/archives/partial/vim.deb", False),
        ("/var/cache/apt/archives/*.deb", "/var/cache/apt/archives/.hidden.deb", False),
        ("/var/tmp/**", "/var/tmp/a", True),
        ("/var/tmp/**", "/var/tmp/.a/.b/c", True),
        ("/var/tmp/**", "/var/tmp", False),
        ("/var/tmp/**", "/var/tmpfile", False),
        ("/var/**/x.log", "/var/x.log", True),
        ("/var/**/x.log", "/var/a/b/x.log", True),
        ("/var/**/x.log", "/var/a/b/y.log", False),
        ("/var/**/**/x", "/var/x", True),
        ("/a/?", "/a/b", True),
        ("/a/?", "/a/bc", False),
        ("/a/[!b-d]*", "/a/ef", True),
        ("/a/[!b-d]*", "/a/cf", False),
        ("/a/.*", "/a/.hidden", True),
        ("/a/[", "/a/[", True),
        ("/a/plain", "/a/plain", True),
        ("/a/*", "/a/new\nline", True),
        ("/a/*", os.fsdecode(b"/a/\xff\xfe"), True),
    ],
)
def test_patterns_match_what_people_expect(pattern: str, path: str, expected: bool) -> None:
    """Wildcards stay within a name, `**` does not, and only `**` takes hidden names."""
    assert matches(pattern, path) is expected


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("var/tmp/*", "not absolute"),
        ("", "not absolute"),
        ("/var/tmp/", "names a folder"),
        ("/", "names a folder"),
        ("/var//tmp/*", "empty"),
        ("/var/../etc/*", "`..`"),
        ("/var/./tmp/*", "`.`"),
        ("/var/tmp/a**", "stand alone"),
        ("/var/tmp/**.log", "stand alone"),
        ("/var/\0/*", "NUL"),
    ],
)
def test_patterns_that_cannot_be_meant_are_refused(pattern: str, problem: str) -> None:
    """The error says what is wrong, and what would do."""
    with pytest.raises(PatternError, match=re.escape(problem)) as caught:
        parse_pattern(pattern)
    assert caught.value.expected.startswith("expected ")


NAMES = st.sampled_from(["a", "b", "ab", ".a", "a.b", "\n", "\udcff", "..."])
PARTS = st.sampled_from(["**", *BY_HAND])


@given(parts=st.lists(PARTS, min_size=1, max_size=5), names=st.lists(NAMES, min_size=1, max_size=6))
def test_walk_agrees_with_an_expression_for_the_whole_path(parts: list[str], names: list[str]) -> None:
    """Name by name, the walk comes to the same answer as the whole path at once."""
    path = "/" + "/".join(names)
    assert matches("/" + "/".join(parts), path) == reference(parts, path)


@given(
    patterns=st.lists(st.lists(PARTS, min_size=1, max_size=4), min_size=1, max_size=3),
    names=st.lists(NAMES, min_size=1, max_size=5),
)
def test_walk_never_gives_up_early(patterns: list[list[str]], names: list[str]) -> None:
    """A folder above a match leads on, and if only some names can lead on, the right one is among them."""
    several = PatternSet(parse_pattern("/" + "/".join(parts)) for parts in patterns)
    path = "/" + "/".join(names)
    expected = any(matches(pattern.text, path) for pattern in several.patterns)
    assert several.matches(walk(several, path)) is expected
    states = several.start()
    for name in names if expected else []:
        spelled = several.names(states)
        assert several.leads_on(states)
        assert spelled is None or name in spelled
        states = several.step(states, name)


def test_prefix_ends_before_the_first_wildcard() -> None:
    """The folders that are spelled out; a plain path has its parent folders."""
    assert parse_pattern("/var/cache/*/x").prefix == ("var", "cache")
    assert parse_pattern("/var/cache/x").prefix == ("var", "cache")
    assert parse_pattern("/var/cache/x").literal == "/var/cache/x"
    assert parse_pattern("/*/x").prefix == ()
    assert parse_pattern("/*/x").literal is None
