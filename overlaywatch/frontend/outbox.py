# SPDX-License-Identifier: Apache-2.0
"""Everything that is to be told, to whom, and when. Pure: clocks are arguments.

This file must not know sockets or threads. It is bounded: when it is full, a new notice is refused
and reported as failed; what was promised before is kept.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from overlaywatch.frontend.alertmanager import AlertmanagerChannel
from overlaywatch.frontend.notice import ALERTMANAGER, APPLIED, FAILED, Entry, Notice, Post, Result
from overlaywatch.frontend.webhook import WebhookChannel
from overlaywatch.pipe import Delivered

Channel = AlertmanagerChannel | WebhookChannel

MOST_ENTRIES: Final = 1000


class Outbox:
    """The channels of all URLs. `random` gives numbers from 0 to 1."""

    def __init__(self, random: Callable[[], float], most: int = MOST_ENTRIES) -> None:
        self._random = random
        self._most = most
        self._channels: dict[tuple[str, str], Channel] = {}
        self._flying: dict[Post, Channel] = {}

    def add(self, notice: Notice, now: float) -> list[Delivered]:
        """Tell it to each of its URLs; reports of those that it cannot be told to at all."""
        self._forget_elsewhere(notice)
        reports: list[Delivered] = []
        for url in notice.urls:
            if sum(1 for _ in self._entries()) >= self._most:
                reports += _refusal(notice, url, f"{self._most} notifications are waiting already")
                continue
            try:
                self._channel(notice.kind, url).put(notice, now)
            except ValueError as error:
                reports += _refusal(notice, url, str(error))
        return reports

    def _channel(self, kind: str, url: str) -> Channel:
        channel = self._channels.get((kind, url))
        if channel is None:
            make = AlertmanagerChannel if kind == ALERTMANAGER else WebhookChannel
            channel = self._channels[kind, url] = make(url, self._random)
        return channel

    def _forget_elsewhere(self, notice: Notice) -> None:
        """URLs that the receiver had before its configuration changed hear no more of it."""
        for (kind, url), channel in self._channels.items():
            if kind == notice.kind == ALERTMANAGER and url not in notice.urls:
                channel.forget(notice.key)

    def due(self, now: float, unix_now: float) -> list[Post]:
        """The requests to make now. Each is on its way until done() is called with it."""
        self._channels = {key: channel for key, channel in self._channels.items() if not channel.is_idle}
        posts = []
        for channel in self._channels.values():
            post = channel.due(now, unix_now)
            if post is not None:
                self._flying[post] = channel
                posts.append(post)
        return posts

    def done(self, post: Post, result: Result, now: float) -> list[Delivered]:
        """What came of a request; reports of what is news."""
        return self._flying.pop(post).done(post, result, now)

    def next_due(self) -> float | None:
        """When due() has something, if nothing else happens."""
        return min((at for channel in self._channels.values() if (at := channel.next_due()) is not None), default=None)

    def _entries(self) -> Iterator[Entry]:
        return (entry for channel in self._channels.values() for entry in channel.entries)

    def pending(self) -> Counter[str]:
        """How many notices have not arrived yet, by receiver; one that waits for two URLs counts twice."""
        return Counter(entry.notice.receiver for entry in self._entries() if entry.told != APPLIED)


def _refusal(notice: Notice, url: str, why: str) -> list[Delivered]:
    scheme, _, rest = url.partition("://")
    origin = f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"  # no more of it: the rest may be a secret
    return [Delivered(notice.id, notice.receiver, notice.firing, origin, FAILED, why, final=True)]
