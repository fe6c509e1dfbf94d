# SPDX-License-Identifier: Apache-2.0
"""The exit status of an answer: whether it could be known, and whether it is bad news.

This file must not know how the answer is shown.
"""

from collections.abc import Sequence

from overlaywatch.cli.problem import Exit
from overlaywatch.cli.words import Level, is_bad_news, level_of_states
from overlaywatch.model import Tick, Verdict


def status_of_tick(tick: Tick) -> Exit:
    """Of a whole look: every layer counts, also a snapshot that is not mounted."""
    states = [reading.state for reading in tick.survey.readings.values()]
    return Exit.BAD_NEWS if level_of_states(states) >= Level.WARN else status_of_mounts(tick.verdicts, tick)


def status_of_mounts(verdicts: Sequence[Verdict], tick: Tick) -> Exit:
    """Of some mount points. Nothing to watch is an answer, unless a source failed to look."""
    if any(is_bad_news(verdict) for verdict in verdicts):
        return Exit.BAD_NEWS
    blind = any(not report.success for report in tick.survey.sources)
    known = any(verdict.headroom_bytes is not None for verdict in verdicts)
    return Exit.DONE if known or not (verdicts or blind) else Exit.CANNOT_KNOW
