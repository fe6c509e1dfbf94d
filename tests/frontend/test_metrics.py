# SPDX-License-Identifier: Apache-2.0
"""Metrics: every name of the contract, nothing that is unknown, and what Prometheus' own tools say of them."""

import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from overlaywatch.frontend.facts import Facts
from overlaywatch.frontend.metric_table import METRICS, Kind, number
from overlaywatch.frontend.metrics import OPENMETRICS_FORMAT, TEXT_FORMAT, Renderer, markdown, negotiate
from overlaywatch.model import Tick
from tests.cli import ticks
from tests.frontend.support import facts_of
from tests.tools import CHECKOUT, need

CONTRACT = {
    "mount_headroom_bytes": {"mount_point"},
    "mount_fill_bytes_per_second": {"mount_point"},
    "mount_time_to_full_seconds": {"mount_point"},
    "mount_limit_info": {"mount_point", "limit", "failure"},
    "mount_info": {"mount_point", "fstype", "live_system", "chain"},
    "layer_size_bytes": {"layer"},
    "layer_used_bytes": {"layer"},
    "layer_used_ratio": {"layer"},
    "layer_headroom_bytes": {"layer"},
    "layer_metadata_bytes": {"layer"},
    "layer_inodes": {"layer"},
    "layer_inodes_free": {"layer"},
    "layer_state": {"layer", "state"},
    "layer_pending_bytes": {"layer"},
    "layer_oversubscription_ratio": {"layer"},
    "layer_info": {"layer", "kind", "backed_by", "device"},
    "source_success": {"source"},
    "source_duration_seconds": {"source"},
    "tick_duration_seconds": set(),
    "last_tick_timestamp_seconds": set(),
    "pace_seconds": set(),
    "policy_stage_active": {"policy", "stage", "mount_point"},
    "decisions_total": {"policy", "stage", "action"},
    "actions_total": {"action", "type", "outcome"},
    "action_freed_bytes_total": {"action"},
    "alerts_total": {"receiver", "outcome"},
    "paused": set(),
    "config_info": {"hash"},
    "config_last_reload_successful": set(),
    "build_info": {"version", "python"},
}
MACHINES = [
    ticks.fresh, ticks.filling, ticks.overflowed, ticks.invalid, ticks.sparse, ticks.overlay_on_tmpfs,
    ticks.unprivileged, ticks.nothing_watched, ticks.many,
]  # fmt: skip

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def rendered(facts: Facts, accept: str = TEXT_FORMAT) -> str:
    """The exposition as text."""
    return Renderer().render(facts, accept)[0].decode()


def strictly(text: str) -> list[Metric]:
    """OpenMetrics, read by a parser that forgives nothing."""
    return list(parse_openmetrics(text))  # type: ignore[no-untyped-call]


def families_of(tick: Tick) -> list[Metric]:
    """What a scrape of this machine yields, parsed."""
    return list(parse_text(rendered(facts_of(tick))))


