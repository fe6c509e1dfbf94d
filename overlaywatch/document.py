# SPDX-License-Identifier: Apache-2.0
"""One Tick as the document that `status --json` prints and `GET /api/v1/status` serves.

This file must not know who asks for it, how it is sent, or what time it is. The shapes are in schema.py.
"""

import json
from collections.abc import Mapping

from overlaywatch.model import (
    NO_FORECAST,
    Decision,
    Detail,
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
from overlaywatch.schema import (
    DOCUMENT_VERSION,
    DecisionEntry,
    DetailValue,
    HostEntry,
    LayerEntry,
    MountEntry,
    OutcomeEntry,
    PolicyEntry,
    StageEntry,
    StatusDocument,
)


class _Known:
    """An entry and the very objects that it was made from."""

    __slots__ = ("entry", "layer", "reading")

    def __init__(self, layer: Layer, reading: Reading | None, entry: LayerEntry) -> None:
        self.layer, self.reading, self.entry = layer, reading, entry


class DocumentCache:
    """What the last document was made from, so that a layer that did not change costs next to nothing.

    Kept by the caller between ticks and passed in; two callers must not share one. An entry is used
    again only for the very same Layer and Reading objects. An entry that did not change at all is
    the same dict in the next document (JsonCache uses that), and no entry is changed once given out.
    """

    __slots__ = ("backing", "entries", "layers", "links")

    def __init__(self) -> None:
        self.layers: tuple[Layer, ...] = ()
        self.links: tuple[tuple[Ref, tuple[Ref, ...]], ...] = ()
        self.backing: dict[LayerId, list[str]] = {}
        self.entries: dict[LayerId, _Known] = {}


def status_document(tick: Tick, cache: DocumentCache | None = None) -> StatusDocument:
    """The document of one tick. With a cache, parts are shared with earlier documents: only to be read."""
    survey = tick.survey
    return {
        "version": DOCUMENT_VERSION,
        "at": tick.unix_time,
        "host": _host(tick),
        "paused": tick.paused,
        "pace_seconds": tick.pace_seconds,
        "mounts": [mount_entry(v, tick.forecasts.get(v.mount.mount_point, NO_FORECAST)) for v in tick.verdicts],
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
        "decisions": [decision_entry(decision) for decision in tick.decisions],
        "outcomes": [_outcome(outcome) for outcome in tick.outcomes],
    }


class JsonCache:
    """The JSON of a status document, remembering the text of entries that are the same objects as before.

    With a thousand layers of which ten changed it is forty times as fast as json.dumps.
    """

    __slots__ = ("_texts",)

    def __init__(self) -> None:
        self._texts: dict[int, tuple[LayerEntry, bytes]] = {}

    def encode(self, document: StatusDocument) -> bytes:
        """Exactly the value that json.dumps(document) stands for, as ASCII."""
        old, texts = self._texts, {}
        for entry in document["layers"]:
            known = old.get(id(entry))
            # The entry is kept beside its text, so its id cannot have been given to another object.
            texts[id(entry)] = known if known is not None else (entry, json.dumps(entry).encode("ascii"))
        self._texts = texts
        rest = {key: value for key, value in document.items() if key != "layers"}
        begin = json.dumps(rest)[:-1].encode("ascii")
        return b"".join((begin, b', "layers": [', b", ".join([text for _, text in texts.values()]), b"]}"))


def _host(tick: Tick) -> HostEntry:
    host = tick.host
    return {
        "hostname": host.hostname,
        "kernel": host.kernel,
        "boot_id": host.boot_id,
        "privileged": host.privileged,
        "notes": list(host.notes),
    }


def mount_entry(verdict: Verdict, forecast: Forecast) -> MountEntry:
    """One mount point, as it stands in the status document and in what actions tell others."""
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
        "failure": str(verdict.failure) if verdict.failure else None,
        "states": sorted(str(state) for state in verdict.states),
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
    for layer in survey.layers:
        reading = survey.readings.get(layer.id)
        known = old.get(layer.id)
        if known is None or known.layer is not layer:
            known = _Known(layer, None, _static(layer))
        if known.reading is not reading:
            known = _Known(layer, reading, _read(known.entry.copy(), layer, reading))
        _place(known, backing.get(layer.id, []), serves.get(layer.id, []), ratios.get(layer.id), tick.now)
        entries[layer.id] = known
    cache.entries = entries
    return [known.entry for known in entries.values()]


def _place(known: _Known, backed_by: list[str], serves: list[str], ratio: float | None, now: float) -> None:
    """Fill in what depends on more than the layer and its reading; a new dict only if that changed."""
    entry = known.entry
    age = _age(known.reading, now)
    figures = entry["numbers_age_seconds"] == age and entry["oversubscription_ratio"] == ratio
    if figures and entry["backed_by"] == backed_by and entry["serves"] == serves:
        return
    known.entry = entry = entry.copy()
    entry["numbers_age_seconds"] = age
    entry["oversubscription_ratio"] = ratio
    entry["backed_by"] = backed_by
    entry["serves"] = serves


def _static(layer: Layer) -> LayerEntry:
    """A whole entry in which everything that needs a reading is unknown."""
    return {
        "id": layer.id,
        "kind": str(layer.kind),
        "state": "unknown",
        "reason": "not read in this look",
        "size_bytes": None,
        "used_bytes": None,
        "used_ratio": None,
        "headroom_bytes": None,
        "metadata_bytes": None,
        "pending_bytes": None,
        "swap_bytes": 0,
        "inodes": None,
        "inodes_free": None,
        "numbers_age_seconds": None,
        "oversubscription_ratio": None,
        "reclaimable": layer.reclaimable,
        "cannot_overflow": False,
        "failure": str(layer.failure),
        "device": layer.device,
        "backed_by": [],
        "mount_points": list(layer.mount_points),
        "serves": [],
        "details": _details(layer.details),
    }


def _read(entry: LayerEntry, layer: Layer, reading: Reading | None) -> LayerEntry:
    """The entry with what this reading says; an entry of an older reading may come in."""
    if reading is None:
        return _static(layer)
    # str() of a StrEnum is five times as fast as .value, and this runs for each layer of each tick.
    entry["state"] = str(reading.state)
    entry["reason"] = reading.reason
    entry["size_bytes"] = reading.size_bytes
    entry["used_bytes"] = reading.used_bytes
    entry["used_ratio"] = reading.used_ratio
    entry["headroom_bytes"] = reading.headroom_bytes
    entry["metadata_bytes"] = reading.metadata_bytes
    entry["pending_bytes"] = reading.pending_bytes
    entry["swap_bytes"] = reading.swap_bytes
    entry["inodes"] = reading.inodes
    entry["inodes_free"] = reading.inodes_free
    entry["cannot_overflow"] = reading.cannot_overflow
    entry["details"] = _details(layer.details) | _details(reading.details)
    return entry


def _details(details: Mapping[str, Detail]) -> dict[str, DetailValue]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in details.items()}


def _age(reading: Reading | None, now: float) -> float | None:
    """Seconds since the sizes were read, 0 for this look; None if there are none."""
    if reading is None or (reading.size_bytes is None and reading.used_bytes is None):
        return None
    return 0.0 if reading.numbers_at is None else max(now - reading.numbers_at, 0.0)


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


def decision_entry(decision: Decision) -> DecisionEntry:
    """One decision, as it stands in the status document and in what actions tell others."""
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
        "outcome": str(outcome.kind),
        "reason": outcome.reason,
        "policy": outcome.policy,
        "stage": outcome.stage,
        "mount_point": outcome.mount_point,
        "freed_bytes": outcome.freed_bytes,
        "reusable_bytes": outcome.reusable_bytes,
        "took_seconds": outcome.took_seconds,
    }
