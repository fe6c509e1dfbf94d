# SPDX-License-Identifier: Apache-2.0
"""Notices for one webhook URL: each is posted until it is taken, refused for good, or an hour old.

This file must not know sockets or clocks. The end of something is never posted before its beginning.
"""

import json
from collections.abc import Callable, Iterable
from typing import Final

from overlaywatch.frontend.notice import APPLIED, FAILED, Entry, Notice, Post, Result, parse_target, pause_after
from overlaywatch.pipe import Delivered

GIVE_UP_SECONDS: Final = 3600.0


class WebhookChannel:
    """All notices for one URL. At most one request is on its way, so a server that hangs costs one thread."""

    def __init__(self, url: str, random: Callable[[], float]) -> None:
        self._target = parse_target(url)
        self._random = random
        self._queue: list[Entry] = []
        self._busy = False

    @property
    def entries(self) -> Iterable[Entry]:
        """What is yet to be told here."""
        return self._queue

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do."""
        return not self._queue and not self._busy

    def put(self, notice: Notice, now: float) -> None:
        """Tell it after what is waiting. The very same notice, still waiting, is told once."""
        for entry in self._queue:
            if entry.notice.key == notice.key and entry.notice.firing == notice.firing:
                entry.notice = notice
                return
        self._queue.append(Entry(notice, since=now, next_at=now))

    def forget(self, key: tuple[str, str]) -> None:
        """It need not be told here any more."""
        self._queue = [entry for entry in self._queue if entry.notice.key != key]

    def next_due(self) -> float | None:
        """When due() has something to send."""
        return None if self._busy else min((entry.next_at for entry in self._first_of_each()), default=None)

    def due(self, now: float, _unix_now: float) -> Post | None:
        """The next request, if it is time; it is on its way then, until done()."""
        if self._busy:
            return None
        for entry in self._first_of_each():
            if entry.next_at <= now:
                self._busy = True
                return Post(self._target, payload(entry.notice), entry.notice.timeout, (entry,))
        return None

    def _first_of_each(self) -> list[Entry]:
        """The oldest notice about each thing: the others have to wait for it."""
        first: dict[tuple[str, str], Entry] = {}
        for entry in self._queue:
            first.setdefault(entry.notice.key, entry)
        return list(first.values())

    def done(self, post: Post, result: Result, now: float) -> list[Delivered]:
        """What came of a request; reports of what is news."""
        self._busy = False
        (entry,) = post.entries
        given_up = result.hopeless or now - entry.since >= GIVE_UP_SECONDS
        if result.good or given_up:
            self._queue = [each for each in self._queue if each is not entry]
            outcome = APPLIED if result.good else FAILED
            return entry.report(self._target.origin, outcome, result.error, final=True)
        entry.failures += 1
        entry.next_at = now + pause_after(entry.failures, self._random)
        return entry.report(self._target.origin, FAILED, result.error)


def payload(notice: Notice) -> bytes:
    """The body of a request: the JSON object that the action made."""
    return json.dumps(notice.body).encode()
