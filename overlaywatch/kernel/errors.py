# SPDX-License-Identifier: Apache-2.0
"""What a parser raises when the kernel's text is not what its documentation says.

This file must not know any of the texts.
"""

from overlaywatch.ports import SourceError

_LONGEST_EXCERPT = 80


class KernelTextError(SourceError, ValueError):
    """Text of the kernel that cannot be read: names the place, the line, what was expected and what was found.

    It is a SourceError, so the boundary around each source reports it like a file that cannot be read: one
    strange line hides no other source.
    """

    def __init__(self, place: str, expected: str, found: str, line: int | None = None) -> None:
        where = place if line is None else f"{place}, line {line}"
        excerpt = found if len(found) <= _LONGEST_EXCERPT else found[: _LONGEST_EXCERPT - 1] + "…"
        super().__init__(f"{where}: expected {expected}, found {excerpt!r}; please report this line")
        self.place = place
        self.line = line
        self.expected = expected
        self.found = found
