# SPDX-License-Identifier: Apache-2.0
"""What `check` answers: verdicts and thresholds to one line and a status of monitoring plugins.

This file must not print. Statuses, ranges and performance data are those of the Monitoring Plugins
Development Guidelines: `80` alerts above 80, `67108864:` alerts below 67108864.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from overlaywatch.cli.plugin import plugin_line
from overlaywatch.cli.screen import printable
from overlaywatch.cli.words import BAD_RATIO, WARN_RATIO, Level, failure_in_short, is_bad_news, level_of_states
from overlaywatch.model import Verdict
from overlaywatch.units import format_ratio, format_size


class Status(IntEnum):
    """The exit statuses of a monitoring plugin."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


_WORST_FIRST: Final = (Status.CRITICAL, Status.WARNING, Status.UNKNOWN, Status.OK)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Used ratios (0 to 1) that must not be exceeded, headrooms (bytes) that must be left; None: not asked."""

    warning: float | None = None
    critical: float | None = None
    warning_headroom: int | None = None
    critical_headroom: int | None = None

    @property
    def or_default(self) -> "Thresholds":
        """These, or 80 % and 90 % if none at all was asked."""
        return Thresholds(WARN_RATIO, BAD_RATIO) if self == Thresholds() else self


@dataclass(frozen=True, slots=True)
class Finding:
    """What is found about one mount point: its status, and why in words."""

    verdict: Verdict
    status: Status
    why: str


def examine(verdict: Verdict, thresholds: Thresholds) -> Finding:
    """One mount point. What is unknown crosses no threshold, but an upper bound may prove that one is crossed."""
    if verdict.headroom_bytes == 0 or level_of_states(verdict.states) is Level.BAD:
        return Finding(verdict, Status.CRITICAL, f"takes no more data: {failure_in_short(verdict)}")
    for status, ratio, headroom in (
        (Status.CRITICAL, thresholds.critical, thresholds.critical_headroom),
        (Status.WARNING, thresholds.warning, thresholds.warning_headroom),
    ):
        crossed = ", ".join(_crossed(verdict, ratio, headroom))
        if crossed:
            return Finding(verdict, status, crossed)
    if is_bad_news(verdict):
        return Finding(verdict, Status.WARNING, "a layer needs attention, see 'overlaywatch explain'")
    return Finding(verdict, Status.OK, "") if _is_known(verdict, thresholds) else _unknown(verdict)


def _crossed(verdict: Verdict, ratio: float | None, headroom: int | None) -> Iterator[str]:
    if ratio is not None and verdict.used_ratio is not None and verdict.used_ratio > ratio:
        yield f"more than {format_ratio(ratio)} used"
    if ratio is not None and verdict.inodes_ratio is not None and verdict.inodes_ratio > ratio:
        yield f"{format_ratio(verdict.inodes_ratio)} of inodes used"
    at_most = verdict.headroom_at_most_bytes
    if headroom is not None and at_most is not None and at_most < headroom:
        yield f"less than {format_size(headroom)} left"


def _is_known(verdict: Verdict, thresholds: Thresholds) -> bool:
    asks_ratio = thresholds.warning is not None or thresholds.critical is not None
    return verdict.headroom_bytes is not None and (verdict.used_ratio is not None or not asks_ratio)


def _unknown(verdict: Verdict) -> Finding:
    if verdict.headroom_bytes is None:
        return Finding(verdict, Status.UNKNOWN, "headroom unknown, a layer cannot be read")
    return Finding(verdict, Status.UNKNOWN, "used ratio unknown, ask with --warning-headroom")


def overall(findings: Sequence[Finding]) -> Status:
    """The worst: CRITICAL, WARNING, UNKNOWN, OK; UNKNOWN if nothing was looked at."""
    present = {finding.status for finding in findings}
    return next((status for status in _WORST_FIRST if status in present), Status.UNKNOWN)


def render_check(findings: Sequence[Finding], thresholds: Thresholds) -> str:
    """The line of the plugin: the worst first, in words; then performance data of all mount points."""
    status = overall(findings)
    data = " ".join(part for finding in findings for part in _performance(finding.verdict, thresholds))
    return plugin_line(status.name, _summary(findings, status), data)


def _summary(findings: Sequence[Finding], status: Status) -> str:
    if not findings:
        return "nothing is watched here"
    if status is Status.OK:
        least = min(findings, key=lambda finding: finding.verdict.headroom_bytes or 0)
        others = f" (the least of {len(findings)} mount points)" if len(findings) > 1 else ""
        return _facts(least.verdict) + others
    bad = [finding for wanted in _WORST_FIRST[:3] for finding in findings if finding.status is wanted]
    return "; ".join(f"{_facts(finding.verdict)}: {finding.why}" for finding in bad)


def _facts(verdict: Verdict) -> str:
    point = verdict.mount.mount_point
    if verdict.headroom_bytes is None:
        return point
    used = "" if verdict.used_ratio is None else f", {format_ratio(verdict.used_ratio)} of {verdict.limit} used"
    return f"{point} {format_size(verdict.headroom_bytes)} left{used}"


def _performance(verdict: Verdict, thresholds: Thresholds) -> Iterator[str]:
    ratios = f"{_percent(thresholds.warning)};{_percent(thresholds.critical)};0;100"
    if verdict.used_ratio is not None:
        yield f"{_label(verdict, 'used')}={verdict.used_ratio * 100:.2f}%;{ratios}"
    if verdict.headroom_bytes is not None:
        least = f"{_at_least(thresholds.warning_headroom)};{_at_least(thresholds.critical_headroom)};0"
        yield f"{_label(verdict, 'headroom')}={verdict.headroom_bytes}B;{least}"
    if verdict.inodes_ratio is not None:
        yield f"{_label(verdict, 'inodes')}={verdict.inodes_ratio * 100:.2f}%;{ratios}"


def _label(verdict: Verdict, what: str) -> str:
    """A label in quotes; it may hold anything but quotes and equals signs."""
    name = printable(verdict.mount.mount_point)
    return f"'{name.translate(_NOT_IN_LABELS)} {what}'"


_NOT_IN_LABELS: Final = str.maketrans({"'": "_", "=": "_", "|": "_"})


def _percent(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio * 100:g}"


def _at_least(size: int | None) -> str:
    return "" if size is None else f"{size}:"
