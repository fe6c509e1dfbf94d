# SPDX-License-Identifier: Apache-2.0
"""The kill switch: a file on /run that stops every action but alerts while it is there.

Must not know who wrote it. `{"until": <monotonic seconds> | null, …}`; a file that cannot be
understood means paused, because whoever wrote it wanted the daemon to hold still.
"""

import json
from pathlib import Path
from typing import Final

PAUSE_FILE: Final = "pause"


def is_paused(folder: Path, now: float) -> bool:
    """Whether the daemon is paused at the monotonic time `now`."""
    try:
        text = (folder / PAUSE_FILE).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return not expired(text, now)


def expired(text: str, now: float) -> bool:
    """Whether the pause that this text describes is over."""
    try:
        until = json.loads(text)["until"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return isinstance(until, int | float) and not isinstance(until, bool) and now >= until
