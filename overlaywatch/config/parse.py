# SPDX-License-Identifier: Apache-2.0
"""The text of one file: TOML to a table, errors with line and column.

This file must not know any key, nor where the bytes come from.
"""

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from overlaywatch.config.errors import ConfigError, ConfigErrors
from overlaywatch.config.merge import Fragment
from overlaywatch.config.spelling import join_path

DEEPEST: Final = 16
"""Tables within tables. The configuration needs five; a bound keeps recursion harmless."""

# tomllib puts the place into the text only (it has attributes for it from Python 3.14 on).
_SEE: Final = "how it is written is on https://toml.io"
_PLACE = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)


def parse_fragment(file: str, data: bytes) -> Fragment:
    """The table in a file. Raises ConfigErrors with the place, as `file:line:column`."""
    text = _decode(file, data)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(file, text, str(error)) from None
    except (ValueError, RecursionError) as error:
        # A number of 5000 digits, a date that no calendar has; lists a thousand deep.
        what = "is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigErrors([ConfigError(file, "", f"cannot be read as TOML: {what}", _SEE)]) from None
    problems = _impossible(file, values)
    if problems:
        raise ConfigErrors(problems)
    return Fragment(file, values)


def _decode(file: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        where = _at(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        problem = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise ConfigErrors([ConfigError(where, "", problem, "save the file as UTF-8")]) from None


def _syntax_error(file: str, text: str, message: str) -> ConfigErrors:
    match = _PLACE.fullmatch(message)
    if match is None:
        return ConfigErrors([ConfigError(file, "", f"not TOML: {message}", _SEE)])
    if match["line"]:
        where = _at(file, int(match["line"]), int(match["column"]))
    else:
        where = _at(file, text.count("\n") + 1, len(text) - text.rfind("\n"))
    what = match["what"] if match["line"] else f"{match['what']} at the end of the file"
    return ConfigErrors([ConfigError(where, "", f"not TOML: {what}", _SEE)])


def _at(file: str, line: int, column: int) -> str:
    return f"{file}:{line}:{column}"


def _impossible(file: str, values: Mapping[str, Any]) -> list[ConfigError]:
    """What TOML forbids, or no configuration needs, and what later steps could trip over."""
    errors: list[ConfigError] = []
    # A list, not recursion: a dotted key of ten thousand parts is short to write and deep to walk.
    todo: list[tuple[str, object, int]] = [("", values, 0)]
    while todo:
        path, value, depth = todo.pop()
        if depth > DEEPEST:
            errors.append(ConfigError(file, path, "tables are nested too deeply", f"expected at most {DEEPEST} levels"))
        elif isinstance(value, dict):
            todo += [(join_path(path, key), inner, depth + 1) for key, inner in value.items()]
        elif isinstance(value, list):
            todo += [(f"{path}[{index}]", inner, depth + 1) for index, inner in enumerate(value)]
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            errors.append(ConfigError(file, path, "the number is too large", "TOML numbers have 64 bits"))
    return errors
