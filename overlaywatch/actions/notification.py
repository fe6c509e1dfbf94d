# SPDX-License-Identifier: Apache-2.0
"""What is told when a stage becomes true, and when it is over: the frame that the frontend delivers.

This file must not know who receives it, nor any network. Labels are the identity of an alert, so they
hold nothing that changes while it fires; figures are in annotations. Frames are JSON objects:
`{"type": "notify", "id", "receiver", "kind", "config", "firing", "labels", "annotations", "starts_at",
"ends_at", "body"}`, times in Unix seconds.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from overlaywatch.config.table import Table
from overlaywatch.document import decision_entry, mount_entry
from overlaywatch.model import Decision, Failure, Verdict
from overlaywatch.units import format_duration, format_size, printable

Frame = Mapping[str, object]

BODY_VERSION: Final = 1
RESERVED_LABELS: Final = frozenset({"alertname", "policy", "stage", "mount_point"})
"""They make an alert that alert; a label of the user cannot replace them."""

_LABEL_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NOT_CAMEL: Final = re.compile(r"[^A-Za-z0-9]+")
_URL: Final = re.compile(
    r"(?P<origin>https?://(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(?::(?P<port>\d{1,5}))?)(?P<path>/\S*)?"
)
_WHAT_HAPPENS: Final[Mapping[Failure, str]] = {
    Failure.ENOSPC: "writes are refused (No space left on device)",
    Failure.READ_ONLY: "writes fail and the file system becomes read-only",
    Failure.DEAD_ROOT: "reads fail as well as writes, and only a reboot helps",
    Failure.OOM: "memory ends and the kernel kills processes",
    Failure.IO_ERROR: "writes that seemed to succeed are lost with an I/O error",
    Failure.NONE: "nothing, it cannot overflow",
}


@dataclass(frozen=True, slots=True)
class Sender:
    """Who tells: the action's name and kind, the host's name, and what the user adds to every alert.

    `targets` are the receivers as people may see them, `config` is what delivery needs.
    """

    receiver: str
    kind: str
    hostname: str
    targets: tuple[str, ...]
    config: Mapping[str, object]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def firing(sender: Sender, decision: Decision, starts_at: float, *, one_per_firing: bool) -> dict[str, object]:
    """The frame of a stage that has become true.

    Its id is the same each time the stage fires, or, with `one_per_firing`, another one each time.
    """
    identity = f"{sender.receiver}:{decision.policy}:{decision.stage}:{printable(decision.mount_point)}"
    frame: dict[str, object] = {
        "type": "notify",
        "id": f"{identity}:{starts_at:.3f}" if one_per_firing else identity,
        "receiver": sender.receiver,
        "kind": sender.kind,
        "config": dict(sender.config),
        "firing": True,
        "labels": _labels(sender, decision),
        "annotations": {**_annotations(decision, sender.hostname), **sender.annotations},
        "starts_at": starts_at,
        "ends_at": None,
    }
    decided = {**decision_entry(decision), "mount_point": printable(decision.mount_point)}
    mount = {**mount_entry(decision.verdict, decision.forecast), "mount_point": printable(decision.mount_point)}
    return {**frame, "body": _body(frame, {"decision": decided, "mount": mount})}


def resolved(frame: Frame, ended_at: float) -> dict[str, object]:
    """The frame that says that what `frame` told of is over; `ended_at` in Unix seconds."""
    starts_at, body = frame["starts_at"], frame["body"]
    # An alert must not end before it began, even if the clock was set back (Alertmanager rejects that).
    ends_at = max(ended_at, starts_at) if isinstance(starts_at, int | float) else ended_at
    over: dict[str, object] = {**frame, "firing": False, "ends_at": ends_at}
    return {**over, "body": _body(over, body if isinstance(body, Mapping) else {})}


def _body(frame: Frame, facts: Mapping[str, object]) -> dict[str, object]:
    """What a webhook receives: the frame without its envelope, and the decision with the mount as it was."""
    return {
        "version": BODY_VERSION,
        "status": "firing" if frame["firing"] else "resolved",
        "id": frame["id"],
        "receiver": frame["receiver"],
        "labels": frame["labels"],
        "annotations": frame["annotations"],
        "starts_at": frame["starts_at"],
        "ends_at": frame["ends_at"],
        "decision": facts.get("decision"),
        "mount": facts.get("mount"),
    }


def _labels(sender: Sender, decision: Decision) -> dict[str, str]:
    return {
        "severity": "warning",
        "instance": sender.hostname,
        **sender.labels,
        "alertname": alert_name(decision.policy, decision.stage),
        "policy": decision.policy,
        "stage": decision.stage,
        "mount_point": printable(decision.mount_point),
    }


def alert_name(policy: str, stage: str) -> str:
    """`OverlayRootLastResort` for the stage `last-resort` of the policy `root`."""
    words = [word for text in ("overlay", policy, stage) for word in _NOT_CAMEL.split(text) if word]
    return "".join(word[0].upper() + word[1:] for word in words)


def _annotations(decision: Decision, hostname: str) -> dict[str, str]:
    told = {
        "summary": summary(decision, hostname),
        "description": " ".join(_sentences(decision)),
        "remedy": decision.verdict.remedy,
    }
    return {name: text for name, text in told.items() if text}


def summary(decision: Decision, hostname: str) -> str:
    """One line: where, and how much is left."""
    place = f"{printable(decision.mount_point)} on {hostname}" if hostname else printable(decision.mount_point)
    return f"{place}: {_headroom(decision.verdict)}"


def _headroom(verdict: Verdict) -> str:
    if verdict.headroom_bytes is not None:
        return f"{format_size(verdict.headroom_bytes)} can still be written"
    if verdict.headroom_at_most_bytes is not None:
        return f"at most {format_size(verdict.headroom_at_most_bytes)} can still be written"
    return "unknown how much can still be written"


def _sentences(decision: Decision) -> list[str]:
    verdict, forecast = decision.verdict, decision.forecast
    said = [f"Stage {decision.stage} of policy {decision.policy}: {decision.reason.rstrip('.')}."]
    headroom = _headroom(verdict)
    said.append(f"{headroom[0].upper()}{headroom[1:]}{f'; the limit is {verdict.limit}' if verdict.limit else ''}.")
    if verdict.failure is not None:
        said.append(f"At the limit: {_WHAT_HAPPENS[verdict.failure]}.")
    if forecast.time_to_full_seconds is not None:
        said.append(f"Full in {format_duration(forecast.time_to_full_seconds)} at the present rate.")
    return said


def origin(url: str) -> str:
    """Scheme, host and port: the path of a webhook may be a secret, as that of many chat services is."""
    match = _URL.fullmatch(url)
    return match["origin"] if match else "?"


# --- keys that receivers have in common -----------------------------------------------------------


def checked_url(table: Table, key: str, url: str, place: str = "") -> None:
    """Record an error if it is not a plain http or https URL. An empty one stands for an error already told."""
    match = _URL.fullmatch(url or "http://already-told")
    if match is None or int(match["port"] or 1) not in range(1, 65536):
        table.error(
            key,
            f"{printable(_without_secrets(url))} is not a URL",
            "expected http:// or https://, a host, and a path",
            place=place,
        )


def _without_secrets(url: str) -> str:
    """What of a text that is no URL may be shown: a path, a query and whatever is around an @ may be secrets."""
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in url:
        host = ""
    return f"{scheme}{separator}{host}{'…' if host != rest else ''}"


def checked_names(table: Table, key: str, texts: Mapping[str, str], reserved: frozenset[str] = frozenset()) -> None:
    """Record an error for each name that Prometheus does not allow, or that is taken."""
    for name in texts:
        if not _LABEL_NAME.fullmatch(name):
            table.error(key, f"{printable(name)} is not a name", "expected letters, digits and _", place=f".{name}")
        elif name in reserved:
            table.error(key, f"{name} is set by overlaywatch", "expected another name", place=f".{name}")
