# SPDX-License-Identifier: Apache-2.0
"""One Tick as the document that `status --json` prints and `GET /api/v1/status` serves.

This file must not know who asks for it, how it is sent, or what time it is. Its shapes are an
interface that strangers build on: keys are added, never changed or dropped. Sizes are bytes, ratios
0 to 1, times seconds (`at` and every `since` on the Unix clock); what is unknown is None.
"""

from typing import Final, TypedDict

from overlaywatch.model import (
    NO_FORECAST,
    Decision,
    Forecast,
    Layer,
    LayerId,
    Outcome,
    Reading,
    Ref,
    StageStatus,
    Survey,
    Tick,
    Verdict,
)

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


class DocumentCache:
    """What the last document was made from, so that a layer that did not change costs next to nothing.

    Kept by the caller between ticks and passed in; two callers must not share one. An entry is used
    again only for the very same Layer and Reading objects, never for equal-looking ids.
    """

    __slots__ = ("backing", "entries", "layers", "links")

    def __init__(self) -> None:
        self.layers: tuple[Layer, ...] = ()
        self.links: tuple[tuple[Ref, tuple[Ref, ...]], ...] = ()
        self.backing: dict[LayerId, list[str]] = {}
        self.entries: dict[LayerId, tuple[Layer, Reading | None, LayerEntry]] = {}


def status_document(tick: Tick, cache: DocumentCache | None = None) -> StatusDocument:
    """The document of one tick; only new lists and dicts at its first two levels, safe to send at leisure.

    With a cache, lists inside an unchanged layer's entry are shared with earlier documents: read them.
    """
    survey = tick.survey
    return {
        "version": DOCUMENT_VERSION,
        "at": tick.unix_time,
        "host": _host(tick),
        "paused": tick.paused,
        "pace_seconds": tick.pace_seconds,
        "mounts": [_mount(v, tick.forecasts.get(v.mount.mount_point, NO_FORECAST)) for v in tick.verdicts],
        "layers": _layers(tick, cache or DocumentCache()),
        "policies": _policies(tick),
        "sources": [
            {
                "source": report.source,
                "success": report.success,
                "duration_seconds": report.duration_seconds,
                "error": report.error,
                "unknown_statuses": report.unknown_statuses,
            }
            for report in survey.sources
        ],
        "decisions": [_decision(decision) for decision in tick.decisions],
        "outcomes": [_outcome(outcome) for outcome in tick.outcomes],
    }


def _host(tick: Tick) -> HostEntry:
    host = tick.host
    return {
        "hostname": host.hostname,
        "kernel": host.kernel,
        "boot_id": host.boot_id,
        "privileged": host.privileged,
        "notes": list(host.notes),
    }


def _mount(verdict: Verdict, forecast: Forecast) -> MountEntry:
    mount = verdict.mount
    return {
        "mount_point": mount.mount_point,
        "fstype": mount.fstype,
        "source": mount.source,
        "read_only": mount.read_only,
        "live_system": verdict.live_system,
        "chain": list(verdict.chain),
        "headroom_bytes": verdict.headroom_bytes,
        "headroom_at_most_bytes": verdict.headroom_at_most_bytes,
        "limit": verdict.limit,
        "failure": verdict.failure.value if verdict.failure else None,
        "states": sorted(state.value for state in verdict.states),
        "used_ratio": verdict.used_ratio,
        "inodes_ratio": verdict.inodes_ratio,
        "reclaimable": verdict.reclaimable,
        "fill_bytes_per_second": forecast.fill_bytes_per_second,
        "time_to_full_seconds": forecast.time_to_full_seconds,
        "remedy": verdict.remedy,
    }


def _layers(tick: Tick, cache: DocumentCache) -> list[LayerEntry]:
    survey = tick.survey
    backing = _backing(survey, cache)
    serves, ratios = _seen_from_above(tick.verdicts)
    old, entries = cache.entries, {}
    found: list[LayerEntry] = []
    for layer in survey.layers:
        reading = survey.readings.get(layer.id)
        known = old.get(layer.id)
        if known is None or known[0] is not layer or known[1] is not reading:
            known = (layer, reading, _layer(layer, reading))
        entries[layer.id] = known
        entry = known[2].copy()
        # These four depend on more than the layer and its reading, so no cache may hold them.
        entry["backed_by"] = backing.get(layer.id, [])
        entry["serves"] = serves.get(layer.id, [])
        entry["oversubscription_ratio"] = ratios.get(layer.id)
        entry["numbers_age_seconds"] = _age(reading, tick.now)
        found.append(entry)
    cache.entries = entries
    return found


