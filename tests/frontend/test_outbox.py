# SPDX-License-Identifier: Apache-2.0
"""What is told, to whom, when, and how often: hours of it in no time."""

import json

import pytest

from overlaywatch.frontend.alertmanager import RESEND_SECONDS, RESOLVED_SECONDS, payload, rfc3339
from overlaywatch.frontend.notice import Notice, Post, Result, parse_notice, parse_target, pause_after
from overlaywatch.frontend.outbox import Outbox
from overlaywatch.frontend.webhook import GIVE_UP_SECONDS
from overlaywatch.pipe import Delivered, FrameError
from tests.frontend.support import notification, resolution

FIRST, SECOND, HOOK = "http://am1:9093", "http://am2:9093/prefix/", "http://hook:8080/secret-path?token=s3cret"
GOOD, REFUSED, DOWN = Result(200), Result(400, "HTTP 400: no"), Result(None, "Connection refused")
UNIX = 1_767_268_804.0


def notice(kind: str = "alertmanager", urls: tuple[str, ...] = (FIRST,), **other: object) -> Notice:
    """An alert that fires."""
    return parse_notice(notification(kind, list(urls), **other))


def over(kind: str = "alertmanager", urls: tuple[str, ...] = (FIRST,), **other: object) -> Notice:
    """The same, over."""
    return parse_notice(resolution(notification(kind, list(urls), **other)))


class World:
    """An outbox, a clock, and receivers that answer as they are told to."""

    def __init__(self, most: int = 1000) -> None:
        self.now = 0.0
        self.outbox = Outbox(lambda: 0.0, most)
        self.answers: dict[str, Result] = {}
        self.posts: list[tuple[float, Post]] = []
        self.reports: list[Delivered] = []

    def add(self, added: Notice) -> None:
        """Something to tell."""
        self.reports += self.outbox.add(added, self.now)

    def live(self, seconds: float) -> None:
        """Go on for so long; each request is answered at once."""
        end = self.now + seconds
        while (at := self.outbox.next_due()) is not None and at <= end:
            self.now = max(self.now, at)
            posts = self.outbox.due(self.now, UNIX + self.now)
            assert posts, "something was due and nothing was sent"
            for post in posts:
                self.posts.append((self.now, post))
                self.reports += self.outbox.done(post, self.answers.get(post.target.host, GOOD), self.now)
        self.now = end

    def times(self, host: str) -> list[float]:
        """When this receiver was asked."""
        return [at for at, post in self.posts if post.target.host == host]

    def outcomes(self) -> list[tuple[str, str, bool]]:
        """What the engine was told: where, how, and whether that is the end."""
        return [(report.target, report.outcome, report.final) for report in self.reports]


@pytest.fixture(name="w")
def one_world() -> World:
    """An empty outbox at the beginning of time."""
    return World()


def test_a_firing_alert_is_repeated_each_minute(w: World) -> None:
    """Alertmanager hears of it at once and each minute; the engine hears of that once."""
    w.add(notice())
    w.live(300)
    assert w.times("am1") == [0, 60, 120, 180, 240, 300]
    assert w.outcomes() == [("http://am1:9093", "applied", False)]


def test_every_alertmanager_is_told(w: World) -> None:
    """Each URL of a receiver gets it, below its own prefix, and each is reported."""
    w.add(notice(urls=(FIRST, SECOND)))
    w.live(0)
    assert {(post.target.host, post.target.path) for _, post in w.posts} == {
        ("am1", "/api/v2/alerts"),
        ("am2", "/prefix/api/v2/alerts"),
    }
    assert {report.target for report in w.reports} == {"http://am1:9093", "http://am2:9093"}


def test_a_dead_alertmanager_does_not_hold_up_the_other(w: World) -> None:
    """One URL that fails is tried again with growing pauses; the other is told as if nothing were."""
    w.answers["am1"] = DOWN
    w.add(notice(urls=(FIRST, SECOND)))
    w.live(62)
    assert w.times("am1") == [0, 1, 3, 7, 15, 31]
    assert w.times("am2") == [0, 60]


