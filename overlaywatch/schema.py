# SPDX-License-Identifier: Apache-2.0
"""The shapes of what is shown: the status document, and what the engine counts about itself.

This file must not know how they are filled or sent. They are interfaces that strangers build on:
keys are added, never changed or dropped. Sizes are bytes, ratios 0 to 1, times seconds (`at` and
every `since` on the Unix clock); what is unknown is None, never 0 or -1.
"""

from typing import Final, TypedDict

DOCUMENT_VERSION: Final = 1

DetailValue = str | int | float | bool | None | list[str]


class HostEntry(TypedDict):
    """Which machine it is; `notes` says what could not be seen without privilege, and why."""

    hostname: str
    kernel: str
    boot_id: str
    privileged: bool
    notes: list[str]


class MountEntry(TypedDict):
    """A watched mount point. `headroom_at_most_bytes` holds even where a layer below is unknown."""

    mount_point: str
    fstype: str
    source: str
    read_only: bool
    live_system: str | None
    chain: list[str]
    headroom_bytes: int | None
    headroom_at_most_bytes: int | None
    limit: str | None
    failure: str | None
    states: list[str]
    used_ratio: float | None
    inodes_ratio: float | None
    reclaimable: bool
    fill_bytes_per_second: float | None
    time_to_full_seconds: float | None
    remedy: str


class LayerEntry(TypedDict):
    """A layer. `numbers_age_seconds` is how old its sizes are; `serves` lists watched mounts above it."""

    id: str
    kind: str
    state: str
    reason: str
    size_bytes: int | None
    used_bytes: int | None
    used_ratio: float | None
    headroom_bytes: int | None
    metadata_bytes: int | None
    pending_bytes: int | None
    swap_bytes: int
    inodes: int | None
    inodes_free: int | None
    numbers_age_seconds: float | None
    oversubscription_ratio: float | None
    reclaimable: bool
    cannot_overflow: bool
    failure: str
    device: str
    backed_by: list[str]
    mount_points: list[str]
    serves: list[str]
    details: dict[str, DetailValue]


class StageEntry(TypedDict):
    """A stage of a policy; `active` is None while unknown facts leave it open."""

    name: str
    active: bool | None
    since: float | None
    reason: str
    actions: list[str]


class PolicyEntry(TypedDict):
    """A policy as it stands for one mount point."""

    name: str
    mount_point: str
    stages: list[StageEntry]


class SourceEntry(TypedDict):
    """How a source did; `error` names what could not be read and the remedy."""

    source: str
    success: bool
    duration_seconds: float
    error: str
    unknown_statuses: int


class DecisionEntry(TypedDict):
    """What a policy called for in this look."""

    policy: str
    stage: str
    mount_point: str
    action: str
    reason: str


class OutcomeEntry(TypedDict):
    """What became of an action in this look."""

    action: str
    type: str
    outcome: str
    reason: str
    policy: str
    stage: str
    mount_point: str
    freed_bytes: int
    reusable_bytes: int
    took_seconds: float


class StatusDocument(TypedDict):
    """The whole; `at` is Unix seconds."""

    version: int
    at: float
    host: HostEntry
    paused: bool
    pace_seconds: float
    mounts: list[MountEntry]
    layers: list[LayerEntry]
    policies: list[PolicyEntry]
    sources: list[SourceEntry]
    decisions: list[DecisionEntry]
    outcomes: list[OutcomeEntry]


class TickHistogram(TypedDict):
    """How long ticks took: `buckets` are [upper bound in seconds or "+Inf", how many took at most so long]."""

    buckets: list[tuple[str, int]]
    sum: float
    count: int


class SourceCount(TypedDict):
    """How a source did in the last look; `unknown_statuses` counts over all looks what it did not understand."""

    source: str
    success: bool
    duration_seconds: float
    unknown_statuses: int


class DaemonDocument(TypedDict):
    """What the engine counts about itself; all counts are since `started_at` (Unix seconds).

    `decisions` are [policy, stage, action, count], `actions` [action, type, outcome, count], `freed`
    [action, bytes], `alerts` [receiver, outcome, count].
    """

    version: str
    python: str
    pid: int
    started_at: float
    ready: bool
    paused: bool
    pace_seconds: float
    last_tick: float
    tick_histogram: TickHistogram
    sources: list[SourceCount]
    decisions: list[tuple[str, str, str, int]]
    actions: list[tuple[str, str, str, int]]
    freed: list[tuple[str, int]]
    alerts: list[tuple[str, str, int]]
    config_hash: str
    config_last_reload_successful: bool
