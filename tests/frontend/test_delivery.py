# SPDX-License-Identifier: Apache-2.0
"""Notifications over real sockets: to servers that take them, refuse them, hang, drip, or are not there."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from overlaywatch.frontend.delivery import Delivery
from overlaywatch.frontend.notice import parse_notice
from overlaywatch.frontend.post import AddressBook, Place, look_up, tls_context
from overlaywatch.frontend.workers import Workers
from overlaywatch.pipe import Delivered
from tests.frontend.receivers import CERTIFICATE, alertmanager, black_hole, dripping, webhook
from tests.frontend.support import notification, resolution, until


class Post:
    """A delivery that is stepped by the test, on a clock that it can push ahead."""

    def __init__(self, urls: Sequence[str] = (), tls: ssl.SSLContext | None = None) -> None:
        self.ahead = 0.0
        self.reports: list[Delivered] = []
        self.delivery = Delivery(lambda: time.monotonic() + self.ahead, time.time, urls=urls, tls=tls)

    def add(self, frame: dict[str, object]) -> None:
        """A frame of the engine."""
        self.reports += self.delivery.add(parse_notice(frame))

    def step(self) -> None:
        """One turn of the loop."""
        self.reports += self.delivery.step()
        time.sleep(0.005)

    def until(self, happened: Callable[[], bool]) -> None:
        """Turn until it has happened."""
        until(happened, self.step)


@contextmanager
def delivering(urls: Sequence[str] = (), tls: ssl.SSLContext | None = None) -> Iterator[Post]:
    """A delivery whose threads have ended afterwards."""
    made = Post(urls, tls)
    try:
        yield made
    finally:
        made.delivery.close(patience=10.0)


def test_a_webhook_receives_the_document() -> None:
    """The body of the frame is posted as JSON to the URL, query and all, and reported once."""
    with webhook() as hook, delivering() as post:
        post.add(notification("webhook", [hook.url]))
        post.until(lambda: bool(post.reports))
        assert hook.posted == [("/overlay?token=t", {"version": 1, "status": "firing", "id": "page:root:warn:/"})]
        assert hook.headers[0]["content-type"] == "application/json"
        assert hook.headers[0]["user-agent"].startswith("overlaywatch/")
        (report,) = post.reports
        assert (report.id, report.receiver, report.outcome, report.error) == ("page:root:warn:/", "page", "applied", "")


def test_a_webhook_that_recovers() -> None:
    """A server error is reported once, with its words, and tried again until it is taken."""
    with webhook() as hook, delivering() as post:
        hook.status = 503
        post.add(notification("webhook", [hook.url]))
        post.until(lambda: bool(post.reports))
        post.ahead += 60.0
        post.until(lambda: len(hook.posted) == 2)
        hook.status = 200
        post.ahead += 60.0
        post.until(lambda: len(post.reports) == 2)
        assert [report.outcome for report in post.reports] == ["failed", "applied"]
        assert post.reports[0].error == "HTTP 503 Service Unavailable: so it is"


def test_nobody_there() -> None:
    """A port where nobody listens is a failure that says so."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with delivering() as post:
        post.add(notification("webhook", [url]))
        post.until(lambda: bool(post.reports))
        assert post.reports[0].error == "Connection refused"


def test_a_server_that_hangs_costs_only_its_thread() -> None:
    """While one URL hangs, ten notices reach the other."""
    with black_hole() as hole, webhook() as hook, delivering() as post:
        post.add(notification("webhook", [hole], id="lost", config={"url": hole, "timeout": 0.5}))
        for number in range(10):
            post.add(notification("webhook", [hook.url], id=str(number)))
        post.until(lambda: len(hook.posted) == 10)
        assert "lost" not in [report.id for report in post.reports]
        post.until(lambda: len(post.reports) == 11)
        assert [report.error for report in post.reports if report.id == "lost"] == ["timed out"]


def test_a_server_that_drips_is_cut() -> None:
    """One byte now and then keeps no thread: three timeouts after its start the request is cut off."""
    with dripping() as url, delivering() as post:
        post.add(notification("webhook", [url], config={"url": url, "timeout": 0.2}))
        post.until(lambda: bool(post.reports))
        assert post.reports[0].error == "it took too long"


def test_no_thread_is_needed_for_nothing() -> None:
    """Threads start with the first notice; ten URLs make no more than four."""
    before = threading.active_count()
    with delivering() as post:
        post.step()
        assert threading.active_count() == before
        with black_hole() as hole:
            for number in range(10):
                url = f"{hole}{number}"
                post.add(notification("webhook", [url], id=str(number), config={"url": url, "timeout": 0.3}))
            post.step()
            assert threading.active_count() == before + 4


