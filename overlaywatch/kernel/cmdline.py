# SPDX-License-Identifier: Apache-2.0
"""The kernel command line: /proc/cmdline, split as next_arg() in lib/cmdline.c does it.

This file must not know what any option means.
"""

from collections.abc import Sequence


def parse_cmdline(text: str) -> tuple[str, ...]:
    """The words of the command line. Blanks inside double quotes do not separate; the quotes are taken away."""
    words: list[str] = []
    word = ""
    quoted = started = False
    for character in text:
        if character == '"':
            quoted, started = not quoted, True
        elif character.isspace() and not quoted:
            if started:
                words.append(word)
            word, started = "", False
        else:
            word, started = word + character, True
    return (*words, word) if started else tuple(words)


def get(words: Sequence[str], name: str) -> str | None:
    """The value of the last `name=value`; empty for a bare `name`; None if it is not there."""
    for word in reversed(words):
        key, _, value = word.partition("=")
        if key == name:
            return value
    return None
