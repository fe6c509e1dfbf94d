# SPDX-License-Identifier: Apache-2.0
"""The life of the frontend: one thread, one selector, until the engine is gone or says goodbye.

This file must not know how it was started or what privileges are. It writes no log: what somebody
should know goes to the engine as a Problem, each text once.
"""

import selectors
import time
import traceback
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from overlaywatch import pipe
from overlaywatch.frontend.delivery import Delivery
from overlaywatch.frontend.engine_pipe import EnginePipe
from overlaywatch.frontend.facts import OwnCounts
from overlaywatch.frontend.http_connection import Limits
from overlaywatch.frontend.http_server import HttpServer
from overlaywatch.frontend.listeners import Listeners
from overlaywatch.frontend.notice import parse_notice
from overlaywatch.frontend.site import Site
from overlaywatch.frontend.textfile import Place, Textfile
from overlaywatch.pipe import Delivered, FrameError, Problem, Report

GOODBYE_SECONDS: Final = 2.0
_MOST_PROBLEMS: Final = 100


class Frontend:
    """Serves, delivers, reports. Made after privilege is given up; run() returns when it is over."""

    def __init__(
        self,
        read_fd: int,
        write_fd: int,
        listeners: Listeners,
        delivery: Delivery,
        limits: Limits,
        textfile: Place | None = None,
    ) -> None:
        self._selector = selectors.DefaultSelector()
        self._started_at = time.time()
        self._leave_at: float | None = None
        self._problems: set[str] = set()
        self._listeners = listeners
        self._delivery = delivery
        self._site = Site(time.monotonic, self._counts)
        self._server = HttpServer(
            self._selector,
            self._site.respond,
            clock=time.monotonic,
            unix_clock=time.time,
            on_error=self._broken_page,
            limits=limits,
        )
        self._textfile = Textfile(textfile, self._site.metrics_text, time.monotonic) if textfile else None
        self._pipe = EnginePipe(read_fd, write_fd, self._selector, self._take)
        self._selector.register(delivery, selectors.EVENT_READ, lambda _mask: None)

    def run(self, runs_as: str) -> None:
        """Until the engine is gone, or what was pending at its goodbye is delivered."""
        stands = self._listeners.open(self._server.listen, time.monotonic())
        self._pipe.send(replace(stands, runs_as=runs_as))
        while not self._is_over():
            for key, mask in self._selector.select(self._patience()):
                key.data(mask)
            self._turn()
        self.close()

    def _turn(self) -> None:
        self._server.expire()
        self._report(self._delivery.step())
        retry_at, now = self._listeners.next_retry(), time.monotonic()
        if retry_at is not None and retry_at <= now:
            news = self._listeners.retry(self._server.listen, now)
            self._report([news] if news else [])
        if self._textfile and (problem := self._textfile.step()):
            self._tell_once(problem)

    def _patience(self) -> float | None:
        times = [
            self._server.next_deadline(),
            self._delivery.next_due(),
            self._listeners.next_retry(),
            self._leave_at,
            self._textfile.next_due() if self._textfile else None,
        ]
        known = [at for at in times if at is not None]
        return max(min(known) - time.monotonic(), 0.0) if known else None

    def _is_over(self) -> bool:
        if self._leave_at is None:
            return self._pipe.is_closed
        return time.monotonic() >= self._leave_at or not self._delivery.pending()

    def _take(self, payload: bytes) -> None:
        """One frame of the engine. A frame of a type that is not known here is of a newer engine: let it be."""
        if pipe.is_tick(payload):
            self._site.update(payload)
            if self._textfile:
                self._textfile.begin()
            return
        frame = pipe.parse(payload)
        if frame["type"] == "notify":
            self._notify(frame)
        elif frame["type"] == "receivers":
            urls = frame.get("urls")
            self._delivery.expect([url for url in urls if isinstance(url, str)] if isinstance(urls, list) else [])
        elif frame["type"] == "goodbye":
            self._leave_at = time.monotonic() + GOODBYE_SECONDS

    def _notify(self, frame: dict[str, object]) -> None:
        try:
            self._report(self._delivery.add(parse_notice(frame)))
        except FrameError as error:
            name, receiver, firing = str(frame.get("id")), str(frame.get("receiver")), bool(frame.get("firing"))
            self._pipe.send(Delivered(name, receiver, firing, "", "failed", str(error), final=True))

    def _report(self, reports: Iterable[Report]) -> None:
        for report in reports:
            self._pipe.send(report)

    def _broken_page(self, error: Exception) -> None:
        self._tell_once(f"a page could not be made: {''.join(traceback.format_exception(error))}")

    def _tell_once(self, text: str) -> None:
        if text not in self._problems and len(self._problems) < _MOST_PROBLEMS:
            self._problems.add(text)
            self._pipe.send(Problem(text))

    def _counts(self) -> OwnCounts:
        return OwnCounts(
            started_at=self._started_at,
            connections=self._server.connections,
            requests=dict(self._server.requests),
            dropped=dict(self._server.dropped),
            pending=dict(self._delivery.pending()),
        )

    def close(self) -> None:
        """Let go of every socket, and of the file."""
        if self._textfile:
            self._textfile.close()
        self._server.close()
        self._delivery.close()
        self._selector.close()