def test_tls_is_verified() -> None:
    """A certificate that the context trusts is taken, for its name; one that it does not trust is refused."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.load_verify_locations(CERTIFICATE)
    with webhook(tls=True) as hook, delivering(tls=trusting) as post:
        post.add(notification("webhook", [hook.url]))
        post.until(lambda: bool(post.reports))
        assert [report.outcome for report in post.reports] == ["applied"]
        with delivering(tls=tls_context()) as other:
            other.add(notification("webhook", [hook.url]))
            other.until(lambda: bool(other.reports))
            assert "CERTIFICATE_VERIFY_FAILED" in other.reports[0].error
    assert len(hook.posted) == 1


def test_a_plain_server_is_no_tls_server() -> None:
    """https to a port that speaks http is a failure, not a hang."""
    with webhook() as hook, delivering() as post:
        post.add(notification("webhook", [hook.url.replace("http:", "https:")]))
        post.until(lambda: bool(post.reports))
        assert post.reports[0].outcome == "failed"


class Resolver:
    """A second way to look up names: one that can be taken away, as a dead root takes resolv.conf."""

    def __init__(self) -> None:
        self.alive = True

    def __call__(self, host: str, port: int) -> list[Place]:
        """Every name leads to 192.0.2.1, while it is alive."""
        if not self.alive:
            raise socket.gaierror(socket.EAI_AGAIN, f"Temporary failure in name resolution: {host}")
        return [(socket.AF_INET, ("192.0.2.1", port))]


def test_names_are_remembered() -> None:
    """What a name led to is used when it cannot be looked up any more; one never looked up is an error."""
    resolver = Resolver()
    book = AddressBook(resolver)
    book.learn([("alertmanager", 9093)])
    resolver.alive = False
    assert book.find("alertmanager", 9093) == [(socket.AF_INET, ("192.0.2.1", 9093))]
    book.learn([("elsewhere", 80)])
    with pytest.raises(OSError, match="Temporary failure"):
        book.find("elsewhere", 80)


def test_the_system_looks_up_names() -> None:
    """localhost is this machine, and what can be no name harms nobody."""
    assert {address[0] for _, address in look_up("localhost", 80)} <= {"127.0.0.1", "::1"}
    AddressBook().learn([("a" * 64, 80)])


def test_names_of_receivers_are_learnt_at_start() -> None:
    """The names in the URLs of receivers are looked up before there is anything to tell; numbers are not."""
    before = threading.active_count()
    with delivering(["http://127.0.0.1:9/", "http://[::1]:9/", "nonsense"]) as post:
        post.step()
        assert threading.active_count() == before
    with delivering(["http://localhost:9/"]) as post:
        assert post.delivery.next_due() is not None
        post.step()
        assert threading.active_count() == before + 1


def test_names_of_new_receivers_are_learnt_at_once() -> None:
    """After a reload: a root may die before there is anything to tell them."""
    before = threading.active_count()
    with delivering() as post:
        post.step()
        assert threading.active_count() == before
        post.delivery.expect(["https://localhost:9/"])
        assert post.delivery.next_due() is not None
        post.step()
        assert threading.active_count() == before + 1


def test_workers_bring_back_what_was_done() -> None:
    """Work goes to at most so many threads; each outcome comes back once."""
    workers: Workers[int] = Workers(most=2)
    found: list[int] = []
    for number in range(20):
        workers.submit(lambda number=number: number * number)  # type: ignore[misc]
    until(lambda: len(found) == 20, lambda: found.extend(workers.outcomes()))
    assert sorted(found) == [number * number for number in range(20)]
    assert workers.outcomes() == []
    workers.close(patience=10.0)


def test_a_real_alertmanager_shows_it_firing_then_resolved(tmp_path: Path) -> None:
    """What is sent is an alert to a real Alertmanager: it fires with its labels, and is over when it is over."""
    with alertmanager(tmp_path) as receiver, delivering() as post:
        frame = notification("alertmanager", [receiver.url])
        post.add(frame)
        post.until(lambda: bool(post.reports))
        (report,) = post.reports
        assert (report.outcome, report.error, report.target) == ("applied", "", receiver.url)
        (alert,) = receiver.alerts()
        assert alert["labels"] == {"alertname": "OverlayRootWarn", "severity": "critical", "mount_point": "/"}
        assert alert["annotations"] == frame["annotations"]
        assert receiver.received("firing") == 1
        post.add(resolution(frame))
        post.until(lambda: len(post.reports) == 2)
        assert receiver.received("resolved") == 1
        assert receiver.alerts() == []


def test_a_real_alertmanager_is_told_again_and_again(tmp_path: Path) -> None:
    """A firing alert is sent again after a minute, and the second Alertmanager gets it though the first is dead."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    with alertmanager(tmp_path) as receiver, delivering() as post:
        post.add(notification("alertmanager", [dead, receiver.url]))
        post.until(lambda: len(post.reports) == 2)
        assert {report.target: report.outcome for report in post.reports} == {dead: "failed", receiver.url: "applied"}
        post.ahead += 60.0
        post.until(lambda: receiver.received("firing") == 2)
        assert len(receiver.alerts()) == 1
