# SPDX-License-Identifier: Apache-2.0
"""What the configuration leaves unsaid: every setting that is in force because nobody has said otherwise.

This file must not know any key: which defaults there are is what tables were asked for and did not have.
"""

from collections.abc import Mapping
from typing import Any, Final

from overlaywatch.config.merge import Merged
from overlaywatch.config.spelling import item_path, join_path

ORIGIN: Final = "default"
"""Where such a value comes from, in the place of a file."""

Defaults = Mapping[str, Mapping[str, object]]
"""Key path of a table -> its keys that are not written, and their values as they could be; None: a table of such."""


def complete(merged: Merged, defaults: Defaults) -> Merged:
    """The same with all defaults written out."""
    origins = dict(merged.origins)
    return Merged(_completed(merged.values, "", defaults, origins), origins, merged.files, merged.errors)


def _completed(table: Mapping[str, Any], path: str, defaults: Defaults, origins: dict[str, str]) -> dict[str, Any]:
    whole = {key: _within(value, join_path(path, key), defaults, origins) for key, value in table.items()}
    for key, value in defaults.get(path, {}).items():
        here = join_path(path, key)
        filled = _completed({}, here, defaults, origins) if value is None else value
        if key not in table and (filled or value is not None):
            whole[key] = filled
            origins[here] = ORIGIN
    return whole


def _within(value: object, path: str, defaults: Defaults, origins: dict[str, str]) -> object:
    if isinstance(value, Mapping):
        return _completed(value, path, defaults, origins)
    if isinstance(value, list):
        return [
            _completed(item, item_path(path, index, item), defaults, origins) if isinstance(item, Mapping) else item
            for index, item in enumerate(value)
        ]
    return value
