# SPDX-License-Identifier: Apache-2.0
"""What the kernel command line says: `overlaywatch.actions=off|dry-run|on`, `overlaywatch.config=PATH`.

This file must not know how the command line is read. Whoever boots a machine that purges or reboots
itself needs a brake that works, and a slip in it must not leave the machine unwatched: so a word that
is not understood is a warning, and the actions are off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from overlaywatch.config.settings import ActionsMode
from overlaywatch.config.spelling import shown
from overlaywatch.config.table import suggestion

ORIGIN: Final = "kernel command line"
_PREFIX: Final = "overlaywatch."
_MODES: Final = ", ".join(mode.value for mode in ActionsMode)


@dataclass(frozen=True, slots=True)
class BootWords:
    """What was said: None is nothing. With any warning, `actions` is off."""

    actions: ActionsMode | None = None
    config: str | None = None
    warnings: tuple[str, ...] = ()


def parse_boot_words(words: Sequence[str]) -> BootWords:
    """The words of the kernel command line, already split; the last of the same name counts, as in the kernel."""
    actions: ActionsMode | None = None
    config: str | None = None
    warnings: list[str] = []
    for word in words:
        name, _, value = word.partition("=")
        if name == _PREFIX + "actions" and value in tuple(ActionsMode):
            actions = ActionsMode(value)
        elif name == _PREFIX + "config" and value.startswith("/"):
            config = value
        elif name.startswith(_PREFIX):
            warnings.append(misread(name, value))
    return BootWords(ActionsMode.OFF if warnings else actions, config, tuple(warnings))


def misread(name: str, value: str) -> str:
    """The warning about a word that is not understood."""
    problem, expected = f"{shown(name, value)} cannot be used", f"expected one of {_MODES}"
    if name == _PREFIX + "config":
        expected = "expected an absolute path"
    elif name != _PREFIX + "actions":
        known = (_PREFIX + "actions", _PREFIX + "config")
        problem, expected = "unknown word", suggestion(name, known)
    return f"{ORIGIN}: {name}: {problem}; {expected}; actions are off"
