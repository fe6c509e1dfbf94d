# SPDX-License-Identifier: Apache-2.0
"""The five conditions of a stage: a threshold and what one look says, to true, false or unknown.

This file must not know what follows from a condition, or how long it has held.

Each answer carries its reason, for people and in figures. Unknown is not false: it comes from what
could not be read, and what is decided on it must not be what is decided on a healthy machine. But
unknown must not stand for ever where there is nothing to know: a file system that counts no inodes
has no full inode table, and a fill that no window justifies is no fill.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from overlaywatch.model import UNSURE, Failure, Forecast, LayerState, Verdict
from overlaywatch.units import format_duration, format_ratio, format_size


class Truth(StrEnum):
    """Three-valued logic, after Kleene."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether something is so, and why, in words and figures."""

    truth: Truth
    reason: str


def any_of(findings: Iterable[Finding]) -> Finding:
    """One that is true makes it true; else one that is unknown leaves it unknown; else it is false."""
    found = tuple(findings)
    for truth in (Truth.TRUE, Truth.UNKNOWN):
        reasons = [finding.reason for finding in found if finding.truth is truth]
        if reasons:
            return Finding(truth, "; ".join(reasons))
    return Finding(Truth.FALSE, "; ".join(finding.reason for finding in found) or "the stage has no condition")


def used_above(threshold: float, verdict: Verdict) -> Finding:
    """Whether the limit is used to more than a ratio."""
    used = verdict.used_ratio
    if used is None:
        return _unmeasured(verdict, "how much is used")
    return _compared(used > threshold, f"used {format_ratio(used)}", f"above {_percent(threshold)}", _limit(verdict))


def headroom_below(threshold: int, verdict: Verdict) -> Finding:
    """Whether less is left than a size. An upper bound may prove that, never the contrary."""
    left, at_most = verdict.headroom_bytes, verdict.headroom_at_most_bytes
    below = f"below {format_size(threshold)}"
    if left is not None:
        return _compared(left < threshold, f"headroom {format_size(left)}", below, _limit(verdict))
    if at_most is not None and at_most < threshold:
        return Finding(Truth.TRUE, f"headroom is at most {format_size(at_most)}, {below}")
    return _unmeasured(verdict, "the headroom")


def inodes_above(threshold: float, verdict: Verdict) -> Finding:
    """Whether more inodes are used than a ratio; false on file systems that count none."""
    used = verdict.inodes_ratio
    if used is not None:
        return _compared(used > threshold, f"inodes used {format_ratio(used)}", f"above {_percent(threshold)}")
    if verdict.states & UNSURE or not verdict.states:
        return Finding(Truth.UNKNOWN, "how many inodes are used is not known")
    return Finding(Truth.FALSE, "the file system does not count inodes")


def time_to_full_below(threshold: float, verdict: Verdict, forecast: Forecast) -> Finding:
    """Whether it is forecast to be full sooner than in so many seconds. What is not forecast is false.

    Unknown only while the fill rate itself is: without any headroom, and in the first minute of a history.
    """
    to_full, rate = forecast.time_to_full_seconds, forecast.fill_bytes_per_second
    if to_full is None:
        if rate is None:
            return _unmeasured(verdict, "the fill rate")
        return Finding(Truth.FALSE, f"filling at {format_size(int(rate))}/s, not forecast to be full")
    speed = f" at {format_size(int(rate))}/s" if rate else ""
    below = f"sooner than {format_duration(threshold)}"
    return _compared(to_full < threshold, f"time to full {format_duration(to_full)}{speed}", below)


def state_is(wanted: frozenset[LayerState], verdict: Verdict) -> Finding:
    """Whether a layer of the chain is in one of these states; unknown if the state of one cannot be told.

    UNKNOWN and UNREADABLE are not looked for here: see unsure_state_is.
    """
    wanted -= UNSURE
    met = verdict.states & wanted
    if met:
        return Finding(Truth.TRUE, f"state is {_names(met)}")
    if verdict.states & UNSURE or not verdict.states:
        unsure = _names(verdict.states) if verdict.states else "not known"
        return Finding(Truth.UNKNOWN, f"state is {unsure}: it may be {_names(wanted)}")
    return Finding(Truth.FALSE, f"state is {_names(verdict.states)}, not {_names(wanted)}")


def unsure_state_is(wanted: frozenset[LayerState], verdict: Verdict) -> Finding:
    """Whether the state of a layer of the chain cannot be told: a reason to tell somebody, and nothing else."""
    met = verdict.states & wanted & UNSURE
    if met:
        return Finding(Truth.TRUE, f"state is {_names(met)}")
    return Finding(Truth.FALSE, f"state is {_names(verdict.states) or 'not known'}, not {_names(wanted & UNSURE)}")


def _compared(so: bool, figure: str, bound: str, remark: str = "") -> Finding:
    truth, verb = (Truth.TRUE, "is") if so else (Truth.FALSE, "is not")
    return Finding(truth, f"{figure} {verb} {bound}{remark}")


def _unmeasured(verdict: Verdict, what: str) -> Finding:
    if verdict.failure is Failure.NONE:
        return Finding(Truth.FALSE, "it cannot overflow")
    return Finding(Truth.UNKNOWN, f"{what} is not known")


def _limit(verdict: Verdict) -> str:
    return f" (limit {verdict.limit})" if verdict.limit else ""


def _names(states: Iterable[LayerState]) -> str:
    return ", ".join(sorted(states))


def _percent(ratio: float) -> str:
    """A threshold as it was written: `70%`, not `70.0%`."""
    return f"{ratio * 100:.10g}%"