def series_of(tick: Tick) -> Series:
    """The same as a flat table; the prefix is taken off."""
    return {
        (sample.name.removeprefix("overlaywatch_"), frozenset(sample.labels.items())): sample.value
        for family in families_of(tick)
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float | None:
    """One value, or None if there is no such series."""
    return series.get((name, frozenset(labels.items())))


def test_every_metric_of_the_contract_exists() -> None:
    """Each name is there with exactly the promised labels."""
    table = {metric.name: set(metric.labels) for metric in METRICS}
    assert {name: table.get(name) for name in CONTRACT} == CONTRACT


def test_a_full_scrape_has_them_all() -> None:
    """A machine that has everything yields every metric of the table but those that it cannot have."""
    filling = ticks.filling()
    pending = replace(filling.survey.readings[ticks.EXT4_LAYER.id], pending_bytes=4096)
    readings = {**filling.survey.readings, pending.layer: pending}
    verdicts = tuple(replace(one, oversubscription={ticks.EXT4_LAYER.id: 1.5}) for one in filling.verdicts)
    tick = replace(filling, survey=replace(filling.survey, readings=readings), verdicts=verdicts)
    names = {name for name, _ in series_of(tick)}
    histogram = {f"tick_duration_seconds{suffix}" for suffix in ("_bucket", "_sum", "_count")}
    assert names == {metric.name for metric in METRICS} - {"tick_duration_seconds"} | histogram


def test_values_are_those_of_the_kernel() -> None:
    """Sectors become bytes, exactly; the state is one of all; the histogram is the engine's."""
    series = series_of(ticks.filling())
    layer = "dm-snapshot:live-rw"
    assert value(series, "layer_used_bytes", layer=layer) == 110_888 * 512
    assert value(series, "layer_size_bytes", layer=layer) == 131_072 * 512
    assert value(series, "layer_state", layer=layer, state="ok") == 1
    assert value(series, "layer_state", layer=layer, state="invalid") == 0
    assert value(series, "mount_time_to_full_seconds", mount_point="/") == 500
    assert value(series, "policy_stage_active", policy="root", stage="warn", mount_point="/") == 1
    assert value(series, "tick_duration_seconds_bucket", le="0.01") == 79
    assert value(series, "tick_duration_seconds_count") == 80
    assert value(series, "layer_info", layer=layer, kind="dm-snapshot", backed_by="ramfs:rootfs", device="253:1") == 1


def test_unknown_is_absent() -> None:
    """What cannot be read yields no series: no 0, no -1, no NaN."""
    series = series_of(ticks.unprivileged())
    assert value(series, "mount_headroom_bytes", mount_point="/") is None
    assert value(series, "mount_headroom_at_most_bytes", mount_point="/") is not None
    assert value(series, "mount_time_to_full_seconds", mount_point="/") is None
    for name in ("size_bytes", "used_bytes", "used_ratio", "headroom_bytes", "numbers_age_seconds"):
        assert value(series, f"layer_{name}", layer="dm-snapshot:live-rw") is None
    assert value(series, "layer_state", layer="dm-snapshot:live-rw", state="unreadable") == 1


@pytest.mark.parametrize("strange", [None, float("nan"), float("inf"), "5", [1]])
def test_no_strange_value_becomes_a_number(strange: object) -> None:
    """Only finite numbers are exported, whatever a document holds."""
    assert number(strange) is None


def test_a_stage_that_is_open_is_absent() -> None:
    """A stage of which it is not known whether it is active is neither 0 nor 1."""
    tick = ticks.filling()
    (stage,) = tick.stages
    series = series_of(replace(tick, stages=(replace(stage, active=None),)))
    assert not [name for name, _ in series if name == "policy_stage_active"]


def test_old_ticks_leave_only_the_daemon() -> None:
    """With no tick that can be believed, mounts and layers are absent and the daemon's own counts stay."""
    facts = replace(facts_of(ticks.filling()), status=None)
    names = {family.name for family in parse_text(rendered(facts))}
    assert "overlaywatch_last_tick_timestamp_seconds" in names
    assert not [name for name in names if name.startswith(("overlaywatch_mount", "overlaywatch_layer"))]


def test_before_the_first_tick_there_is_an_exposition() -> None:
    """A scrape that comes first is answered, with what the frontend knows of itself."""
    names = {family.name for family in parse_text(rendered(Facts()))}
    assert names == {"overlaywatch_frontend_start_time_seconds", "overlaywatch_http_connections"}


@pytest.mark.parametrize("machine", MACHINES)
def test_series_are_bounded(machine: Callable[[], Tick]) -> None:
    """At most 12 series for a mount point and 40 for a layer."""
    counts: Counter[tuple[str, str]] = Counter()
    for name, labels in series_of(machine()):
        if name.startswith("mount_"):
            counts["mount", dict(labels)["mount_point"]] += 1
        elif name.startswith("layer_"):
            counts["layer", dict(labels)["layer"]] += 1
    assert all(count <= {"mount": 12, "layer": 40}[kind] for (kind, _), count in counts.items())


@pytest.mark.parametrize("machine", MACHINES)
def test_both_formats_say_the_same(machine: Callable[[], Tick]) -> None:
    """OpenMetrics, parsed by its strict parser, holds the very samples of the text format."""
    facts = facts_of(machine())
    text = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(rendered(facts))
        for sample in family.samples
    }
    strict = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in strictly(rendered(facts, OPENMETRICS_FORMAT))
        for sample in family.samples
    }
    assert strict == text


