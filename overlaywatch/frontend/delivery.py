# SPDX-License-Identifier: Apache-2.0
"""Delivery: what the engine wants told goes into the outbox, and from there through threads to the net.

This file must not know the pipe or HTTP serving. Everything but the requests themselves happens in the
thread of the frontend.
"""

import contextlib
import random
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from overlaywatch.frontend.notice import Notice, Post, Result, parse_target
from overlaywatch.frontend.outbox import Outbox
from overlaywatch.frontend.post import AddressBook, Flight, tls_for
from overlaywatch.frontend.workers import Workers
from overlaywatch.pipe import Delivered

_LOOK_UP_SECONDS: Final = 600.0
_WHOLE_IN_TIMEOUTS: Final = 3.0


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a thread brings back; None for a lookup of names."""

    flight: Flight | None
    result: Result


class Delivery:
    """Notices in, reports out. `urls` are where something may have to be told; names in them are learnt."""

    def __init__(
        self,
        clock: Callable[[], float],
        unix_clock: Callable[[], float],
        *,
        urls: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._clock = clock
        self._unix_clock = unix_clock
        self._tls = tls
        self._book = AddressBook()
        self._outbox = Outbox(random.random)
        self._workers: Workers[_Outcome] = Workers()
        self._overdue_at: dict[Flight, float] = {}
        self._names = _names(urls)
        self._look_up_at = clock()

    def fileno(self) -> int:
        """Readable when step() has results to take in."""
        return self._workers.fileno()

    def add(self, notice: Notice) -> list[Delivered]:
        """Something to tell; reports of what cannot be told at all."""
        return self._outbox.add(notice, self._clock())

    def expect(self, urls: Sequence[str]) -> None:
        """Where something may have to be told from now on: what that takes of the disk is read now."""
        with contextlib.suppress(OSError):  # no bundle to read: it is tried again when there is something to tell
            self._tls = self._tls or tls_for(urls)
        self._names = _names(urls)
        self._look_up_at = self._clock()

    def pending(self) -> Counter[str]:
        """How many notices have not arrived yet, by receiver."""
        return self._outbox.pending()

    def next_due(self) -> float | None:
        """When step() has something to do, if no result comes before."""
        times = [self._outbox.next_due(), *self._overdue_at.values()]
        if self._names:
            times.append(self._look_up_at)
        return min((at for at in times if at is not None), default=None)

    def step(self) -> list[Delivered]:
        """Take in results, send what is due, cut off what takes too long. Never blocks."""
        reports = [report for outcome in self._workers.outcomes() for report in self._landed(outcome)]
        now = self._clock()
        for post in self._outbox.due(now, self._unix_clock()):
            reports += self._take_off(post, now)
        for flight in [each for each, at in self._overdue_at.items() if at <= now]:
            flight.abort()
            del self._overdue_at[flight]
        if self._names and self._look_up_at <= now:
            self._look_up(now)
        return reports

    def _take_off(self, post: Post, now: float) -> list[Delivered]:
        flight = Flight(post, self._book, self._tls)
        try:
            self._workers.submit(lambda: _Outcome(flight, flight.run()))
        except RuntimeError as error:
            return self._outbox.done(post, Result(None, f"no thread for it: {error}"), now)
        self._overdue_at[flight] = now + _WHOLE_IN_TIMEOUTS * post.timeout
        return []

    def _landed(self, outcome: _Outcome) -> list[Delivered]:
        if outcome.flight is None:
            return []
        self._overdue_at.pop(outcome.flight, None)
        return self._outbox.done(outcome.flight.post, outcome.result, self._clock())

    def _look_up(self, now: float) -> None:
        self._look_up_at = now + _LOOK_UP_SECONDS

        def learn() -> _Outcome:
            self._book.learn(self._names)
            return _Outcome(None, Result(None))

        try:
            self._workers.submit(learn)
        except RuntimeError:
            return  # there will be another time

    def close(self, patience: float = 0.0) -> None:
        """Stop. What is under way gets so many seconds."""
        for flight in self._overdue_at:
            flight.abort()
        self._workers.close(patience)


def _names(urls: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Hosts and ports of URLs that are names rather than addresses."""
    found = []
    for url in urls:
        try:
            target = parse_target(url)
        except ValueError:
            continue  # it is refused when something is to be told there
        if not target.host.replace(".", "").isdigit() and ":" not in target.host:
            found.append((target.host, target.port))
    return tuple(dict.fromkeys(found))
