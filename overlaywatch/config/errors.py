# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a configuration: all of it at once, each with its file and key.

This file must not know any key.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One thing that is wrong. `file` may carry `:line:column`; `key` is empty if no key is concerned."""

    file: str
    key: str
    problem: str
    expected: str = ""

    def __str__(self) -> str:
        where = f"{self.file}: {self.key}: " if self.key else f"{self.file}: "
        return where + (f"{self.problem}; {self.expected}" if self.expected else self.problem)


class ConfigErrors(Exception):  # noqa: N818  (it carries many errors, and says so)
    """Everything that is wrong with a configuration; its text is one line per error."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(errors)
        super().__init__(self.errors)

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))
