# SPDX-License-Identifier: Apache-2.0
"""Which alerts are firing, and which notifications the frontend has not yet reported as delivered.

Must not know how anything is delivered. The frontend may die at any moment: a new one is told
everything that still matters. An Alertmanager alert is told again (it is the same alert, and it must
be repeated while it fires); a webhook is not, once it was delivered.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from overlaywatch.pipe import Delivered

Frame = Mapping[str, object]
Key = tuple[str, str, str, str]
"""Receiver, policy, stage, mount point: what makes an alert the same alert."""

MOST_KEPT: Final = 256
_NEVER: Final = 1e12
KEPT_FIELDS: Final = ("type", "id", "receiver", "kind", "config", "labels", "starts_at")
"""What is written to the state file: enough to say later that it is over."""


@dataclass(slots=True)
class Kept:
    """A notification, and whether its delivery is over."""

    frame: Frame
    delivered: bool = False


class Outbox:
    """Collects frames; whoever owns the pipe takes them from here. `changes` counts what a restart should know of."""

    def __init__(self) -> None:
        self.changes = 0
        self._outgoing: list[Frame] = []
        self._firing: dict[Key, Kept] = {}
        self._over: dict[tuple[Key, str], Kept] = {}

    def send(self, frame: Frame) -> None:
        """Take in a firing notification. One that fires already stays the same alert: its id and its beginning."""
        key = key_of(frame)
        before = self._firing.get(key)
        if before is not None:
            frame = _continued(frame, before.frame)
        elif len(self._firing) >= MOST_KEPT:
            raise OverflowError(
                f"{MOST_KEPT} alerts are firing already; watch fewer mount points, or tell fewer receivers"
            )
        self._firing[key] = Kept(frame)
        self._outgoing.append(frame)
        self.changes += 1

    def take(self) -> list[Frame]:
        """The frames that wait to be told; they wait no longer."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def has_told(self, key: Key) -> bool:
        """Whether this alert fires, and its receiver knows."""
        return key in self._firing and self._firing[key].delivered

    def firing(self) -> tuple[Key, ...]:
        """All alerts that were told and not taken back."""
        return tuple(self._firing)

    def frame(self, key: Key) -> Frame:
        """What was told last of a firing alert. Raises KeyError if it does not fire."""
        return self._firing[key].frame

    def end(self, key: Key, frame: Frame | None) -> None:
        """What this alert told of is over: tell that, too, with `frame` (None: nobody)."""
        del self._firing[key]
        self.changes += 1
        if frame is None:
            return
        while len(self._over) >= MOST_KEPT:
            del self._over[next(iter(self._over))]
        self._over[key, str(frame.get("id"))] = Kept(frame)
        self._outgoing.append(frame)

    def delivered(self, report: Delivered) -> bool:
        """Note what became of a notification. False if nobody asked for it."""
        kept = self._firing.values() if report.firing else self._over.values()
        found = any(_is_about(one, report) for one in kept)
        if found and (report.final or report.outcome == "applied"):
            self._settle(report)
        return found

    def _settle(self, report: Delivered) -> None:
        """Its delivery is over, well or badly."""
        if not report.firing:
            self._over = {key: kept for key, kept in self._over.items() if not _is_about(kept, report)}
            self.changes += 1
            return
        for kept in self._firing.values():
            if _is_about(kept, report) and not kept.delivered:
                kept.delivered = True
                self.changes += 1

    def tell_again(self) -> None:
        """A new frontend knows nothing: everything that still matters goes out once more."""
        self._outgoing = [kept.frame for kept in self._again()]

    def _again(self) -> Iterator[Kept]:
        yield from self._over.values()
        for kept in self._firing.values():
            if not kept.delivered or kept.frame.get("kind") == "alertmanager":
                yield kept

    def as_json(self) -> list[dict[str, object]]:
        """For the state file. What is over counts as firing until its receiver knows, so that it is ended once more."""
        over = {key: kept for (key, _), kept in self._over.items()}
        return [
            {"delivered": kept.delivered, **{name: kept.frame.get(name) for name in KEPT_FIELDS}}
            for kept in (over | self._firing).values()
        ]

    def restore(self, value: object) -> None:
        """What the state file held: alerts of the run before, not told again by themselves."""
        for entry in value if isinstance(value, list) else []:
            if isinstance(entry, dict) and _is_whole(entry):
                frame: dict[str, object] = {name: entry.get(name) for name in KEPT_FIELDS}
                frame |= {"firing": True, "annotations": {}, "ends_at": None, "body": {}}
                self._firing[key_of(frame)] = Kept(frame, delivered=entry.get("delivered") is True)


def key_of(frame: Frame) -> Key:
    """The identity of an alert, from its receiver and labels."""
    labels = frame.get("labels")
    texts = labels if isinstance(labels, Mapping) else {}
    receiver = str(frame.get("receiver"))
    return receiver, str(texts.get("policy")), str(texts.get("stage")), str(texts.get("mount_point"))


def _is_whole(entry: Mapping[str, object]) -> bool:
    """Whether an entry of the state file can be ended, or told again, as the alert that it was."""
    texts = all(isinstance(entry.get(name), str) for name in ("id", "receiver", "kind"))
    tables = all(isinstance(entry.get(name), dict) for name in ("labels", "config"))
    starts_at = entry.get("starts_at")
    is_time = isinstance(starts_at, int | float) and not isinstance(starts_at, bool) and 0 <= starts_at < _NEVER
    return texts and tables and is_time


def _continued(frame: Frame, before: Frame) -> Frame:
    """The newer figures of an alert that fires already: who got its first document will be told when this one ends."""
    same = {name: before.get(name) for name in ("id", "starts_at")}
    body = frame.get("body")
    return {**frame, **same, "body": {**body, **same}} if isinstance(body, Mapping) else {**frame, **same}


def _is_about(kept: Kept, report: Delivered) -> bool:
    return kept.frame.get("id") == report.id and kept.frame.get("receiver") == report.receiver
