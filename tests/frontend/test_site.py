# SPDX-License-Identifier: Apache-2.0
"""What each path is answered with, how often it is made, and when it is too old to be told."""

import json
import zlib

import pytest

from overlaywatch.frontend.facts import OwnCounts
from overlaywatch.frontend.http_request import Request
from overlaywatch.frontend.http_response import Response
from overlaywatch.frontend.site import Site
from tests.cli import ticks
from tests.frontend.support import tick_payload

PATHS = ("/metrics", "/-/healthy", "/-/ready", "/api/v1/status", "/")


class Visit:
    """A site, and the clock it sees."""

    def __init__(self) -> None:
        self.now = 100.0
        self.counted = 0
        self.site = Site(lambda: self.now, self.counts)

    def counts(self) -> OwnCounts:
        """The frontend's own counts: asked for once for each rendering."""
        self.counted += 1
        return OwnCounts()

    def get(self, path: str, method: str = "GET", **headers: str) -> Response:
        """One request."""
        return self.site.respond(Request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}))


@pytest.fixture
def visit() -> Visit:
    """A site that has seen a tick."""
    made = Visit()
    made.site.update(tick_payload(ticks.filling()))
    return made


def test_status_is_the_document(visit: Visit) -> None:
    """The API answers with the document that came through the pipe."""
    answer = visit.get("/api/v1/status")
    document = json.loads(answer.body)
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert (document["version"], document["mounts"][0]["mount_point"]) == (1, "/")
    assert document["mounts"][0]["time_to_full_seconds"] == 500


def test_all_paths_answer(visit: Visit) -> None:
    """Each path of the contract is answered with 200 once there is a tick."""
    assert [visit.get(path).status for path in PATHS] == [200] * 5


@pytest.mark.parametrize("path", ["/metrics/", "/favicon.ico", "/api/v1/status/x", "/..", "//", "/Metrics"])
def test_other_paths_are_404(visit: Visit, path: str) -> None:
    """What is not there is not there, whatever the method."""
    assert visit.get(path).status == 404
    assert visit.get(path, "DELETE").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "X"])
@pytest.mark.parametrize("path", PATHS)
def test_other_methods_are_405(visit: Visit, path: str, method: str) -> None:
    """Nothing over HTTP changes anything: only GET and HEAD are allowed, and the answer says so."""
    answer = visit.get(path, method)
    assert (answer.status, dict(answer.headers)["Allow"]) == (405, "GET, HEAD")


def test_before_the_first_tick() -> None:
    """A frontend without a tick is healthy and not ready; it has no status, and metrics of itself only."""
    visit = Visit()
    assert visit.get("/-/healthy").status == 200
    assert visit.get("/-/ready").status == 503
    assert visit.get("/api/v1/status").status == 503
    assert b"overlaywatch_http_connections" in visit.get("/metrics").body
    assert "has not looked yet" in visit.get("/").body.decode()


def test_old_numbers_are_not_told(visit: Visit) -> None:
    """When ticks stop coming, the last one vanishes from every answer after a minute, not before."""
    visit.now += 60.0
    assert visit.get("/-/ready").status == 200
    visit.now += 0.1
    assert visit.get("/-/healthy").status == 200
    assert visit.get("/-/ready").status == 503
    assert visit.get("/api/v1/status").status == 503
    metrics = visit.get("/metrics").body
    assert b"overlaywatch_mount_headroom_bytes" not in metrics
    assert b"overlaywatch_last_tick_timestamp_seconds" in metrics
    assert b"too old" in visit.get("/").body


def test_a_new_tick_ends_staleness(visit: Visit) -> None:
    """The next tick brings everything back."""
    visit.now += 100.0
    assert visit.get("/-/ready").status == 503
    visit.site.update(tick_payload(ticks.fresh()))
    assert visit.get("/-/ready").status == 200


def test_a_storm_costs_one_rendering(visit: Visit) -> None:
    """A thousand scrapes of one tick get the very same bytes object, made once."""
    bodies = {id(visit.get("/metrics").body) for _ in range(1000)}
    assert len(bodies) == 1
    assert visit.counted == 1


def test_each_tick_is_rendered_anew(visit: Visit) -> None:
    """After the next tick the next scrape has its numbers."""
    before = visit.get("/metrics").body
    visit.site.update(tick_payload(ticks.fresh()))
    assert visit.get("/metrics").body != before


def test_ticks_that_nobody_asks_for_are_not_parsed(visit: Visit) -> None:
    """A tick that is followed by another before somebody asks costs no parsing: not even bad JSON is noticed."""
    visit.site.update(b'{"type": "tick", broken')
    visit.site.update(tick_payload(ticks.fresh()))
    assert visit.get("/api/v1/status").status == 200


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/status", "/"])
def test_gzip_is_the_same_text(visit: Visit, path: str) -> None:
    """Who takes gzip gets less bytes of the same text."""
    plain, packed = visit.get(path), visit.get(path, accept_encoding="gzip")
    assert dict(packed.headers)["Content-Encoding"] == "gzip"
    assert len(packed.body) < len(plain.body) / 2
    assert zlib.decompress(packed.body, 31) == plain.body
    assert "Accept-Encoding" in dict(plain.headers)["Vary"]


def test_formats_are_kept_apart(visit: Visit) -> None:
    """The answers for two formats, packed or not, are four different ones."""
    kinds = [{}, {"accept": "application/openmetrics-text"}]
    bodies = [
        visit.get("/metrics", **kind, **gzip).body for kind in kinds for gzip in ({}, {"accept_encoding": "gzip"})
    ]
    assert len(set(bodies)) == 4
    assert bodies[2].endswith(b"# EOF\n")