def _layer(layer: Layer, reading: Reading | None) -> LayerEntry:
    """The part of an entry that the layer and its reading alone decide. No reading: state `unknown`."""
    return {
        "id": layer.id,
        "kind": layer.kind.value,
        "state": reading.state.value if reading else "unknown",
        "reason": reading.reason if reading else "not read in this look",
        "size_bytes": reading.size_bytes if reading else None,
        "used_bytes": reading.used_bytes if reading else None,
        "used_ratio": reading.used_ratio if reading else None,
        "headroom_bytes": reading.headroom_bytes if reading else None,
        "metadata_bytes": reading.metadata_bytes if reading else None,
        "pending_bytes": reading.pending_bytes if reading else None,
        "swap_bytes": reading.swap_bytes if reading else 0,
        "inodes": reading.inodes if reading else None,
        "inodes_free": reading.inodes_free if reading else None,
        "numbers_age_seconds": None,
        "oversubscription_ratio": None,
        "reclaimable": layer.reclaimable,
        "cannot_overflow": reading.cannot_overflow if reading else False,
        "failure": layer.failure.value,
        "device": layer.device,
        "backed_by": [],
        "mount_points": list(layer.mount_points),
        "serves": [],
        "details": _details(layer, reading),
    }


def _details(layer: Layer, reading: Reading | None) -> dict[str, DetailValue]:
    """Facts that stay, then the figures of this look."""
    both = {**layer.details, **(reading.details if reading else {})}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in both.items()}


def _age(reading: Reading | None, now: float) -> float | None:
    """Seconds since the sizes were read; None if there are none."""
    if reading is None or (reading.size_bytes is None and reading.used_bytes is None):
        return None
    read_at = reading.at if reading.numbers_at is None else reading.numbers_at
    return max(now - read_at, 0.0)


def _seen_from_above(verdicts: tuple[Verdict, ...]) -> tuple[dict[LayerId, list[str]], dict[LayerId, float]]:
    """For each layer: the watched mount points above it, and the worst oversubscription among them."""
    serves: dict[LayerId, list[str]] = {}
    ratios: dict[LayerId, float] = {}
    for verdict in verdicts:
        for layer in verdict.chain:
            serves.setdefault(layer, []).append(verdict.mount.mount_point)
        for layer, ratio in verdict.oversubscription.items():
            ratios[layer] = max(ratio, ratios.get(layer, ratio))
    return serves, ratios


def _backing(survey: Survey, cache: DocumentCache) -> dict[LayerId, list[str]]:
    """Each layer's next layers below, links (loops, dm-linear) seen through; worked out again only on change."""
    links = tuple((link.provides, link.rests_on) for link in survey.links)
    # Comparing tuples is by identity first: a thousand unchanged layers cost a few microseconds.
    if cache.layers != survey.layers or cache.links != links:
        below = dict(links)
        providers = {ref: layer.id for layer in survey.layers for ref in layer.provides}
        cache.backing = {layer.id: _resolve(layer, below, providers) for layer in survey.layers}
        cache.layers, cache.links = survey.layers, links
    return cache.backing


def _resolve(layer: Layer, below: dict[Ref, tuple[Ref, ...]], providers: dict[Ref, LayerId]) -> list[str]:
    found: list[str] = []
    seen: set[Ref] = set()
    waiting = list(reversed(layer.rests_on))
    while waiting:
        ref = waiting.pop()
        if ref in seen:
            continue
        seen.add(ref)
        provider = providers.get(ref)
        if provider is None:
            waiting.extend(reversed(below.get(ref, ())))
        elif provider != layer.id and provider not in found:
            found.append(provider)
    return found


def _policies(tick: Tick) -> list[PolicyEntry]:
    """Stages gathered by policy and mount point, in the order in which the configuration has them."""
    policies: dict[tuple[str, str], PolicyEntry] = {}
    for stage in tick.stages:
        key = (stage.policy, stage.mount_point)
        if key not in policies:
            policies[key] = {"name": stage.policy, "mount_point": stage.mount_point, "stages": []}
        policies[key]["stages"].append(_stage(stage, tick))
    return list(policies.values())


def _stage(stage: StageStatus, tick: Tick) -> StageEntry:
    return {
        "name": stage.stage,
        "active": stage.active,
        "since": None if stage.since is None else tick.unix_time - (tick.now - stage.since),
        "reason": stage.reason,
        "actions": list(stage.actions),
    }


def _decision(decision: Decision) -> DecisionEntry:
    return {
        "policy": decision.policy,
        "stage": decision.stage,
        "mount_point": decision.mount_point,
        "action": decision.action,
        "reason": decision.reason,
    }


def _outcome(outcome: Outcome) -> OutcomeEntry:
    return {
        "action": outcome.action,
        "type": outcome.type,
        "outcome": outcome.kind.value,
        "reason": outcome.reason,
        "policy": outcome.policy,
        "stage": outcome.stage,
        "mount_point": outcome.mount_point,
        "freed_bytes": outcome.freed_bytes,
        "reusable_bytes": outcome.reusable_bytes,
        "took_seconds": outcome.took_seconds,
    }