def test_failures_are_reported_once(w: World) -> None:
    """An hour of failure is one report, and its end is another: the engine is not flooded."""
    w.answers["am1"] = DOWN
    w.add(notice())
    w.live(3600)
    assert len(w.times("am1")) > 60
    assert [report.error for report in w.reports] == ["Connection refused"]
    w.answers["am1"] = GOOD
    w.live(120)
    assert [report.outcome for report in w.reports] == ["failed", "applied"]
    w.answers["am1"] = DOWN
    w.live(600)
    assert [report.outcome for report in w.reports] == ["failed", "applied", "failed"]


def test_a_resolved_alert_is_told_for_a_quarter_of_an_hour(w: World) -> None:
    """After it is over Alertmanager hears that for 15 minutes, then nothing more."""
    w.add(notice())
    w.live(90)
    w.posts.clear()
    w.add(over())
    w.live(3600)
    assert w.times("am1") == [90 + RESEND_SECONDS * number for number in range(int(RESOLVED_SECONDS / 60) + 1)]
    assert w.outbox.next_due() is None
    assert [report.firing for report in w.reports] == [True, False]


def test_an_end_that_nobody_hears_is_given_up(w: World) -> None:
    """If Alertmanager is down all that time, the end is reported as failed for good."""
    w.answers["am1"] = DOWN
    w.add(over())
    w.live(3600)
    assert w.outcomes() == [("http://am1:9093", "failed", False), ("http://am1:9093", "failed", True)]
    assert w.outbox.next_due() is None


def test_a_new_frame_takes_the_place_of_the_old(w: World) -> None:
    """An alert that is renewed is sent with its new figures at once, and reported again."""
    w.add(notice())
    w.live(10)
    w.add(notice(annotations={"summary": "worse"}))
    w.live(10)
    assert w.times("am1") == [0, 10]
    assert json.loads(w.posts[1][1].body)[0]["annotations"] == {"summary": "worse"}
    assert len(w.reports) == 2


def test_alerts_of_one_moment_go_together(w: World) -> None:
    """Ten alerts are one request, not ten; more than 64 are sent in pieces."""
    for number in range(10):
        w.add(notice(id=f"id-{number}"))
    w.live(0)
    assert [len(json.loads(post.body)) for _, post in w.posts] == [10]
    w.posts.clear()
    for number in range(100):
        w.add(notice(id=f"more-{number}"))
    w.live(0)
    assert [len(json.loads(post.body)) for _, post in w.posts] == [64, 36]


def test_a_receiver_that_moved_is_told_at_its_new_place_only(w: World) -> None:
    """URLs that a receiver has no more hear nothing more of its alerts."""
    w.add(notice(urls=(FIRST,)))
    w.live(0)
    w.add(notice(urls=(SECOND,)))
    w.live(120)
    assert w.times("am1") == [0]
    assert w.times("am2") == [0, 60, 120]


def test_one_request_at_a_time_for_each_url(w: World) -> None:
    """While a request is under way nothing more is sent there: a server that hangs costs one thread."""
    w.add(notice())
    w.add(notice("webhook", (HOOK,)))
    w.add(notice("webhook", (HOOK,), id="other"))
    assert len(w.outbox.due(0.0, UNIX)) == 2
    w.add(notice(id="another"))
    assert w.outbox.due(1000.0, UNIX) == []


def test_a_webhook_is_told_once(w: World) -> None:
    """A webhook that answers gets a firing once and its end once; both are final."""
    w.add(notice("webhook", (HOOK,)))
    w.live(7200)
    w.add(over("webhook", (HOOK,)))
    w.live(7200)
    assert [json.loads(post.body)["status"] for _, post in w.posts] == ["firing", "resolved"]
    assert w.outcomes() == [("http://hook:8080", "applied", True)] * 2


def test_a_webhook_is_tried_again_until_it_answers(w: World) -> None:
    """Failures are repeated with pauses of 1, 2, 4 … 60 seconds; the first and the success are reported."""
    w.answers["hook"] = Result(503, "HTTP 503")
    w.add(notice("webhook", (HOOK,)))
    w.live(130)
    w.answers["hook"] = GOOD
    w.live(60)
    assert w.times("hook") == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    assert w.outcomes() == [("http://hook:8080", "failed", False), ("http://hook:8080", "applied", True)]


