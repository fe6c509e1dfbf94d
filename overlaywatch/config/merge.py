# SPDX-License-Identifier: Apache-2.0
"""Many files into one configuration, in which every value still knows its file.

This file must not know what keys mean, but for two: `[[policy]]` is merged by name, and an
`[action.NAME]` whose type changes is replaced whole, because the keys of the old type would only be
errors in the new one. All other tables merge key by key; lists and plain values are replaced.
"""

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from overlaywatch.config.errors import ConfigError
from overlaywatch.config.spelling import item_path, join_path

RawTable = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fragment:
    """What one file says."""

    file: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Merged:
    """What all files say together.

    `origins` maps the key path of every table and value to the file that it comes from; a table that
    several files share belongs to the weakest. `errors` is what went wrong in merging.
    """

    values: Mapping[str, Any]
    origins: Mapping[str, str]
    files: tuple[str, ...] = ()
    errors: tuple[ConfigError, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that are the same exactly for the same content, wherever it is written."""
        canonical = json.dumps(self.values, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def merge(fragments: Sequence[Fragment]) -> Merged:
    """Merge, the weakest first."""
    merger = _Merger()
    for fragment in fragments:
        merger.file = fragment.file
        merger.add_table(merger.values, fragment.values, "")
    return Merged(merger.values, merger.origins, tuple(fragment.file for fragment in fragments), tuple(merger.errors))


def override(merged: Merged, section: str, key: str, value: str, origin: str) -> Merged:
    """The same with one value replaced; a section that is not a table stays, to be refused later."""
    present = merged.values.get(section, {})
    if not isinstance(present, dict):
        return merged
    values = {**merged.values, section: {**present, key: value}}
    origins = {section: origin, **merged.origins, join_path(section, key): origin}
    return Merged(values, origins, merged.files, merged.errors)


class _Merger:
    """The state of one merge: what there is so far, and the file that is being added."""

    def __init__(self) -> None:
        self.values: RawTable = {}
        self.origins: dict[str, str] = {}
        self.errors: list[ConfigError] = []
        self.file = ""

    def add_table(self, into: RawTable, new: Mapping[str, Any], path: str) -> None:
        for key, value in new.items():
            self._add(into, key, value, path)

    def _add(self, into: RawTable, key: str, value: object, path: str) -> None:
        here = join_path(path, key)
        present = into.get(key)
        if here == "policy" and _is_list_of_tables(value) and (present is None or _is_list_of_tables(present)):
            self.origins.setdefault(here, self.file)
            self._add_policies(into.setdefault(key, []), value)
        elif isinstance(present, dict) and isinstance(value, Mapping) and not _changes_type(path, present, value):
            self.add_table(present, value, here)
        else:
            self._forget(here)
            into[key] = copy.deepcopy(value)
            self._remember(here, value)

    def _add_policies(self, policies: list[RawTable], new: Iterable[RawTable]) -> None:
        places = {policy["name"]: index for index, policy in enumerate(policies) if isinstance(policy.get("name"), str)}
        here: set[str] = set()
        for policy in new:
            name = policy.get("name")
            if isinstance(name, str) and name in here:
                problem = "two policies of this name in one file"
                expected = "give each a name of its own, or make one policy of their stages"
                self.errors.append(ConfigError(self.file, join_path("policy", name), problem, expected))
            elif isinstance(name, str) and name in places:
                policies[places[name]] = copy.deepcopy(policy)
            else:
                policies.append(copy.deepcopy(policy))
            if isinstance(name, str):
                here.add(name)
            self._remember_policy(policies, policy)

    def _remember_policy(self, policies: Sequence[RawTable], policy: RawTable) -> None:
        path = item_path("policy", len(policies) - 1, policy)
        self._forget(path)
        self._remember(path, policy)

    def _remember(self, path: str, value: object) -> None:
        """Note the file of a value and of everything in it."""
        self.origins[path] = self.file
        if isinstance(value, Mapping):
            for key, inner in value.items():
                self._remember(join_path(path, key), inner)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, Mapping):
                    self._remember(item_path(path, index, item), item)

    def _forget(self, path: str) -> None:
        """Drop what was noted of a value that is about to be replaced."""
        for known in [known for known in self.origins if known == path or known.startswith((f"{path}.", f"{path}["))]:
            del self.origins[known]


def _is_list_of_tables(value: object) -> TypeGuard[list[RawTable]]:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def _changes_type(path: str, present: Mapping[str, object], new: Mapping[str, object]) -> bool:
    return path == "action" and "type" in new and "type" in present and new["type"] != present["type"]
