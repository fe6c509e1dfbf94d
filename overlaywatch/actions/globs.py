# SPDX-License-Identifier: Apache-2.0
"""Patterns of paths: `/var/cache/apt/archives/*.deb`, `/var/tmp/**`.

This file must not know any file system: names come in one by one, as a walk down a tree meets them,
and out comes whether the walk is still on a pattern's way. `*`, `?` and `[…]` stay within one name and,
as in a shell, do not stand for a dot at its beginning. `**` stands by itself between two slashes for
any number of folders, hidden ones too; at the end for everything below. Names may hold any byte: they
are compared as os.fsdecode() gives them.
"""

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

DEEP: Final = "**"
LONGEST: Final = 4096
"""PATH_MAX (include/uapi/linux/limits.h): a longer path is none."""
_WILD: Final = re.compile(r"[*?\[]")
_ANY_NAME: Final = re.compile(r".+", re.DOTALL)

States = frozenset[tuple[int, int]]
"""Where a walk stands: pairs of a pattern's index and how many of its components lie behind."""


class PatternError(ValueError):
    """A pattern that cannot be used: `problem` says why, `expected` what would do."""

    def __init__(self, problem: str, expected: str) -> None:
        super().__init__(f"{problem}; {expected}")
        self.problem = problem
        self.expected = expected


@dataclass(frozen=True, slots=True)
class Pattern:
    """An absolute pattern. Each component is a literal name, a compiled expression, or None for `**`."""

    text: str
    components: tuple[str | re.Pattern[str] | None, ...]

    @property
    def prefix(self) -> tuple[str, ...]:
        """The folders that are spelled out before the first wildcard; the file's name itself is none."""
        names: list[str] = []
        for component in self.components[:-1]:
            if not isinstance(component, str):
                break
            names.append(component)
        return tuple(names)

    @property
    def literal(self) -> str | None:
        """The one path that is meant, if there is no wildcard at all."""
        names = [component for component in self.components if isinstance(component, str)]
        return "/" + "/".join(names) if len(names) == len(self.components) else None


def parse_pattern(text: str) -> Pattern:
    """A pattern from its text. Raises PatternError."""
    if not text.startswith("/"):
        raise PatternError("is not absolute", "expected a path that begins with /")
    if len(text) > LONGEST:
        raise PatternError("is too long", f"expected what can be the path of a file: at most {LONGEST} characters")
    if "\0" in text:
        raise PatternError("holds a NUL", "expected what can be the path of a file")
    names = text[1:].split("/")
    if names[-1] == "":
        raise PatternError("names a folder", f"expected files, such as {text.rstrip('/') + '/**'!r}")
    if {"", ".", ".."} & set(names):
        raise PatternError("has an empty, `.` or `..` component", "expected the plain path")
    return Pattern(text, _components(names))


def _components(names: list[str]) -> tuple[str | re.Pattern[str] | None, ...]:
    components: list[str | re.Pattern[str] | None] = []
    for name in names:
        if DEEP in name and name != DEEP:
            raise PatternError(f"has {name!r} in it", "expected `**` to stand alone between two slashes")
        components.append(None if name == DEEP else _component(name))
    # `/var/tmp/**` is everything below: any folders, then any name.
    return (*components, _ANY_NAME) if components[-1] is None else tuple(components)


def _component(name: str) -> str | re.Pattern[str]:
    if not _WILD.search(name):
        return name
    hidden_too = "" if name.startswith(".") else r"(?!\.)"
    return re.compile(hidden_too + fnmatch.translate(name))


class PatternSet:
    """Several patterns, walked at once. A walk begins with start() and goes down with step()."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self.patterns = tuple(patterns)

    def start(self) -> States:
        """Where every pattern stands at `/`."""
        return frozenset(state for index in range(len(self.patterns)) for state in self._reach(index, 0))

    def step(self, states: States, name: str) -> States:
        """Where the patterns stand one name further down; empty: no pattern leads there."""
        return frozenset(after for index, done in states for after in self._after(index, done, name))

    def matches(self, states: States) -> bool:
        """Whether a file that a walk has come to is meant by a pattern."""
        return any(done == len(self.patterns[index].components) for index, done in states)

    def leads_on(self, states: States) -> bool:
        """Whether a pattern may mean something below the folder that a walk has come to."""
        return any(done < len(self.patterns[index].components) for index, done in states)

    def names(self, states: States) -> frozenset[str] | None:
        """The only names that can lead on, if they are all spelled out; None: the folder must be listed."""
        names: set[str] = set()
        for index, done in states:
            components = self.patterns[index].components
            component = components[done] if done < len(components) else ""
            if not isinstance(component, str):
                return None
            names.add(component)
        return frozenset(names - {""})

    def _reach(self, index: int, done: int) -> Iterable[tuple[int, int]]:
        """The states at `done` components, and past any `**` that may stand for nothing."""
        components = self.patterns[index].components
        yield index, done
        while done < len(components) and components[done] is None:
            done += 1
            yield index, done

    def _after(self, index: int, done: int, name: str) -> Iterable[tuple[int, int]]:
        components = self.patterns[index].components
        if done == len(components):
            return ()
        component = components[done]
        if component is None:
            return self._reach(index, done)
        fits = component == name if isinstance(component, str) else component.match(name) is not None
        return self._reach(index, done + 1) if fits else ()
