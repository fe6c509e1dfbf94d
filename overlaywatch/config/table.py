# SPDX-License-Identifier: Apache-2.0
"""Typed getters over one table of the configuration, for every part that reads its own keys.

This file must not know any key. A getter never raises: what is wrong is collected, with file and key
path, and a placeholder is returned, so that one run tells everything. `finish()` reports the keys
that nobody asked for, and raises all of it. So: read all keys, call finish(), then build.

    table = Table.of(action_table)
    timeout = table.duration("timeout", default=30.0, minimum=1.0)    # float
    until = table.size("until_headroom", default=None)                # int | None
    command = table.strings("command", at_least=1)                    # no default: it must be there
    table.finish()
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final, Self, TypeVar

from overlaywatch.config import values
from overlaywatch.config.errors import ConfigError, ConfigErrors
from overlaywatch.config.settings import ActionTable
from overlaywatch.config.spelling import item_path, join_path, shown
from overlaywatch.config.values import MismatchError, Reader

T = TypeVar("T")
D = TypeVar("D")
E = TypeVar("E", bound=StrEnum)

_LONGEST_SLIP: Final = 100
"""Characters of a name that is looked at for what was meant: difflib takes time, and no key is so long."""

REQUIRED: Final[Any] = object()
"""The default of a key that must be there. Typed Any so that the type of a getter is then that of the value."""


@dataclass(slots=True)
class Findings:
    """What was found while reading: shared by a table and all tables in it.

    `defaults` is what was not: key path of a table -> its keys that are not there, as they could
    be written; None for a table.
    """

    errors: list[ConfigError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    defaults: dict[str, dict[str, object]] = field(default_factory=dict)


def suggestion(name: str, known: Iterable[str]) -> str:
    """What somebody who wrote `name` may have meant: a sentence for the end of an error."""
    candidates = list(known)
    near = get_close_matches(name[:_LONGEST_SLIP], candidates, n=1)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"known: {', '.join(candidates)}" if candidates else "expected nothing here"


class Table:
    """One table. `path` is its key path, `file` the file of what it lacks, `origins` key path -> file."""

    __slots__ = ("_children", "_file", "_findings", "_handled", "_known", "_origins", "_path", "_values")

    def __init__(
        self,
        raw: Mapping[str, object],
        *,
        path: str = "",
        file: str = "configuration",
        origins: Mapping[str, str] | None = None,
        findings: Findings | None = None,
    ) -> None:
        self._values = raw
        self._path = path
        self._file = file
        self._origins = {} if origins is None else origins
        self._findings = Findings() if findings is None else findings
        self._known: dict[str, None] = {}
        self._handled: set[str] = set()
        self._children: list[Table] = []

    @classmethod
    def of(cls, action: ActionTable) -> Self:
        """The keys of `[action.NAME]` that belong to its type. `type` itself has been read."""
        path = join_path("action", action.name)
        origins = {f"{path}.{key}": file for key, file in action.origins.items()}
        table = cls(action.values, path=path, file=action.origins.get("type", "configuration"), origins=origins)
        table._handled.add("type")
        return table

    # --- what is there --------------------------------------------------------------------------

    def __contains__(self, key: str) -> bool:
        return key in self._values

    @property
    def path(self) -> str:
        """The key path of this table."""
        return self._path

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that are written in the table."""
        return tuple(self._values)

    @property
    def known(self) -> tuple[str, ...]:
        """The keys that were asked for, in the order of asking."""
        return tuple(self._known)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed but unwise, one line each, in this table and all that share its findings."""
        return tuple(self._findings.warnings)

    @property
    def defaults(self) -> Mapping[str, Mapping[str, object]]:
        """The defaults that were asked for so far, in this table and all that share its findings."""
        return self._findings.defaults

    def file_of(self, key: str) -> str:
        """The file that a key comes from; for a key that is not there, the file of the table."""
        return self._origins.get(join_path(self._path, key), self._file)

    def origins_within(self) -> dict[str, str]:
        """Key path -> file of everything in this table, the paths relative to it."""
        prefix = f"{self._path}." if self._path else ""
        return {path[len(prefix) :]: file for path, file in self._origins.items() if path.startswith(prefix)}

    # --- typed getters: no `default` means that the key must be there ----------------------------

    def size(self, key: str, *, default: D = REQUIRED, minimum: int = 0, maximum: int = values.LARGEST_SIZE) -> int | D:
        """Bytes: `"64MiB"`, or a plain whole number."""
        return self._read(key, values.size_reader(minimum, maximum), default)

    def ratio(self, key: str, *, default: D = REQUIRED, minimum: float = 0.0, maximum: float = 1.0) -> float | D:
        """A ratio from 0 to 1: `"80%"`."""
        return self._read(key, values.ratio_reader(minimum, maximum), default)

    def duration(
        self, key: str, *, default: D = REQUIRED, minimum: float = 0.0, maximum: float = values.LONGEST_DURATION
    ) -> float | D:
        """Seconds: `"90s"`, `"1h30m"`."""
        return self._read(key, values.duration_reader(minimum, maximum), default)

    def integer(
        self, key: str, *, default: D = REQUIRED, minimum: int = 0, maximum: int = values.LARGEST_INTEGER
    ) -> int | D:
        """A whole number; booleans are none."""
        return self._read(key, values.integer_reader(minimum, maximum), default)

    def boolean(self, key: str, *, default: D = REQUIRED) -> bool | D:
        """True or false."""
        return self._read(key, values.boolean_reader(), default)

    def string(
        self,
        key: str,
        *,
        default: D = REQUIRED,
        pattern: re.Pattern[str] | None = None,
        expected: str = "expected a text",
    ) -> str | D:
        """A text that is not empty and fits the pattern whole; `expected` says so in words."""
        return self._read(key, values.string_reader(pattern, expected), default)

    def path_string(self, key: str, *, default: D = REQUIRED) -> str | D:
        """An absolute path in its shortest form."""
        return self._read(key, values.path_reader(), default)

    def choice(self, key: str, choices: type[E], *, default: D = REQUIRED) -> E | D:
        """One word of an enumeration."""
        return self._read(key, values.choice_reader(choices), default)

    def strings(
        self,
        key: str,
        *,
        default: D = REQUIRED,
        at_least: int = 0,
        pattern: re.Pattern[str] | None = None,
        expected: str = "expected a text",
    ) -> tuple[str, ...] | D:
        """A list of texts, each of them as string() takes it; `expected` describes one of them: "expected a URL"."""
        item = values.string_reader(pattern, expected)
        return self._read(key, values.list_reader(item, at_least), default)

    def path_strings(self, key: str, *, default: D = REQUIRED, at_least: int = 0) -> tuple[str, ...] | D:
        """A list of absolute paths, each in its shortest form."""
        return self._read(key, values.list_reader(values.path_reader(), at_least), default)

    def choices(self, key: str, choices: type[E], *, default: D = REQUIRED, at_least: int = 0) -> tuple[E, ...] | D:
        """A list of words of an enumeration."""
        return self._read(key, values.list_reader(values.choice_reader(choices), at_least), default)

    def string_table(
        self,
        key: str,
        *,
        default: D = REQUIRED,
        pattern: re.Pattern[str] | None = None,
        expected: str = "expected a text",
    ) -> dict[str, str] | D:
        """A table of texts, such as labels."""
        return self._read(key, values.string_table_reader(values.string_reader(pattern, expected)), default)

    # --- tables within ----------------------------------------------------------------------------

    def table(self, key: str, *, expected: str = "expected a table") -> "Table":
        """The table at `key`; an empty one if there is none (`key in table` tells). finish() covers it too."""
        raw = self.raw(key)
        if raw is None:
            self._note_default(key, None)
        elif not isinstance(raw, Mapping):
            self.error(key, f"{shown(key, raw)} is not a table", expected)
        content = raw if isinstance(raw, Mapping) else {}
        return self._child(content, join_path(self._path, key), self.file_of(key))

    def tables(self, key: str, *, expected: str = "expected a list of tables") -> tuple["Table", ...]:
        """The tables of a list of tables (`[[key]]`), known by their names. finish() covers them too."""
        raw = self.raw(key)
        if raw is None:
            return ()
        if not isinstance(raw, list | tuple):
            self.error(key, f"{shown(key, raw)} is not a list of tables", expected)
            return ()
        return tuple(child for index, item in enumerate(raw) if (child := self._item(key, index, item, expected)))

    def _item(self, key: str, index: int, item: object, expected: str) -> "Table | None":
        if not isinstance(item, Mapping):
            self.error(key, f"{shown(key, item)} is not a table", expected, place=f"[{index}]")
            return None
        path = item_path(join_path(self._path, key), index, item)
        return self._child(item, path, self._origins.get(path, self.file_of(key)))

    def _child(self, content: Mapping[str, object], path: str, file: str) -> "Table":
        child = Table(content, path=path, file=file, origins=self._origins, findings=self._findings)
        self._children.append(child)
        return child

    def __bool__(self) -> bool:
        """A table is something even when it is empty."""
        return True

    def raw(self, key: str) -> object:
        """The value of a key as it was written, unchecked; None if it is not there. The key is known from now on."""
        self._known[key] = None
        return self._values.get(key)

    def rest(self) -> dict[str, object]:
        """All keys that nobody asked for yet, as written: they are somebody else's to check."""
        left = {key: value for key, value in self._values.items() if key not in self._known}
        self._handled.update(left)
        return left

    # --- findings ---------------------------------------------------------------------------------

    def error(self, key: str, problem: str, expected: str = "", *, place: str = "") -> None:
        """Record an error that the getters cannot see, such as two keys that exclude each other.

        An empty key is the table itself; `place` is where in the value, such as `[1]`.
        """
        path = self._path_of(key) + place
        self._findings.errors.append(ConfigError(self.file_of(key), path, problem, expected))

    def warn(self, key: str, text: str) -> None:
        """Record that a value is allowed, but unwise."""
        self._findings.warnings.append(str(ConfigError(self.file_of(key), self._path_of(key), text)))

    def reserve(self, key: str, problem: str, expected: str) -> None:
        """Refuse a key that is known but not to be used."""
        self._handled.add(key)
        if key in self._values:
            self.error(key, problem, expected)

    def close(self) -> None:
        """Record every key of this table, and of those within, that nobody asked for."""
        for key in self._values:
            if key not in self._known and key not in self._handled:
                self.error(key, "unknown key", suggestion(key, self._known))
        for child in self._children:
            child.close()

    def finish(self) -> None:
        """Close, and raise ConfigErrors if anything at all was wrong."""
        self.close()
        if self._findings.errors:
            raise ConfigErrors(self._findings.errors)

    def _path_of(self, key: str) -> str:
        return join_path(self._path, key) if key else self._path

    def _note_default(self, key: str, value: object) -> None:
        self._findings.defaults.setdefault(self._path, {})[key] = value

    def _read(self, key: str, reader: Reader[T], default: D) -> T | D:
        raw = self.raw(key)
        if raw is None:
            if default is not REQUIRED:
                if default is not None:
                    self._note_default(key, reader.spell(default))
                return default
            self.error(key, "is missing", reader.expected)
            return reader.placeholder
        try:
            return reader.read(key, raw)
        except MismatchError as mismatch:
            for fault in mismatch.faults:
                self.error(key, fault.problem, fault.expected, place=fault.place)
            return reader.placeholder
