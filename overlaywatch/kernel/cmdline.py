# SPDX-License-Identifier: Apache-2.0
"""The kernel command line: /proc/cmdline, split as next_arg() in lib/cmdline.c does it.

This file must not know what any option means.
"""

import re
from collections.abc import Sequence
from typing import Final

# isspace() of lib/ctype.c without the no-break space, which is a part of other characters in UTF-8.
_WORD: Final = re.compile(r'(?:"[^"]*(?:"|\Z)|[^" \t\n\v\f\r]+)+')


def parse_cmdline(text: str) -> tuple[str, ...]:
    """The words of the command line. Blanks inside double quotes do not separate; the quotes are taken away."""
    return tuple(word.replace('"', "") for word in _WORD.findall(text))


def get(words: Sequence[str], name: str) -> str | None:
    """The value of the last `name=value`; empty for a bare `name`; None if it is not there."""
    for word in reversed(words):
        key, _, value = word.partition("=")
        if key == name:
            return value
    return None
