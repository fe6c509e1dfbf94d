# SPDX-License-Identifier: Apache-2.0
"""How keys and values of the configuration are written for people: as TOML, with secrets hidden.

This file must not know which keys exist or what they mean.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

HIDDEN: Final = "<hidden>"

_LONGEST_SHOWN: Final = 60
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# `pass` and `auth` are secrets only as words of their own: `compass` and `author` are not.
_HUSHED: Final = (
    r"(?:password|passwd|passphrase|token|secret|credential|api[_-]?key|private[_-]?key|authorization|cookie|bearer"
    r"|(?<![a-z])(?:pass|auth)(?![a-z]))"
)
_SECRET_KEY = re.compile(_HUSHED, re.IGNORECASE)
_SECRET_OPTION = re.compile(rf"--?[a-z0-9_-]*{_HUSHED}[a-z0-9_-]*", re.IGNORECASE)
_SECRET_PAIR = re.compile(rf"(?P<key>{_HUSHED}[a-z0-9_-]*=)[^&\s]+", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://[^/@\s:]*):[^/@\s]*@", re.IGNORECASE)
_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def toml_string(text: str) -> str:
    """A TOML basic string. What a terminal could take for a command is escaped (TOML 1.0, section String)."""
    return '"' + "".join(_escape(char) for char in text) + '"'


def _escape(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def printable(text: str) -> str:
    """A text, such as a file name, on one line: what is not printable, or not UTF-8 at all, is escaped."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def key_part(key: str) -> str:
    """One part of a key path: bare where TOML allows it, else quoted."""
    return key if _BARE_KEY.fullmatch(key) else toml_string(key)


def join_path(path: str, key: str) -> str:
    """The key path of `key` inside the table at `path` (empty: the top)."""
    return f"{path}.{key_part(key)}" if path else key_part(key)


def item_path(path: str, index: int, item: object) -> str:
    """The key path of a table in a list of tables: by its name if it has one, else by its place from 0."""
    name = item.get("name") if isinstance(item, Mapping) else None
    return join_path(path, name) if isinstance(name, str) else f"{path}[{index}]"


def is_secret(key: str) -> bool:
    """Whether the value of a key of this name must not be shown to anyone."""
    return _SECRET_KEY.search(key) is not None


def without_secrets(text: str) -> str:
    """The text with passwords in URLs and `token=…` pairs hidden."""
    text = _URL_PASSWORD.sub(rf"\g<scheme>:{HIDDEN}@", text)
    return _SECRET_PAIR.sub(rf"\g<key>{HIDDEN}", text)


def redacted(key: str, value: object) -> object:
    """The value of `key`, deeply copied, with everything secret in it hidden."""
    if is_secret(key):
        return HIDDEN
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {name: redacted(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return _redacted_list(value)
    return value


def _redacted_list(items: Sequence[object]) -> list[object]:
    """A list, which may be a command line: what follows `--password` is one."""
    result: list[object] = []
    after_option = False
    for item in items:
        result.append(HIDDEN if after_option else redacted("", item))
        after_option = isinstance(item, str) and _SECRET_OPTION.fullmatch(item) is not None
    return result


def shown(key: str, value: object) -> str:
    """A value in a message: as it is written in TOML, short, never a secret."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    if is_secret(key):
        return "the value"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _short(toml_string(without_secrets(value)))
    return _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
