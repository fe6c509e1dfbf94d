# SPDX-License-Identifier: Apache-2.0
"""Alerts for one Alertmanager: what is posted, and when (API v2, `POST /api/v2/alerts`).

This file must not know sockets or clocks. Alertmanager forgets what is not repeated: a firing alert is
sent again each minute with an end four minutes ahead, a resolved one for a quarter of an hour, as
Prometheus does (rules/manager.go, notifier; --rules.alert.resend-delay).
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from overlaywatch.frontend.facts import printable
from overlaywatch.frontend.notice import APPLIED, FAILED, Entry, Notice, Post, Result, Target, parse_target, pause_after
from overlaywatch.pipe import Delivered

RESEND_SECONDS: Final = 60.0
ENDS_AHEAD_SECONDS: Final = 4 * RESEND_SECONDS
RESOLVED_SECONDS: Final = 900.0

_PATH: Final = "/api/v2/alerts"
_MOST_IN_A_POST: Final = 64
_GATHER_SECONDS: Final = 5.0
_NO_LABEL_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")
_NAMELESS: Final = "OverlaywatchAlert"


class AlertmanagerChannel:
    """All alerts for one URL. At most one request is on its way, so a server that hangs costs one thread."""

    def __init__(self, url: str, random: Callable[[], float]) -> None:
        base = parse_target(url)
        self._target = Target(base.tls, base.host, base.port, base.path.partition("?")[0].rstrip("/") + _PATH)
        self._random = random
        self._entries: dict[tuple[str, str], Entry] = {}
        self._busy = False
        self._failures = 0
        self._not_before = 0.0

    @property
    def entries(self) -> Iterable[Entry]:
        """What is being told here."""
        return self._entries.values()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do."""
        return not self._entries and not self._busy

    def put(self, notice: Notice, now: float) -> None:
        """A newer notice takes the place of the older one about the same thing."""
        self._entries[notice.key] = Entry(notice, since=now, next_at=now)

    def forget(self, key: tuple[str, str]) -> None:
        """It is no longer told here; without repetition Alertmanager lets it end by itself."""
        self._entries.pop(key, None)

    def next_due(self) -> float | None:
        """When due() has something to send."""
        if self._busy or not self._entries:
            return None
        return max(self._not_before, min(entry.next_at for entry in self._entries.values()))

    def due(self, now: float, unix_now: float) -> Post | None:
        """The next request, if it is time; it is on its way then, until done()."""
        at = self.next_due()
        if at is None or at > now:
            return None
        # What is due in a moment goes along: alerts of one tick should reach their group together.
        soon = [entry for entry in self._entries.values() if entry.next_at <= now + _GATHER_SECONDS]
        entries = tuple(sorted(soon, key=lambda entry: entry.next_at)[:_MOST_IN_A_POST])
        self._busy = True
        timeout = max(entry.notice.timeout for entry in entries)
        return Post(self._target, payload((entry.notice for entry in entries), unix_now), timeout, entries)

    def done(self, post: Post, result: Result, now: float) -> list[Delivered]:
        """What came of a request; reports of what is news."""
        self._busy = False
        self._failures = 0 if result.good else self._failures + 1
        self._not_before = now if result.good else now + pause_after(self._failures, self._random)
        reports: list[Delivered] = []
        for entry in post.entries:
            if result.good:
                entry.next_at = now + RESEND_SECONDS
            over = not entry.notice.firing and now - entry.since >= RESOLVED_SECONDS
            if over and self._entries.get(entry.notice.key) is entry:
                del self._entries[entry.notice.key]
            outcome = APPLIED if result.good else FAILED
            reports += entry.report(self._target.origin, outcome, result.error, final=over and not result.good)
        return reports


def payload(notices: Iterable[Notice], unix_now: float) -> bytes:
    """The body of a request: a JSON array of alerts."""
    return json.dumps([_alert(notice, unix_now) for notice in notices]).encode()


def _alert(notice: Notice, unix_now: float) -> dict[str, object]:
    ends_at = unix_now + ENDS_AHEAD_SECONDS if notice.firing or notice.ends_at is None else notice.ends_at
    return {
        "labels": {"alertname": _NAMELESS, **_clean(notice.labels)},
        "annotations": _clean(notice.annotations),
        "startsAt": rfc3339(notice.starts_at),
        # An end before the start makes Alertmanager refuse the alert, and a clock may be set back.
        "endsAt": rfc3339(max(ends_at, notice.starts_at)),
    }


def _clean(texts: Mapping[str, str]) -> dict[str, str]:
    """Names as Prometheus allows them, values as UTF-8 can hold them; what is empty is dropped."""
    cleaned = {}
    for name, text in texts.items():
        good = _NO_LABEL_NAME.sub("_", name)
        if text and good:
            cleaned[f"_{good}" if good[0].isdigit() else good] = printable(text)
    return cleaned


def rfc3339(unix_time: float) -> str:
    """`2026-01-31T12:34:56.789Z` (RFC 3339)."""
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
