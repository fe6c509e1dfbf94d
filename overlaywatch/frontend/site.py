# SPDX-License-Identifier: Apache-2.0
"""Which path is answered with what. Nothing here changes anything, and nothing waits.

This file must not know sockets. It keeps the last tick as the bytes that came; they are parsed when
somebody asks, once, and every answer is made once for a tick: a storm of requests costs one rendering.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from overlaywatch import pipe
from overlaywatch.frontend import page
from overlaywatch.frontend.facts import Facts, OwnCounts, is_stale
from overlaywatch.frontend.http_request import Request, prefers_gzip
from overlaywatch.frontend.http_response import HTML, JSON, Response, plain
from overlaywatch.frontend.metrics import Renderer, negotiate
from overlaywatch.schema import DaemonDocument, StatusDocument

_GZIP: Final = 16 + zlib.MAX_WBITS
_UNPACKED: Final = Request("GET", "")
_METHODS: Final = ("GET", "HEAD")
_NO_LOOK_YET: Final = "overlaywatch has not looked yet"
_TOO_OLD: Final = "the last look is too old to be true: the engine of overlaywatch hangs or is being replaced"


@dataclass(slots=True)
class _Tick:
    """The last tick; parsed and rendered when it is first asked for."""

    payload: bytes = b""
    at: float = 0.0
    status: StatusDocument | None = None
    daemon: DaemonDocument | None = None
    answers: dict[tuple[str, bool, bool], Response] = field(default_factory=dict)

    def parse(self) -> None:
        """Fill in the documents, if there is a payload that was not parsed yet."""
        if self.payload:
            frame = pipe.parse(self.payload)
            # The engine made it, with the shapes of schema.py; it is not checked key by key.
            self.status = cast(StatusDocument, frame["status"])
            self.daemon = cast(DaemonDocument, frame["daemon"])
            self.payload = b""


class Site:
    """Answers requests from the last tick. `own` tells the frontend's counts, `clock` monotonic seconds."""

    def __init__(self, clock: Callable[[], float], own: Callable[[], OwnCounts]) -> None:
        self._clock = clock
        self._own = own
        self._tick = _Tick()
        self._renderer = Renderer()
        self._paths: dict[str, Callable[[Request, bool], Response]] = {
            "/metrics": self._metrics,
            "/-/healthy": lambda _request, _stale: plain(200, "overlaywatch answers"),
            "/-/ready": self._ready,
            "/api/v1/status": self._status,
            "/": self._page,
        }

    def update(self, payload: bytes) -> None:
        """The payload of a newer tick."""
        self._tick = _Tick(payload, self._clock())

    def respond(self, request: Request) -> Response:
        """The answer to any request."""
        answer = self._paths.get(request.path)
        if answer is None:
            return plain(404, "no such page; there are / /metrics /api/v1/status /-/healthy /-/ready")
        if request.method not in _METHODS:
            return plain(405, "only GET and HEAD: nothing can be changed here", {"Allow": ", ".join(_METHODS)})
        self._tick.parse()
        return answer(request, self._is_stale())

    def metrics_text(self) -> bytes:
        """What /metrics answers now, in the text format."""
        self._tick.parse()
        return self._metrics(_UNPACKED, self._is_stale()).body

    def _is_stale(self) -> bool:
        daemon = self._tick.daemon
        return daemon is not None and is_stale(self._clock() - self._tick.at, daemon["pace_seconds"])

    def _facts(self, *, stale: bool) -> Facts:
        return Facts(None if stale else self._tick.status, self._tick.daemon, self._own())

    def _once(self, request: Request, key: str, *, stale: bool, make: Callable[[], Response]) -> Response:
        """The answer that was made for this tick, made now if it was not yet; packed for who takes gzip."""
        answers = self._tick.answers
        gzip = prefers_gzip(request.headers)
        wanted = (key, stale, gzip)
        if wanted not in answers:
            answers[wanted] = _gzipped(self._once(_UNPACKED, key, stale=stale, make=make)) if gzip else make()
        return answers[wanted]

    def _metrics(self, request: Request, stale: bool) -> Response:
        accept = negotiate(request.headers.get("accept", ""))

        def make() -> Response:
            body, content_type = self._renderer.render(self._facts(stale=stale), accept)
            return Response(200, content_type, body, (("Vary", "Accept, Accept-Encoding"),))

        return self._once(request, f"metrics {accept}", stale=stale, make=make)

    def _ready(self, _request: Request, stale: bool) -> Response:
        daemon = self._tick.daemon
        if daemon is None or not daemon["ready"]:
            return plain(503, _NO_LOOK_YET)
        return plain(503, _TOO_OLD) if stale else plain(200, "overlaywatch is ready")

    def _status(self, request: Request, stale: bool) -> Response:
        status = self._tick.status

        def make() -> Response:
            if status is None or stale:
                return _json(503, {"error": _TOO_OLD if stale else _NO_LOOK_YET})
            return _json(200, status)

        return self._once(request, "status", stale=stale, make=make)

    def _page(self, request: Request, stale: bool) -> Response:
        def make() -> Response:
            body = page.render(self._facts(stale=stale), _TOO_OLD if stale else _NO_LOOK_YET)
            return Response(200, HTML, body, (*page.HEADERS, ("Vary", "Accept-Encoding")))

        return self._once(request, "page", stale=stale, make=make)


def _json(status: int, document: Mapping[str, object]) -> Response:
    return Response(status, JSON, json.dumps(document).encode() + b"\n", (("Vary", "Accept-Encoding"),))


def _gzipped(response: Response) -> Response:
    """Level 1: a third of the time of level 6, for a sixth more bytes."""
    packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    body = packer.compress(response.body) + packer.flush()
    return Response(response.status, response.content_type, body, (*response.headers, ("Content-Encoding", "gzip")))
