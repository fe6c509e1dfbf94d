# SPDX-License-Identifier: Apache-2.0
"""Metrics as bytes: the table of metric_table.py through prometheus_client's registry and expositions.

This file must not know HTTP, time, or where the facts come from. `python -m overlaywatch.frontend.metrics`
prints docs/metrics.md.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from overlaywatch.frontend.facts import Facts, printable
from overlaywatch.frontend.metric_table import (
    DAEMON_METRICS,
    FRONTEND_METRICS,
    LAYER_METRICS,
    METRICS,
    MOUNT_METRICS,
    Kind,
    Labels,
    Metric,
)

PREFIX: Final = "overlaywatch_"
TEXT_FORMAT: Final = "text/plain;version=0.0.4"
OPENMETRICS_FORMAT: Final = "application/openmetrics-text;version=1.0.0"

_FAMILIES: Final = {Kind.GAUGE: GaugeMetricFamily, Kind.COUNTER: CounterMetricFamily, Kind.INFO: InfoMetricFamily}
_SUFFIXES: Final = {Kind.GAUGE: "", Kind.COUNTER: "_total", Kind.INFO: "_info", Kind.HISTOGRAM: ""}


class FactsCollector(Collector):
    """Yields the families of whatever facts it was last given."""

    def __init__(self) -> None:
        self.facts = Facts()

    def collect(self) -> Iterator[Family]:
        """Every family that has a value, in the order of the table."""
        for metric in METRICS:
            family = (
                _tick_histogram(self.facts, metric) if metric.kind is Kind.HISTOGRAM else _family(self.facts, metric)
            )
            if family.samples:
                yield family


def _family(facts: Facts, metric: Metric) -> Family:
    full_name = PREFIX + metric.name
    family: Family = _FAMILIES[metric.kind](full_name.removesuffix(_SUFFIXES[metric.kind]), metric.help)
    # A series that came twice would make Prometheus refuse the whole scrape: the last one wins.
    for labels, value in {_clean(labels): value for labels, value in metric.values(facts)}.items():
        family.add_sample(full_name, dict(zip(metric.labels, labels, strict=True)), value)
    return family


def _clean(labels: Labels) -> Labels:
    return tuple([printable(label) for label in labels])


def _tick_histogram(facts: Facts, metric: Metric) -> Family:
    family = HistogramMetricFamily(PREFIX + metric.name, metric.help)
    if facts.daemon:
        seen = facts.daemon["tick_histogram"]
        family.add_metric([], buckets=[(str(bound), count) for bound, count in seen["buckets"]], sum_value=seen["sum"])
    return family


class Renderer:
    """Facts to bytes, in one of two formats."""

    def __init__(self) -> None:
        self._collector = FactsCollector()
        self._registry = CollectorRegistry()
        self._registry.register(self._collector)

    def render(self, facts: Facts, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type; `accept` is what negotiate() answered."""
        self._collector.facts = facts
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


def negotiate(accept: str) -> str:
    """The format for an Accept header: OpenMetrics for who asks for it, else the text format.

    There are two answers and no more, so that no client can ask for ever new renderings.
    """
    return OPENMETRICS_FORMAT if "application/openmetrics-text" in accept.lower() else TEXT_FORMAT


# --- docs/metrics.md ------------------------------------------------------------------------------

_PREAMBLE: Final = """\
<!-- Generated: python -m overlaywatch.frontend.metrics > docs/metrics.md -->
# Metrics

`GET /metrics` answers in Prometheus' text format, or in OpenMetrics for who asks for it. A value that is not known
is absent: it is never 0, -1 or NaN. Sizes are bytes, ratios 0 to 1, times seconds. A mount point has at most
12 series and a layer at most 40. Names and labels change only with a new major version.
"""

_SECTIONS: Final = (
    ("Mount points", MOUNT_METRICS),
    ("Layers", LAYER_METRICS),
    ("The daemon", DAEMON_METRICS),
    ("The process that answers HTTP", FRONTEND_METRICS),
)


def markdown() -> str:
    """docs/metrics.md, whole."""
    return "\n".join([_PREAMBLE, *(_section(title, metrics) for title, metrics in _SECTIONS)])


def _section(title: str, metrics: Iterable[Metric]) -> str:
    rows = [
        f"| `{PREFIX}{metric.name}` | {metric.kind} | {_quoted(metric.labels)} | {metric.help} |" for metric in metrics
    ]
    return "\n".join([f"## {title}", "", "| metric | type | labels | meaning |", "|---|---|---|---|", *rows, ""])


def _quoted(labels: Labels) -> str:
    return ", ".join(f"`{label}`" for label in labels)


if __name__ == "__main__":
    sys.stdout.write(markdown())