@pytest.mark.parametrize(("status", "tries"), [(400, 1), (404, 1), (302, 1), (410, 1)])
def test_a_webhook_that_refuses_is_not_asked_again(w: World, status: int, tries: int) -> None:
    """What is refused for good is reported as failed for good."""
    w.answers["hook"] = Result(status, f"HTTP {status}")
    w.add(notice("webhook", (HOOK,)))
    w.live(7200)
    assert len(w.posts) == tries
    assert w.outcomes() == [("http://hook:8080", "failed", True)]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, None])
def test_a_webhook_that_asks_for_patience_is_asked_again(w: World, status: int | None) -> None:
    """Too many requests, timeouts and server errors are not refusals; after an hour it is given up."""
    w.answers["hook"] = Result(status, "later")
    w.add(notice("webhook", (HOOK,)))
    w.live(2 * GIVE_UP_SECONDS)
    assert GIVE_UP_SECONDS <= w.times("hook")[-1] <= GIVE_UP_SECONDS + 60
    assert w.outcomes() == [("http://hook:8080", "failed", False), ("http://hook:8080", "failed", True)]
    assert w.outbox.next_due() is None


def test_the_end_never_overtakes_the_beginning(w: World) -> None:
    """While the beginning is being tried, the end waits; other notices do not."""
    w.answers["hook"] = DOWN
    w.add(notice("webhook", (HOOK,)))
    w.add(over("webhook", (HOOK,)))
    w.add(notice("webhook", (HOOK,), id="other", body={"status": "other"}))
    w.live(10)
    assert "resolved" not in [json.loads(post.body)["status"] for _, post in w.posts]
    w.answers["hook"] = GOOD
    w.posts.clear()
    w.live(60)
    said = [json.loads(post.body)["status"] for _, post in w.posts]
    assert sorted(said) == ["firing", "other", "resolved"]
    assert said.index("firing") < said.index("resolved")


def test_the_same_notice_waits_once(w: World) -> None:
    """A frame that is sent again before it could be delivered is delivered once."""
    w.answers["hook"] = DOWN
    for _ in range(5):
        w.add(notice("webhook", (HOOK,)))
    assert w.outbox.pending() == {"page": 1}


def test_a_full_outbox_refuses_and_says_so() -> None:
    """What does not fit is reported as failed at once; what was promised is kept."""
    w = World(most=3)
    for number in range(5):
        w.add(notice("webhook", (HOOK,), id=str(number)))
    assert [(report.id, report.outcome, report.final) for report in w.reports] == [
        ("3", "failed", True),
        ("4", "failed", True),
    ]
    w.reports.clear()
    w.live(0)
    assert [report.id for report in w.reports] == ["0", "1", "2"]


def test_pending_counts_what_has_not_arrived(w: World) -> None:
    """A notice is pending for each URL that has not taken it; a firing alert that arrived is not pending."""
    w.answers["am1"] = DOWN
    w.add(notice(urls=(FIRST, SECOND)))
    w.live(0)
    assert w.outbox.pending() == {"page": 1}
    w.answers["am1"] = GOOD
    w.live(60)
    assert w.outbox.pending() == {}


def test_reports_hold_no_secrets(w: World) -> None:
    """Paths and queries of webhooks are often passwords: reports name the origin only."""
    w.answers["hook"] = DOWN
    w.add(notice("webhook", (HOOK,)))
    w.live(0)
    w.add(notice("webhook", ("ftp://user:pass@host/secret-path",)))
    assert [report.target for report in w.reports] == ["http://hook:8080", "ftp://host"]
    assert all("secret" not in report.error and "s3cret" not in report.error for report in w.reports)


