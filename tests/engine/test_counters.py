# SPDX-License-Identifier: Apache-2.0
"""What the daemon counts about itself, as the frontend is told."""

from overlaywatch.engine.counters import Counters
from overlaywatch.model import SourceReport
from overlaywatch.schema import DaemonDocument
from tests.cli import ticks
from tests.frontend.support import daemon_document


def test_unknown_statuses_are_counted_over_all_looks() -> None:
    """A status line that no kernel prints counts in each look that meets it, by source."""
    counters = Counters(started_at=0.0)
    report = SourceReport("dm-snapshot", True, 0.001, unknown_statuses=2)
    for _ in range(3):
        counters.looked([report, SourceReport("ram", True, 0.001)])
    tick = ticks.tick_of((), (), (), (), sources=[report])
    assert counters.as_json(tick, ready=True)["sources"] == [
        {"source": "dm-snapshot", "success": True, "duration_seconds": 0.001, "unknown_statuses": 6}
    ]


def test_the_object_has_the_agreed_shape() -> None:
    """Every key that the frontend reads is there, and no other: schema.py says which."""
    counted = Counters(started_at=0.0).as_json(ticks.fresh(), ready=False)
    assert counted.keys() == DaemonDocument.__annotations__.keys() == daemon_document().keys()


def test_ticks_fall_into_buckets() -> None:
    """The histogram is cumulative, and its last bucket holds every tick."""
    counters = Counters(started_at=0.0)
    for seconds in (0.0004, 0.004, 0.004, 99.0):
        counters.tick_took(seconds)
    histogram = counters.as_json(ticks.fresh(), ready=True)["tick_histogram"]
    assert isinstance(histogram, dict)
    buckets = dict(histogram["buckets"])
    assert (buckets["0.0005"], buckets["0.005"], buckets["2.5"], buckets["+Inf"]) == (1, 3, 3, 4)
    assert (histogram["count"], histogram["sum"]) == (4, 0.0004 + 0.004 + 0.004 + 99.0)
