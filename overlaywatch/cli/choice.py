# SPDX-License-Identifier: Apache-2.0
"""Which mount point a person means: the one that they name, or the one that a path lies on.

This file must not touch a file system: one that is dead would answer with an error, or never.
"""

import posixpath
from collections.abc import Sequence

from overlaywatch.cli.problem import Exit, Problem
from overlaywatch.model import Mount, Tick, Verdict


def chosen(tick: Tick, path: str | None) -> tuple[Verdict, ...]:
    """The verdict on what `path` lies on; all verdicts without one. Raises Problem if that is not watched."""
    if path is None:
        return tick.verdicts
    if not path.startswith("/"):
        raise Problem(path, "not an absolute path", "name a mount point such as /, or a path on one", Exit.USAGE)
    mount = mount_below(path, tick.survey.mounts)
    found = [verdict for verdict in tick.verdicts if mount and verdict.mount.rests_on == mount.rests_on]
    exact = [verdict for verdict in found if mount and verdict.mount.mount_point == mount.mount_point]
    if not found:
        raise Problem(path, _why(mount), _what_is_watched(tick), Exit.CANNOT_KNOW)
    return tuple(exact or found[:1])


def mount_below(path: str, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that holds the path: the longest mount point above it; the last one mounted there."""
    # normpath keeps two leading slashes, as POSIX allows them a meaning; Linux gives them none.
    folder = posixpath.normpath(f"/{path.lstrip('/')}")
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