def test_types_are_told() -> None:
    """Counters are counters and end in _total; information is a gauge in text and an info in OpenMetrics."""
    facts = facts_of(ticks.filling())
    text = {family.name: family.type for family in parse_text(rendered(facts))}
    assert text["overlaywatch_actions"] == "counter"
    assert text["overlaywatch_tick_duration_seconds"] == "histogram"
    strict = {family.name: family.type for family in strictly(rendered(facts, OPENMETRICS_FORMAT))}
    assert strict["overlaywatch_mount"] == "info"
    counters = [metric for metric in METRICS if metric.kind is Kind.COUNTER]
    assert counters
    assert all(metric.name.endswith("_total") == (metric.kind is Kind.COUNTER) for metric in METRICS)


def test_paths_that_are_no_utf8_are_shown() -> None:
    """A mount point of any bytes is a label that UTF-8 can hold, and two of them stay two."""
    tick = ticks.filling()
    paths = ('/a\udcff\n"\\', '/a\udcfe\n"\\')
    mounts = [replace(tick.verdicts[0], mount=replace(ticks.ROOT_MOUNT, mount_point=path)) for path in paths]
    text = rendered(facts_of(replace(tick, verdicts=tuple(mounts))))
    found = {
        sample.labels["mount_point"]
        for family in parse_text(text)
        if family.name == "overlaywatch_mount_headroom_bytes"
        for sample in family.samples
    }
    assert found == {'/a\\udcff\n"\\', '/a\\udcfe\n"\\'}


def test_a_series_comes_once() -> None:
    """Two entries with the same labels are one series: Prometheus would refuse the whole scrape."""
    tick = ticks.filling()
    text = rendered(facts_of(replace(tick, verdicts=tick.verdicts * 2)))
    lines = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines))


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("", TEXT_FORMAT),
        ("*/*", TEXT_FORMAT),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", TEXT_FORMAT),
        ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;q=0.4", OPENMETRICS_FORMAT),
        ("application/openmetrics-text;version=99.x", OPENMETRICS_FORMAT),
    ],
)
def test_two_formats_and_no_more(accept: str, answer: str) -> None:
    """Whatever is asked for, one of two renderings is given, and its content type says which."""
    assert negotiate(accept) == answer
    _, content_type = Renderer().render(Facts(), negotiate(accept))
    assert content_type.startswith(answer.partition(";")[0])
    assert content_type.isprintable()


@pytest.mark.parametrize("machine", MACHINES)
def test_promtool_has_nothing_to_say(machine: Callable[[], Tick]) -> None:
    """`promtool check metrics` finds no fault with names, types and help texts."""
    said = subprocess.run(
        [need("promtool"), "check", "metrics"],
        input=rendered(facts_of(machine())),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


def test_the_documentation_is_generated() -> None:
    """docs/metrics.md is what `python -m overlaywatch.frontend.metrics` prints: run it after a change."""
    assert Path(CHECKOUT, "docs", "metrics.md").read_text() == markdown()


def test_every_metric_is_explained() -> None:
    """Each metric stands in the document, with a help text that is a sentence."""
    text = markdown()
    for metric in METRICS:
        assert f"`overlaywatch_{metric.name}`" in text
        assert metric.help.endswith(".")
