# SPDX-License-Identifier: Apache-2.0
"""The merged configuration for people and programs: TOML with the file of each value, or plain data.

This file must not know what keys mean, but for `[action.NAME]`, whose names are no keys. Secrets are
never shown. The TOML can be read back, and says the same but for the secrets.
"""

import datetime
import math
from collections.abc import Iterator, Mapping
from typing import Any

from overlaywatch.config.defaults import ORIGIN
from overlaywatch.config.merge import Merged
from overlaywatch.config.spelling import item_path, join_path, key_part, redacted, toml_string


def to_toml(merged: Merged) -> str:
    """TOML text. A table whose values all come from one file says so once, else each value does."""
    shown = _without_secrets(merged.values)
    blocks = ["\n".join(block) for block in _blocks(shown, "", "", "", merged.origins)]
    if all(origin == ORIGIN for origin in merged.origins.values()):
        blocks = ["# No configuration: all values are the defaults.", *blocks]
    return "\n\n".join(blocks) + "\n"


def to_data(merged: Merged) -> dict[str, object]:
    """The same for JSON: `files` (the weakest first), `settings`, `origins` (key path -> file), `hash`."""
    return {
        "files": list(merged.files),
        "settings": _plain(_without_secrets(merged.values)),
        "origins": dict(merged.origins),
        "hash": merged.fingerprint,
    }


def _without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """Sections and actions may be called anything: `[action.rotate-tokens]` is not a secret as a whole."""
    return {key: _shown_actions(value) if key == "action" else redacted("", value) for key, value in values.items()}


def _shown_actions(section: object) -> object:
    if not isinstance(section, Mapping):
        return redacted("", section)
    return {name: redacted("", table) for name, table in section.items()}


def _plain(value: object) -> object:
    """Values that JSON has no word for, as text."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else value


# --- TOML ---------------------------------------------------------------------------------------


def _blocks(
    table: Mapping[str, Any], header: str, name: str, path: str, origins: Mapping[str, str]
) -> Iterator[list[str]]:
    """The table at the key path `path` under its header, then those within it; a block is a list of lines.

    `name` is what headers call it. It is not the path in lists of tables: all stages are
    `[[policy.stage]]`, each has a path of its own.
    """
    own = {key: value for key, value in table.items() if not _is_block(path, value)}
    if own or header.startswith("[[") or (header and not table):
        yield _lines(own, header, path, origins)
    for key, value in table.items():
        inner, here = join_path(name, key), join_path(path, key)
        if key in own:
            continue
        if isinstance(value, Mapping):
            yield from _blocks(value, f"[{inner}]", inner, here, origins)
        else:
            for index, item in enumerate(value):
                yield from _blocks(item, f"[[{inner}]]", inner, item_path(here, index, item), origins)


def _is_block(path: str, value: object) -> bool:
    """Sections, actions and lists of tables have headers; everything deeper is written on one line."""
    if isinstance(value, Mapping):
        return path in ("", "action")
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _lines(own: Mapping[str, object], header: str, path: str, origins: Mapping[str, str]) -> list[str]:
    files = {key: _files_of(join_path(path, key), origins) for key in own}
    shared = set(files.values()) if own else {_files_of(path, origins)}
    head = [header] if header else []
    if len(shared) == 1:
        return [f"# {shared.pop()}", *head, *(f"{key_part(key)} = {_inline(value)}" for key, value in own.items())]
    return [*head, *(f"{key_part(key)} = {_inline(value)}  # {files[key]}" for key, value in own.items())]


def _files_of(path: str, origins: Mapping[str, str]) -> str:
    """The files of a value and of everything in it, and whether any of it is a default."""
    within = [file for known, file in origins.items() if known == path or known.startswith((f"{path}.", f"{path}["))]
    files = [file for file in dict.fromkeys(within) if file != ORIGIN]
    parts = ["from " + ", ".join(files)] if files else []
    return "; ".join(parts + [ORIGIN] * (ORIGIN in within)) or "from nowhere"


def _inline(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return toml_string(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key_part(key)} = {_inline(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_inline, value))}]"
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else repr(value)
