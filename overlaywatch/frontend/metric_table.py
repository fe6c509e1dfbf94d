# SPDX-License-Identifier: Apache-2.0
"""Every metric: its name, what it means, and where its values come from. One entry adds one.

This file must not know the exposition formats. Names and labels are an interface that dashboards and
alert rules build on. A value that is not known is not yielded; 0 and NaN never stand for it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from overlaywatch.frontend.facts import Facts
from overlaywatch.model import LayerState

Labels = tuple[str, ...]
Values = Iterable[tuple[Labels, float]]


class Kind(StrEnum):
    """The types of Prometheus that are used."""

    GAUGE = "gauge"
    COUNTER = "counter"
    INFO = "info"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family; `name` is without the prefix and as it is queried (`_total`, `_info` included)."""

    name: str
    kind: Kind
    labels: Labels
    help: str
    values: Callable[[Facts], Values]


# --- where values come from -----------------------------------------------------------------------


def number(value: object) -> float | None:
    """A finite number of a document, or None."""
    if not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _entries(entries: Iterable[Mapping[str, object]], label: str, key: str) -> Iterator[tuple[Labels, float]]:
    for entry in entries:
        value = number(entry.get(key))
        if value is not None:
            yield (str(entry[label]),), value


def _mounts(key: str) -> Callable[[Facts], Values]:
    return lambda facts: _entries(facts.status["mounts"], "mount_point", key) if facts.status else ()


def _layers(key: str) -> Callable[[Facts], Values]:
    return lambda facts: _entries(facts.status["layers"], "id", key) if facts.status else ()


def _sources(key: str) -> Callable[[Facts], Values]:
    return lambda facts: _entries(facts.daemon["sources"], "source", key) if facts.daemon else ()


def _daemon(key: str) -> Callable[[Facts], Values]:
    def values(facts: Facts) -> Iterator[tuple[Labels, float]]:
        value = number(facts.daemon.get(key)) if facts.daemon else None
        if value is not None:
            yield (), value

    return values


def _counts(key: str) -> Callable[[Facts], Values]:
    """Rows of label values and a count at the end."""

    def values(facts: Facts) -> Iterator[tuple[Labels, float]]:
        rows = facts.daemon.get(key) if facts.daemon else None
        for *labels, count in rows if isinstance(rows, list) else ():
            yield tuple(map(str, labels)), float(count)

    return values


def _mount_info(facts: Facts) -> Iterator[tuple[Labels, float]]:
    for mount in facts.status["mounts"] if facts.status else ():
        yield (mount["mount_point"], mount["fstype"], mount["live_system"] or "", ",".join(mount["chain"])), 1.0


def _limit_info(facts: Facts) -> Iterator[tuple[Labels, float]]:
    for mount in facts.status["mounts"] if facts.status else ():
        if mount["limit"] is not None and mount["failure"] is not None:
            yield (mount["mount_point"], mount["limit"], mount["failure"]), 1.0


def _layer_info(facts: Facts) -> Iterator[tuple[Labels, float]]:
    for layer in facts.status["layers"] if facts.status else ():
        yield (layer["id"], layer["kind"], ",".join(layer["backed_by"]), layer["device"]), 1.0


def _layer_state(facts: Facts) -> Iterator[tuple[Labels, float]]:
    for layer in facts.status["layers"] if facts.status else ():
        name, current = layer["id"], layer["state"]
        for state in _STATES:
            yield (name, state), 1.0 if state == current else 0.0


def _stages(facts: Facts) -> Iterator[tuple[Labels, float]]:
    for policy in facts.status["policies"] if facts.status else ():
        for stage in policy["stages"]:
            if stage["active"] is not None:
                yield (policy["name"], stage["name"], policy["mount_point"]), float(stage["active"])


def _config_info(facts: Facts) -> Iterator[tuple[Labels, float]]:
    if facts.daemon:
        yield (facts.daemon["config_hash"],), 1.0


def _build_info(facts: Facts) -> Iterator[tuple[Labels, float]]:
    if facts.daemon:
        yield (facts.daemon["version"], facts.daemon["python"]), 1.0


def _one(value: float) -> Values:
    return (((), value),)


_STATES: Final = tuple(str(state) for state in LayerState)
_MOUNT: Final = ("mount_point",)
_LAYER: Final = ("layer",)
_SOURCE: Final = ("source",)
_STAGE: Final = ("policy", "stage", "mount_point")
_GAUGE, _COUNTER, _INFO = Kind.GAUGE, Kind.COUNTER, Kind.INFO

