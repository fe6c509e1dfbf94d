# SPDX-License-Identifier: Apache-2.0
"""The status document: the contract's keys, what is unknown is null, and nothing is made twice."""

import json
from dataclasses import replace

from overlaywatch.document import DocumentCache, JsonCache, status_document
from overlaywatch.model import (
    RAM,
    Decision,
    Failure,
    Forecast,
    Layer,
    LayerId,
    LayerKind,
    Link,
    Outcome,
    OutcomeKind,
    Survey,
    Tick,
    block_ref,
)
from overlaywatch.schema import LayerEntry, StatusDocument
from tests.cli import ticks

MOUNT_KEYS = {
    "mount_point", "fstype", "source", "live_system", "chain", "headroom_bytes", "limit", "failure",
    "fill_bytes_per_second", "time_to_full_seconds", "remedy",
}  # fmt: skip
LAYER_KEYS = {
    "id", "kind", "state", "size_bytes", "used_bytes", "used_ratio", "headroom_bytes", "metadata_bytes", "inodes",
    "inodes_free", "reclaimable", "cannot_overflow", "backed_by", "mount_points", "details",
}  # fmt: skip


def layer_of(document: StatusDocument, name: str) -> LayerEntry:
    """The entry of one layer."""
    (found,) = [layer for layer in document["layers"] if layer["id"] == name]
    return found


def test_every_key_of_the_contract_is_there() -> None:
    """Dashboards and scripts find each key that was promised, on a healthy and on a broken machine."""
    for tick in (ticks.fresh(), ticks.invalid(), ticks.unprivileged(), ticks.overlay_on_tmpfs()):
        document = status_document(tick)
        assert document["version"] == 1
        assert {"at", "host", "mounts", "layers", "policies"} <= document.keys()
        assert all(mount.keys() >= MOUNT_KEYS for mount in document["mounts"])
        assert all(layer.keys() >= LAYER_KEYS for layer in document["layers"])


def test_figures_are_the_kernels() -> None:
    """The sectors of the status line stand in the document as bytes, and as they were."""
    layer = layer_of(status_document(ticks.filling()), "dm-snapshot:live-rw")
    assert (layer["used_bytes"], layer["size_bytes"], layer["metadata_bytes"]) == (
        110_888 * 512,
        131_072 * 512,
        448 * 512,
    )
    assert layer["details"]["persistent"] == "PO"
    assert layer["details"]["sectors_allocated"] == 110_888
    assert layer["numbers_age_seconds"] == 0.0


def test_unknown_is_null() -> None:
    """What a user without privilege cannot see is null everywhere: not 0, not -1, not left out."""
    document = status_document(ticks.unprivileged())
    layer = layer_of(document, "dm-snapshot:live-rw")
    assert (layer["state"], layer["size_bytes"], layer["used_ratio"], layer["headroom_bytes"]) == (
        "unreadable",
        None,
        None,
        None,
    )
    assert layer["numbers_age_seconds"] is None
    root = document["mounts"][0]
    assert root["headroom_bytes"] is None
    assert root["headroom_at_most_bytes"] is not None


def test_a_layer_without_a_reading_is_unknown() -> None:
    """A layer that was found and not read is shown, as unknown, with the reason."""
    tick = ticks.fresh()
    readings = {key: value for key, value in tick.survey.readings.items() if key != "tmpfs:/run"}
    document = status_document(replace(tick, survey=replace(tick.survey, readings=readings)))
    layer = layer_of(document, "tmpfs:/run")
    assert (layer["state"], layer["reason"], layer["size_bytes"]) == ("unknown", "not read in this look", None)


def test_kept_numbers_have_their_age() -> None:
    """After Overflow the last numbers are shown with how old they are."""
    layer = layer_of(status_document(ticks.overflowed()), "dm-snapshot:live-rw")
    assert (layer["state"], layer["numbers_age_seconds"]) == ("overflow", 42.0)
    assert layer["used_bytes"] == layer["size_bytes"]


def test_backing_is_seen_through_loops() -> None:
    """A loop is no layer: the snapshot rests on the file system that holds the loop's file."""
    document = status_document(ticks.fresh())
    assert layer_of(document, "filesystem:/")["backed_by"] == ["dm-snapshot:live-rw"]
    assert layer_of(document, "dm-snapshot:live-rw")["backed_by"] == ["ramfs:rootfs"]
    assert layer_of(document, "ramfs:rootfs")["backed_by"] == ["ram"]
    assert layer_of(document, "tmpfs:/run")["backed_by"] == ["ram"]
    assert layer_of(document, "ram")["backed_by"] == []


