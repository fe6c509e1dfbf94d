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
KEPT_FIELDS: Final = ("type", "id", "receiver", "kind", "config", "labels", "starts_at")
"""What is written to the state file: enough to say later that it is over."""


@dataclass(slots=True)
class Kept:
    """A notification, and whether its delivery is over."""

    frame: Frame
    delivered: bool = False


class Outbox:
    """Collects frames; whoever owns the pipe takes them from here."""

    def __init__(self) -> None:
        self._outgoing: list[Frame] = []
        self._firing: dict[Key, Kept] = {}
        self._over: dict[str, Kept] = {}

    def send(self, frame: Frame) -> None:
        """Take in a firing notification. One that fires already keeps its beginning."""
        key = key_of(frame)
        before = self._firing.get(key)
        if before is not None and before.frame.get("kind") == "alertmanager":
            frame = {**frame, "starts_at": before.frame.get("starts_at")}
        if before is None and len(self._firing) >= MOST_KEPT:
            raise OverflowError(f"{MOST_KEPT} alerts are firing already")
        self._firing[key] = Kept(frame)
        self._outgoing.append(frame)

    def take(self) -> list[Frame]:
        """The frames that wait to be told; they wait no longer."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def is_firing(self, key: Key) -> bool:
        """Whether this alert was told and has not been taken back."""
        return key in self._firing

    def firing(self) -> tuple[Key, ...]:
        """All alerts that were told and not taken back."""
        return tuple(self._firing)

    def frame(self, key: Key) -> Frame:
        """What was told last of a firing alert. Raises KeyError if it does not fire."""
        return self._firing[key].frame

    def end(self, key: Key, frame: Frame) -> None:
        """What this alert told of is over: tell that, too, with `frame`."""
        del self._firing[key]
        while len(self._over) >= MOST_KEPT:
            del self._over[next(iter(self._over))]
        self._over[str(frame.get("id"))] = Kept(frame)
        self._outgoing.append(frame)

    def delivered(self, report: Delivered) -> bool:
        """Note what became of a notification. False if nobody asked for it."""
        if not report.firing:
            known = report.id in self._over
            if report.final or report.outcome == "applied":
                self._over.pop(report.id, None)
            return known
        found = [kept for kept in self._firing.values() if kept.frame.get("id") == report.id]
        for kept in found:
            kept.delivered = kept.delivered or report.final or report.outcome == "applied"
        return bool(found)

    def tell_again(self) -> None:
        """A new frontend knows nothing: everything that still matters goes out once more."""
        self._outgoing = [kept.frame for kept in self._again()]

    def _again(self) -> Iterator[Kept]:
        yield from self._over.values()
        for kept in self._firing.values():
            if not kept.delivered or kept.frame.get("kind") == "alertmanager":
                yield kept

    def as_json(self) -> list[dict[str, object]]:
        """For the state file."""
        return [
            {"delivered": kept.delivered, **{name: kept.frame.get(name) for name in KEPT_FIELDS}}
            for kept in self._firing.values()
        ]

    def restore(self, value: object) -> None:
        """What the state file held: alerts of the run before, not told again by themselves."""
        for entry in value if isinstance(value, list) else []:
            if isinstance(entry, dict) and isinstance(entry.get("labels"), dict):
                frame: dict[str, object] = {name: entry.get(name) for name in KEPT_FIELDS}
                frame |= {"firing": True, "annotations": {}, "ends_at": None, "body": {}}
                self._firing[key_of(frame)] = Kept(frame, delivered=True)


def key_of(frame: Frame) -> Key:
    """The identity of an alert, from its receiver and labels."""
    labels = frame.get("labels")
    texts = labels if isinstance(labels, Mapping) else {}
    receiver = str(frame.get("receiver"))
    return receiver, str(texts.get("policy")), str(texts.get("stage")), str(texts.get("mount_point"))
