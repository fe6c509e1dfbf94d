# SPDX-License-Identifier: Apache-2.0
"""Which mount point a person means: the one that they name, or the one that a path lies on.

This file must not touch a file system by itself: one that is dead would answer with an error, or never.
"""

import posixpath
from collections.abc import Callable, Sequence
from typing import Final

from overlaywatch.cli.problem import Exit, Problem
from overlaywatch.model import Mount, Tick, Verdict

NAME_ONE: Final = "name a mount point such as /, or a path on one"


def chosen(tick: Tick, path: str | None, resolve: Callable[[str], str]) -> tuple[Verdict, ...]:
    """The verdict on what `path` lies on; all verdicts without one. Raises Problem if that is not watched.

    `resolve` leads through symbolic links and raises FileNotFoundError for what is not there; it is asked
    for no mount point, so that a dead one is spoken of and not looked at.
    """
    if path is None:
        return tick.verdicts
    if not path.startswith("/"):
        raise Problem(path, "not an absolute path", NAME_ONE, Exit.USAGE)
    mount = mount_below(_resolved(path, tick.survey.mounts, resolve), tick.survey.mounts)
    found = [verdict for verdict in tick.verdicts if mount and verdict.mount.rests_on == mount.rests_on]
    exact = [verdict for verdict in found if mount and verdict.mount.mount_point == mount.mount_point]
    if not found:
        raise Problem(path, _why(mount), _what_is_watched(tick), Exit.CANNOT_KNOW)
    return tuple(exact or found[:1])


def _resolved(path: str, mounts: Sequence[Mount], resolve: Callable[[str], str]) -> str:
    if any(mount.mount_point == normal(path) for mount in mounts):
        return path
    try:
        return resolve(path)
    except FileNotFoundError:
        raise Problem(path, "no such file or directory", NAME_ONE, Exit.USAGE) from None


def normal(path: str) -> str:
    """The path without doubled slashes, `.` and `..`."""
    # normpath keeps two leading slashes, as POSIX allows them a meaning; Linux gives them none.
    return posixpath.normpath(f"/{path.lstrip('/')}")


def mount_below(path: str, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that holds the path: the longest mount point above it; the last one mounted there."""
    folder = normal(path)
    while True:
        found = [mount for mount in mounts if mount.mount_point == folder]
        if found:
            return found[-1]
        if folder == "/":
            return None
        folder = posixpath.dirname(folder)


def _why(mount: Mount | None) -> str:
    if mount is None:
        return "nothing is mounted there"
    kind = f"{mount.fstype}{', read-only' if mount.read_only else ''}"
    return f"not watched (it is on {mount.mount_point}, {kind})"


def _what_is_watched(tick: Tick) -> str:
    watched = ", ".join(verdict.mount.mount_point for verdict in tick.verdicts) or "nothing"
    return f"watched here: {watched}; '[watch] include' adds others"