@pytest.mark.parametrize(
    "url", ["ftp://h/", "http://", "http://h:99999/", "http://h/a b", "http://h/\u00e4", "nonsense"]
)
def test_urls_that_lead_nowhere_fail_at_once(w: World, url: str) -> None:
    """A URL that cannot be used is a failure for good, and no exception."""
    w.add(notice("webhook", (url,)))
    assert [(report.outcome, report.final) for report in w.reports] == [("failed", True)]


def test_targets() -> None:
    """Hosts, ports and paths of URLs, with the defaults of their schemes."""
    target = parse_target("https://[2001:db8::1]/a?b=c")
    assert (target.tls, target.host, target.port, target.path) == (True, "2001:db8::1", 443, "/a?b=c")
    assert target.origin == "https://[2001:db8::1]:443"
    assert parse_target("http://h").port == 80


# --- what Alertmanager is sent --------------------------------------------------------------------


def test_an_alert_is_valid() -> None:
    """Times are RFC 3339, a firing alert ends four minutes ahead, empty labels are left out."""
    (alert,) = json.loads(payload([notice(starts_at=UNIX)], UNIX + 30))
    assert alert["startsAt"] == "2026-01-01T12:00:04.000Z"
    assert alert["endsAt"] == "2026-01-01T12:04:34.000Z"
    assert alert["labels"] == {"alertname": "OverlayRootWarn", "severity": "critical", "mount_point": "/"}
    assert alert["annotations"]["summary"].startswith("/: ")


def test_a_resolved_alert_ends_when_it_ended() -> None:
    """The end of a resolved alert stays what it was, however late it is sent; never before its start."""
    ended = parse_notice({**resolution(notification("alertmanager", [FIRST], starts_at=UNIX)), "ends_at": UNIX + 7.5})
    (alert,) = json.loads(payload([ended], UNIX + 600))
    assert alert["endsAt"] == "2026-01-01T12:00:11.500Z"
    early = parse_notice({**resolution(notification("alertmanager", [FIRST], starts_at=UNIX)), "ends_at": UNIX - 7})
    (alert,) = json.loads(payload([early], UNIX + 600))
    assert alert["endsAt"] == alert["startsAt"]


def test_labels_are_made_to_be_taken() -> None:
    """Names that Prometheus does not know, and text that is no UTF-8, do not make the alert invalid."""
    labels = {"a-b": "1", "7up": "2", "path": "/\udcff", "": "no name", "alertname": ""}
    (alert,) = json.loads(payload([notice(labels=labels)], UNIX))
    assert alert["labels"] == {"alertname": "OverlaywatchAlert", "a_b": "1", "_7up": "2", "path": "/\\udcff"}


def test_times_are_rfc_3339() -> None:
    """Seconds with milliseconds, in UTC."""
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"


# --- frames ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "pigeon"},
        {"config": {"urls": []}},
        {"config": {"urls": "http://h"}},
        {"config": None},
        {"labels": []},
        {"starts_at": "yesterday"},
        {"starts_at": True},
        {"starts_at": -1},
        {"starts_at": float("nan")},
        {"ends_at": 1e18},
        {"body": "text"},
        {"config": {"urls": [FIRST], "timeout": "5"}},
    ],
)
def test_a_bad_frame_is_one_error(wrong: dict[str, object]) -> None:
    """Each field of a wrong type or range is a FrameError, and no other exception."""
    with pytest.raises(FrameError, match="notification"):
        parse_notice({**notification("alertmanager", [FIRST]), **wrong})


@pytest.mark.parametrize(
    "key", ["id", "receiver", "kind", "config", "firing", "labels", "starts_at", "ends_at", "body"]
)
def test_a_frame_without_a_key_is_one_error(key: str) -> None:
    """So is one that lacks a key."""
    frame = notification("webhook", [HOOK])
    del frame[key]
    with pytest.raises(FrameError, match=key):
        parse_notice(frame)


def test_pauses_grow_and_scatter() -> None:
    """Pauses double to a minute; chance takes up to a half off, so that a thousand machines do not come at once."""
    assert [pause_after(failures, lambda: 0.0) for failures in (1, 2, 3, 7, 50)] == [1, 2, 4, 60, 60]
    assert pause_after(7, lambda: 1.0) == 30