# --- the table ------------------------------------------------------------------------------------

MOUNT_METRICS: Final = (
    Metric(
        "mount_headroom_bytes",
        _GAUGE,
        _MOUNT,
        "Bytes of new data that can still be written before the first layer below gives way; never more than the "
        "truth. Absent while a layer below cannot be read.",
        _mounts("headroom_bytes"),
    ),
    Metric(
        "mount_headroom_at_most_bytes",
        _GAUGE,
        _MOUNT,
        "Upper bound of the headroom, from the layers that can be read. Good to alert on when it is low; it proves "
        "nothing when it is high.",
        _mounts("headroom_at_most_bytes"),
    ),
    Metric(
        "mount_used_ratio",
        _GAUGE,
        _MOUNT,
        "Use of the layer that limits the mount point, from 0 to 1: what used_above of a policy is compared with.",
        _mounts("used_ratio"),
    ),
    Metric(
        "mount_inodes_used_ratio",
        _GAUGE,
        _MOUNT,
        "Used inodes, from 0 to 1: what inodes_above of a policy is compared with.",
        _mounts("inodes_ratio"),
    ),
    Metric(
        "mount_fill_bytes_per_second",
        _GAUGE,
        _MOUNT,
        "How fast the headroom shrinks. Absent until enough was seen to justify a figure.",
        _mounts("fill_bytes_per_second"),
    ),
    Metric(
        "mount_time_to_full_seconds",
        _GAUGE,
        _MOUNT,
        "Seconds until the headroom is used up at the present rate; 0 when full. Absent while not forecast.",
        _mounts("time_to_full_seconds"),
    ),
    Metric("mount_read_only", _GAUGE, _MOUNT, "1 if it is mounted read-only.", _mounts("read_only")),
    Metric(
        "mount_limit_info",
        _INFO,
        ("mount_point", "limit", "failure"),
        "The layer that gives way first, and what a writer meets then: enospc, read_only, dead_root (reads fail too), "
        "oom, io_error, none.",
        _limit_info,
    ),
    Metric(
        "mount_info",
        _INFO,
        ("mount_point", "fstype", "live_system", "chain"),
        "The layers below the mount point, top first, separated by commas.",
        _mount_info,
    ),
)

LAYER_METRICS: Final = (
    Metric(
        "layer_size_bytes",
        _GAUGE,
        _LAYER,
        "Size of the layer. If its state carries no numbers, the last ones are kept: see their age.",
        _layers("size_bytes"),
    ),
    Metric("layer_used_bytes", _GAUGE, _LAYER, "How much of the layer is used.", _layers("used_bytes")),
    Metric(
        "layer_used_ratio",
        _GAUGE,
        _LAYER,
        "Use over what ordinary users can use, as df shows it: 1 at ENOSPC; above 1 if shrunk below its use.",
        _layers("used_ratio"),
    ),
    Metric(
        "layer_headroom_bytes",
        _GAUGE,
        _LAYER,
        "New data that the layer itself can still take, whatever is left below it.",
        _layers("headroom_bytes"),
    ),
    Metric("layer_metadata_bytes", _GAUGE, _LAYER, "Part of the use that is metadata.", _layers("metadata_bytes")),
    Metric(
        "layer_pending_bytes",
        _GAUGE,
        _LAYER,
        "Dirty data that is written to the layer and not yet counted by those below it.",
        _layers("pending_bytes"),
    ),
    Metric("layer_inodes", _GAUGE, _LAYER, "Inodes of the file system.", _layers("inodes")),
    Metric("layer_inodes_free", _GAUGE, _LAYER, "Free inodes of the file system.", _layers("inodes_free")),
    Metric(
        "layer_numbers_age_seconds",
        _GAUGE,
        _LAYER,
        "How old the sizes of the layer were in the last look; above 0 when its state carries no numbers any more.",
        _layers("numbers_age_seconds"),
    ),
    Metric(
        "layer_oversubscription_ratio",
        _GAUGE,
        _LAYER,
        "What is still promised over what is left below the layer, or of ram itself; above 1 it cannot be kept.",
        _layers("oversubscription_ratio"),
    ),
    Metric("layer_reclaimable", _GAUGE, _LAYER, "1 if deleting files gives room back.", _layers("reclaimable")),
    Metric(
        "layer_cannot_overflow",
        _GAUGE,
        _LAYER,
        "1 if the layer can take everything that can ever be written above it.",
        _layers("cannot_overflow"),
    ),
    Metric("layer_state", _GAUGE, ("layer", "state"), "1 for the state that the layer is in.", _layer_state),
    Metric(
        "layer_info",
        _INFO,
        ("layer", "kind", "backed_by", "device"),
        "What the layer is, the layers directly below it (separated by commas), and its device.",
        _layer_info,
    ),
)

