# SPDX-License-Identifier: Apache-2.0
"""Files and kernel command line to Settings: the one way in, for every verb and for each reload.

This file must not know any key. What is read, decided here once:

- A file that is named by `--config` is read alone: no drop-in, nothing of /etc. A run on a developer's
  machine is then the same everywhere.
- Else a file that is named by `overlaywatch.config=` is read alone, too. If it cannot be read, that is
  a warning: the ordinary files are read, and the actions are off.
- Else the ordinary files (see fragments.py).
- `overlaywatch.actions=` has the last word over all of them.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overlaywatch.config import bootwords
from overlaywatch.config.bootwords import BootWords, parse_boot_words
from overlaywatch.config.checked import CheckAction, check
from overlaywatch.config.errors import ConfigError, ConfigErrors
from overlaywatch.config.fragments import RawFile, find_files, read_raw
from overlaywatch.config.merge import Fragment, Merged, merge, override
from overlaywatch.config.parse import parse_fragment
from overlaywatch.config.settings import ActionsMode, Settings
from overlaywatch.config.spelling import printable

ROOT: Final = Path("/")


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything that was read, merged but not checked; `warnings` are lines for people."""

    merged: Merged
    warnings: tuple[str, ...] = ()


def load(
    root: Path = ROOT,
    boot_words: Sequence[str] = (),
    explicit: Path | None = None,
    *,
    check_action: CheckAction | None = None,
    skip_forbidden: bool = False,
) -> tuple[Settings, tuple[str, ...]]:
    """Settings and warnings. Raises ConfigErrors with all that is wrong; nothing else.

    `root` is where the ordinary files are looked for, `boot_words` the words of the kernel command line,
    `explicit` the file of `--config`. `skip_forbidden` is for verbs that change nothing and may run
    without privilege: a file that this user may not read becomes a warning.
    """
    gathered = gather(root, boot_words, explicit, skip_forbidden=skip_forbidden)
    settings, warnings = check(gathered.merged, check_action)
    return settings, gathered.warnings + warnings


def gather(
    root: Path = ROOT,
    boot_words: Sequence[str] = (),
    explicit: Path | None = None,
    *,
    skip_forbidden: bool = False,
) -> Gathered:
    """The merged text and warnings, for `config show`. Raises ConfigErrors for files that cannot be read as TOML."""
    boot = parse_boot_words(boot_words)
    pile = _Pile(skip_forbidden)
    if explicit is not None:
        pile.read([explicit])
    elif boot.config is None:
        pile.read_ordinary(root)
    else:
        boot = pile.read_named_at_boot(root, boot)
    merged = pile.merged()
    if boot.actions is not None:
        merged = override(merged, "daemon", "actions", boot.actions.value, bootwords.ORIGIN)
    return Gathered(merged, boot.warnings + tuple(pile.warnings))


class _Pile:
    """The files read so far, and what was wrong with them."""

    def __init__(self, skip_forbidden: bool) -> None:
        self._skip_forbidden = skip_forbidden
        self._fragments: list[Fragment] = []
        self._errors: list[ConfigError] = []
        self.warnings: list[str] = []

    def read_ordinary(self, root: Path) -> None:
        try:
            files = find_files(root)
        except OSError as error:
            self._refuse(error, root)
        else:
            self.read(files)

    def read_named_at_boot(self, root: Path, boot: BootWords) -> BootWords:
        """Read the file of `overlaywatch.config=`, or the ordinary ones with actions off."""
        path = root / (boot.config or "").lstrip("/")
        try:
            self._add(read_raw(path))
        except OSError as error:
            self.read_ordinary(root)
            text = f"{bootwords.ORIGIN}: overlaywatch.config: {_sentence(error, path)}"
            warning = f"{text}; the ordinary files are read instead, and actions are off"
            return BootWords(ActionsMode.OFF, None, (*boot.warnings, warning))
        return boot

    def read(self, files: Sequence[Path]) -> None:
        for path in files:
            try:
                self._add(read_raw(path))
            except OSError as error:
                self._refuse(error, path)

    def merged(self) -> Merged:
        """All together; raises ConfigErrors if any of them cannot be read: half of them could say the opposite."""
        if self._errors:
            raise ConfigErrors(self._errors)
        return merge(self._fragments)

    def _add(self, raw: RawFile) -> None:
        if raw.writable_by_all:
            self.warnings.append(f"{raw.file}: everybody may write this file, and so decide what runs here; chmod o-w")
        try:
            self._fragments.append(parse_fragment(raw.file, raw.data))
        except ConfigErrors as error:
            self._errors += error.errors

    def _refuse(self, error: OSError, path: Path) -> None:
        file = printable(str(error.filename or path))
        if self._skip_forbidden and isinstance(error, PermissionError):
            self.warnings.append(f"{file}: skipped: {_reason(error)}; run as root to have it read")
        else:
            self._errors.append(ConfigError(file, "", f"cannot be read: {_reason(error)}", _remedy(error)))


def _remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "run as root, or let it be read"
    if isinstance(error, FileNotFoundError):
        return "name a file that is there"
    if isinstance(error, NotADirectoryError):
        return "expected a folder"
    return "expected a regular file of 1 MiB at most"


def _reason(error: OSError) -> str:
    return error.strerror or os.strerror(error.errno or 0)


def _sentence(error: OSError, path: Path) -> str:
    return f"{printable(str(error.filename or path))} cannot be read: {_reason(error)}"