def test_layers_know_the_mounts_they_serve() -> None:
    """Each layer names the watched mount points that stand on it."""
    document = status_document(ticks.fresh())
    assert layer_of(document, "dm-snapshot:live-rw")["serves"] == ["/"]
    assert layer_of(document, "ram")["serves"] == ["/", "/run"]


def test_a_loop_of_references_ends() -> None:
    """Devices that rest on each other (a mount table may be read while it changes) do not hang the look."""
    layer = Layer(
        LayerId("brd:a"), LayerKind.BRD, (block_ref(1, 0),), (block_ref(7, 0),), Failure.OOM, reclaimable=False
    )
    links = (Link(block_ref(7, 0), (block_ref(7, 1),)), Link(block_ref(7, 1), (block_ref(7, 0), block_ref(1, 0), RAM)))
    tick = replace(ticks.fresh(), survey=Survey((layer,), {}, links, ()), verdicts=())
    assert layer_of(status_document(tick), "brd:a")["backed_by"] == []


def test_stages_are_gathered_by_policy() -> None:
    """Stages stand below their policy and mount point, with `since` on the Unix clock."""
    (policy,) = status_document(ticks.filling())["policies"]
    assert (policy["name"], policy["mount_point"]) == ("root", "/")
    (stage,) = policy["stages"]
    assert (stage["name"], stage["active"], stage["actions"]) == ("warn", True, ["page"])
    assert stage["since"] == ticks.UNIX - 130


def test_what_was_done_is_told() -> None:
    """Decisions and outcomes of the look are in the document, in the words of the contract."""
    tick = ticks.filling()
    decision = Decision("root", "warn", "/", "page", "used 84%", tick.now, tick.verdicts[0], Forecast())
    outcome = Outcome("free", "purge", OutcomeKind.DRY_RUN, "would delete 3 files", tick.now, freed_bytes=0)
    document = status_document(replace(tick, decisions=(decision,), outcomes=(outcome,)))
    assert document["decisions"][0]["action"] == "page"
    assert (document["outcomes"][0]["type"], document["outcomes"][0]["outcome"]) == ("purge", "dry_run")


def again(tick: Tick, seconds: float = 10.0) -> Tick:
    """The same machine a while later, nothing changed: the same Layer and Reading objects."""
    return replace(tick, now=tick.now + seconds, unix_time=tick.unix_time + seconds)


def test_an_unchanged_layer_is_the_same_entry() -> None:
    """What did not change is not made again, and what did is."""
    cache, tick = DocumentCache(), ticks.fresh()
    first = status_document(tick, cache)
    changed = ticks.snapshot_reading(1024, 131072)
    readings = {**tick.survey.readings, changed.layer: changed}
    later = replace(again(tick), survey=replace(tick.survey, readings=readings))
    second = status_document(later, cache)
    assert second["layers"][0] is first["layers"][0]
    assert layer_of(first, "dm-snapshot:live-rw")["used_bytes"] == 816 * 512
    assert layer_of(second, "dm-snapshot:live-rw")["used_bytes"] == 1024 * 512


def test_a_cache_changes_no_document() -> None:
    """With and without a cache, over a whole life of a machine, the documents are equal."""
    cache = DocumentCache()
    life = [
        ticks.fresh(),
        ticks.filling(),
        again(ticks.filling()),
        ticks.overflowed(),
        ticks.invalid(),
        ticks.unprivileged(),
    ]
    for tick in [*life, *reversed(life)]:
        assert status_document(tick, cache) == status_document(tick)


def test_ages_grow_in_spite_of_the_cache() -> None:
    """Kept numbers grow older from look to look though neither layer nor reading changes."""
    cache, tick = DocumentCache(), ticks.overflowed()
    status_document(tick, cache)
    layer = layer_of(status_document(again(tick, 60.0), cache), "dm-snapshot:live-rw")
    assert layer["numbers_age_seconds"] == 102.0


def test_a_document_once_made_does_not_change() -> None:
    """Later looks leave an earlier document as it was."""
    cache, tick = DocumentCache(), ticks.overflowed()
    first = status_document(tick, cache)
    before = json.dumps(first)
    status_document(again(tick), cache)
    status_document(ticks.fresh(), cache)
    assert json.dumps(first) == before


def test_kept_json_is_the_json_of_the_document() -> None:
    """The text that is put together from kept parts means exactly the document."""
    documents, texts = DocumentCache(), JsonCache()
    for tick in (ticks.fresh(), again(ticks.fresh()), ticks.filling(), ticks.nothing_watched(), ticks.many()):
        document = status_document(tick, documents)
        assert json.loads(texts.encode(document)) == json.loads(json.dumps(document))
