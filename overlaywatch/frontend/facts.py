# SPDX-License-Identifier: Apache-2.0
"""What a page or a rendering of metrics is made from: the last tick, and the frontend's own counts.

This file must not know any format. Numbers that are too old are left out here, for all formats at
once: an engine that hangs must not leave an old headroom standing as if it were true.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from overlaywatch.schema import DaemonDocument, StatusDocument

LEAST_SECONDS_TO_STALE: Final = 60.0


@dataclass(frozen=True, slots=True)
class OwnCounts:
    """What the frontend counts about itself since it was forked."""

    started_at: float = 0.0
    connections: int = 0
    requests: Mapping[int, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    pending: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """`status` is None before the first tick and when the last one is too old; `daemon` before the first."""

    status: StatusDocument | None = None
    daemon: DaemonDocument | None = None
    own: OwnCounts = OwnCounts()


def is_stale(age_seconds: float, pace_seconds: float) -> bool:
    """Whether a tick is too old to be believed: five looks were missed, and a minute has passed."""
    return age_seconds > max(LEAST_SECONDS_TO_STALE, 5 * pace_seconds)


def printable(text: str) -> str:
    """Text that UTF-8 can hold: bytes of a path that are no UTF-8 are shown as backslash escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
