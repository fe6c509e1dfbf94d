# SPDX-License-Identifier: Apache-2.0
"""The monitoring plugin: one line, and an exit status that never lies."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from overlaywatch.cli.check_rules import Finding, Status, Thresholds, examine, overall, render_check
from overlaywatch.config.errors import ConfigError, ConfigErrors
from overlaywatch.model import LayerState, Mount, Tick, Verdict
from overlaywatch.units import MIB
from tests.cli import ticks
from tests.cli.worlds import Stage

NUMBER = r"-?\d+(?:\.\d+)?"
METRIC = rf"'[^'=|]+'={NUMBER}(?:%|B);(?:{NUMBER}:?)?;(?:{NUMBER}:?)?;0(?:;100)?"
LINE = re.compile(rf"OVERLAYWATCH (OK|WARNING|CRITICAL|UNKNOWN): [^|\n]+(?: \| {METRIC}(?: {METRIC})*)?\n")


def root(tick: Tick) -> Verdict:
    """The verdict on `/`."""
    return tick.verdicts[0]


def said_by(stage: Stage) -> tuple[str, str]:
    """The text and the performance data."""
    assert LINE.fullmatch(stage.said), stage.said
    text, _, data = stage.said.rstrip("\n").partition(" | ")
    return text, data


@pytest.mark.parametrize(
    ("tick", "status", "text"),
    [
        (ticks.fresh, 0, "OK: / 63.4 MiB left, 0.6% of dm-snapshot:live-rw used (the least of 2 mount points)"),
        (ticks.filling, 1, "WARNING: / 9.8 MiB left, 84.6% of dm-snapshot:live-rw used: more than 80.0% used"),
        (
            ticks.overflowed,
            2,
            "CRITICAL: / 0 B left, 100.0% of dm-snapshot:live-rw used: takes no more data: read-only: reads go on",
        ),
        (ticks.invalid, 2, "CRITICAL: / 0 B left: takes no more data: dead root: reads fail too"),
        (ticks.unprivileged, 3, "UNKNOWN: /: headroom unknown, a layer cannot be read"),
        (ticks.nothing_watched, 3, "UNKNOWN: nothing is watched here"),
    ],
)
def test_check_without_thresholds(tick: Callable[[], Tick], status: int, text: str, tmp_path: Path) -> None:
    """80 % and 90 % by default; broken is critical, and what cannot be known is neither ok nor bad."""
    stage = Stage(tmp_path, tick)

    assert stage.run("check") == status
    assert said_by(stage)[0] == f"OVERLAYWATCH {text}"
    assert stage.complained == ""


def test_check_gives_performance_data(tmp_path: Path) -> None:
    """Used ratio, headroom and inodes, with the thresholds as ranges: above a ratio, below a size."""
    stage = Stage(tmp_path)

    assert stage.run("check", "/", "--warning", "75%", "--critical-headroom", "16MiB") == 0
    assert said_by(stage)[1] == (
        "'/ used'=0.62%;75;;0;100 '/ headroom'=66431573B;;16777216:;0 '/ inodes'=31.34%;75;;0;100"
    )


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--warning-headroom", "64MiB"), 1),
        (("--warning-headroom", "64MiB", "--critical-headroom", "63.5MiB"), 2),
        (("--warning-headroom", "63MiB"), 0),
        (("--warning", "0.5%", "--critical", "32%"), 1),
        (("--critical", "0.5%"), 2),
        (("--warning", "31%"), 1),  # inodes: 31.34 % used
    ],
)
def test_check_with_thresholds(words: tuple[str, ...], status: int, tmp_path: Path) -> None:
    """Any threshold that is crossed counts, the worst wins; inodes count as ratios do."""
    assert Stage(tmp_path).run("check", "/", *words) == status


def test_thresholds_that_were_asked_replace_the_defaults(tmp_path: Path) -> None:
    """Whoever asks only for headroom is not bothered with ratios: / is 84.6 % used here."""
    assert Stage(tmp_path, ticks.filling).run("check", "/", "--critical-headroom", "1MiB") == 0


def test_upper_bound_proves_that_there_is_too_little() -> None:
    """Where the headroom is unknown but surely less than asked for, that is bad, not unknown."""
    verdict = root(ticks.unprivileged())
    assert (verdict.headroom_bytes, verdict.headroom_at_most_bytes) == (None, 948 * MIB)

    assert examine(verdict, Thresholds(critical_headroom=949 * MIB)).status is Status.CRITICAL
    assert examine(verdict, Thresholds(critical_headroom=948 * MIB)).status is Status.UNKNOWN


def test_unknown_ratio_is_unknown_only_if_it_was_asked() -> None:
    """A hidden tmpfs tells how much is left, not how large it is."""
    verdict = replace(root(ticks.fresh()), used_ratio=None)

    assert examine(verdict, Thresholds(warning=0.8)).status is Status.UNKNOWN
    assert examine(verdict, Thresholds(warning_headroom=MIB)).status is Status.OK


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ((Status.OK, Status.UNKNOWN), Status.UNKNOWN),
        ((Status.UNKNOWN, Status.WARNING, Status.OK), Status.WARNING),
        ((Status.WARNING, Status.CRITICAL, Status.UNKNOWN), Status.CRITICAL),
        ((), Status.UNKNOWN),
    ],
)
def test_the_worst_of_several_wins(present: tuple[Status, ...], expected: Status) -> None:
    """Critical, warning, unknown, ok; nothing at all is unknown."""
    verdict = root(ticks.fresh())

    assert overall([Finding(verdict, status, "") for status in present]) is expected


def test_layer_that_needs_attention_is_a_warning() -> None:
    """Errors that ext4 has counted are told even while there is room."""
    errors = replace(root(ticks.fresh()), states=frozenset({LayerState.OK, LayerState.ERRORS}))

    assert examine(errors, Thresholds()).status is Status.WARNING


def test_mount_point_of_a_user_cannot_forge_the_line() -> None:
    """A bar would begin performance data, a quote would end a label, a line break the line."""
    mount = Mount("/mnt/a'b=c|d\ne", "tmpfs", "tmpfs", ticks.RUN_MOUNT.rests_on)
    verdict = replace(ticks.fresh().verdicts[1], mount=mount)

    line = render_check([examine(verdict, Thresholds())], Thresholds())

    assert LINE.fullmatch(f"{line}\n"), line


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--warning", "80"), "not a ratio"),
        (("--critical-headroom", "lots"), "not a size"),
        (("--warning", "90%", "--critical", "80%"), "never be told"),
        (("--warning-headroom", "1MiB", "--critical-headroom", "2MiB"), "never be told"),
        (("--nonsense",), "unrecognized arguments"),
        (("var",), "not an absolute path"),
    ],
)
def test_wrong_usage_is_unknown(words: tuple[str, ...], why: str, tmp_path: Path) -> None:
    """A monitoring system must not take a slip in its own configuration for a warning (1) or an alarm (2)."""
    stage = Stage(tmp_path)

    assert stage.run("check", *words) == 3
    assert re.search(why, said_by(stage)[0])


def broken() -> Tick:
    """A look that fails."""
    raise ConfigErrors([ConfigError("/etc/overlaywatch/overlaywatch.toml", "daemon", "expected | a table")])


def crashed() -> Tick:
    """A look that ends in a programming error."""
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("tick", "text"),
    [
        (broken, "the configuration is wrong: /etc/overlaywatch/overlaywatch.toml: daemon: expected / a table"),
        (crashed, "ZeroDivisionError"),
    ],
)
def test_whatever_goes_wrong_is_unknown(tick: Callable[[], Tick], text: str, tmp_path: Path) -> None:
    """Neither 78 nor a traceback (1, a warning to monitoring systems) comes out of check."""
    stage = Stage(tmp_path, tick)

    assert stage.run("check") == 3
    assert stage.said == f"OVERLAYWATCH UNKNOWN: {text}\n"