DAEMON_METRICS: Final = (
    Metric("source_success", _GAUGE, _SOURCE, "1 if the source could read what it is for.", _sources("success")),
    Metric(
        "source_duration_seconds",
        _GAUGE,
        _SOURCE,
        "How long the source took in the last look.",
        _sources("duration_seconds"),
    ),
    Metric(
        "source_unknown_statuses_total",
        _COUNTER,
        _SOURCE,
        "Status lines, over all looks, that no known kernel prints. Please report them with the layer's details.",
        _sources("unknown_statuses"),
    ),
    Metric(
        "tick_duration_seconds",
        Kind.HISTOGRAM,
        (),
        "How long looks took, from reading the kernel to the last decision.",
        lambda _facts: (),  # buckets are no plain values: see metrics.py
    ),
    Metric(
        "last_tick_timestamp_seconds",
        _GAUGE,
        (),
        "When the last look was taken. Metrics of mounts and layers are as of then, not of the scrape, and vanish "
        "when it is too old.",
        _daemon("last_tick"),
    ),
    Metric("pace_seconds", _GAUGE, (), "Time to the next look; shorter as headroom shrinks.", _daemon("pace_seconds")),
    Metric("start_time_seconds", _GAUGE, (), "When the daemon was started.", _daemon("started_at")),
    Metric("ready", _GAUGE, (), "1 once the first look is done.", _daemon("ready")),
    Metric(
        "policy_stage_active",
        _GAUGE,
        _STAGE,
        "1 while the stage is active. Absent while what is not known leaves it open.",
        _stages,
    ),
    Metric(
        "decisions_total",
        _COUNTER,
        ("policy", "stage", "action"),
        "Actions that policies called for.",
        _counts("decisions"),
    ),
    Metric(
        "actions_total",
        _COUNTER,
        ("action", "type", "outcome"),
        "Actions by what became of them: applied, refused, dry_run, failed.",
        _counts("actions"),
    ),
    Metric(
        "action_freed_bytes_total",
        _COUNTER,
        ("action",),
        "Room that actions really gave back to the limit.",
        _counts("freed"),
    ),
    Metric(
        "alerts_total",
        _COUNTER,
        ("receiver", "outcome"),
        "Notifications that arrived (applied) or began to fail (failed), by receiver.",
        _counts("alerts"),
    ),
    Metric("paused", _GAUGE, (), "1 while nothing is done but alerts: overlaywatch resume ends it.", _daemon("paused")),
    Metric("config_info", _INFO, ("hash",), "The configuration in use, by its hash.", _config_info),
    Metric(
        "config_last_reload_successful",
        _GAUGE,
        (),
        "0 if the last reload was refused, and the settings before it are in use.",
        _daemon("config_last_reload_successful"),
    ),
    Metric("build_info", _INFO, ("version", "python"), "Versions of overlaywatch and of Python.", _build_info),
)

FRONTEND_METRICS: Final = (
    Metric(
        "frontend_start_time_seconds",
        _GAUGE,
        (),
        "When the process that answers HTTP was forked; later than the daemon's start if it had to be replaced.",
        lambda facts: _one(facts.own.started_at),
    ),
    Metric(
        "http_connections", _GAUGE, (), "Clients that are connected.", lambda facts: _one(float(facts.own.connections))
    ),
    Metric(
        "http_requests_total",
        _COUNTER,
        ("code",),
        "Answers by status, since the frontend was started.",
        lambda facts: (((str(code),), float(count)) for code, count in sorted(facts.own.requests.items())),
    ),
    Metric(
        "http_dropped_total",
        _COUNTER,
        ("reason",),
        "Connections that were closed from here, since the frontend was started: too_many, no_descriptor, "
        "no_request, slow_reader, not_closing.",
        lambda facts: (((reason,), float(count)) for reason, count in sorted(facts.own.dropped.items())),
    ),
    Metric(
        "alerts_pending",
        _GAUGE,
        ("receiver",),
        "Notifications that have not reached every URL of their receiver yet.",
        lambda facts: (((receiver,), float(count)) for receiver, count in sorted(facts.own.pending.items())),
    ),
)

METRICS: Final = MOUNT_METRICS + LAYER_METRICS + DAEMON_METRICS + FRONTEND_METRICS
