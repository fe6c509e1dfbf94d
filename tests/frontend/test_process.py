# SPDX-License-Identifier: Apache-2.0
"""The frontend as a real process: what it holds, what it answers, how it lives and dies."""

import json
import os
import resource
import signal
import socket
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from overlaywatch import pipe
from overlaywatch.frontend.http_connection import Limits
from overlaywatch.frontend.listen import Address, AddressError, bind, name_of
from overlaywatch.frontend.process import prepare, spawn
from overlaywatch.pipe import Delivered, Listening, Problem
from tests.cli import ticks
from tests.frontend.frontends import Forked, frontend
from tests.frontend.receivers import alertmanager, black_hole, webhook
from tests.frontend.support import connect, fetch, notification, parse_answer, request, tick_frame, until

IS_ROOT = os.geteuid() == 0


def tell(forked: Forked, frame: dict[str, object]) -> None:
    """A frame of the engine."""
    forked.send(pipe.encode(frame))


def ticked(forked: Forked) -> str:
    """Its address, once it has seen a tick."""
    address = forked.address()
    forked.send(tick_frame(ticks.filling()))
    until(lambda: fetch(address, "/-/ready").status == 200)
    return address


def rss_kib(pid: int) -> int:
    """Resident memory of a process (proc(5), VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("a process without memory")


def test_where_descriptors_are_short_none_is_lost() -> None:
    """There is room for the first pipe and not for the second: the engine tries that again for as long as it lives."""
    options = prepare(["127.0.0.1:0"])
    before = os.listdir("/proc/self/fd")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    third_free = [number for number in range(soft) if not Path(f"/proc/self/fd/{number}").is_symlink()][2]
    resource.setrlimit(resource.RLIMIT_NOFILE, (third_free, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            spawn(options)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert os.listdir("/proc/self/fd") == before


# --- privilege ------------------------------------------------------------------------------------


def test_it_has_no_privilege() -> None:
    """Not root, no capability in any set, no way to gain one: seen from outside, by the kernel's account."""
    with frontend() as forked:
        runs_as = forked.take(Listening).runs_as
        facts = forked.facts()
        assert {facts[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
        assert facts["NoNewPrivs"] == "1"
        assert facts["Name"] == "overlaywatch-fe"
        if IS_ROOT:
            assert "0" not in facts["Uid"].split() + facts["Gid"].split()
            assert facts["Groups"] == ""
            assert facts["CapBnd"] == "0" * 16
            assert "without capabilities" in runs_as
        else:
            assert "no privilege to give up" in runs_as


def test_it_holds_no_device_and_no_file() -> None:
    """Its descriptors are sockets, pipes and an event poll: nothing of the engine's, no terminal, no disk."""
    with ExitStack() as stack:
        for path in ("/dev/null", "/dev/zero", "/proc/self/mountinfo", "/"):
            stack.callback(os.close, os.open(path, os.O_RDONLY))
        high = os.dup2(2, 900)
        stack.callback(os.close, high)
        forked = stack.enter_context(frontend())
        fetch(forked.address(), "/metrics")
        kinds = {target.partition(":")[0] for target in forked.open_files()}
        assert kinds == {"socket", "pipe", "anon_inode"}
        assert {target for target in forked.open_files() if "anon" in target} == {"anon_inode:[eventpoll]"}
        assert os.readlink(f"/proc/{forked.pid}/cwd") == "/"


def test_nothing_is_served_if_privilege_is_left() -> None:
    """If it cannot become somebody else it serves nothing, and says why; the engine goes on."""
    options = prepare(["127.0.0.1:0"])
    root = replace(options, identity=replace(options.identity, uid=0, gid=0))
    with frontend(root) as forked:
        if IS_ROOT:
            assert "the way back to root" in forked.take(Problem).text
            assert forked.wait() == 1
            assert not [report for report in forked.reports if isinstance(report, Listening)]
        else:
            assert "no privilege to give up" in forked.take(Listening).runs_as


def test_signals_of_the_engine_are_not_for_it() -> None:
    """A stop or a reload that a service manager sends to every process leaves it alone: the engine decides."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: seen.append(number))
    try:
        with frontend() as forked:
            address = forked.address()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                os.kill(forked.pid, number)
            assert fetch(address, "/-/healthy").status == 200
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == []


def test_the_engine_keeps_its_signals() -> None:
    """Forking leaves the engine's signal mask and handlers as they were."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.getsignal(signal.SIGINT)
    with frontend() as forked:
        forked.address()
        assert (signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.getsignal(signal.SIGINT)) == before


# --- life and death -------------------------------------------------------------------------------


def test_it_ends_with_the_engine() -> None:
    """When the pipe is closed it ends at once, though a client is connected."""
    with frontend() as forked, connect(forked.address()):
        forked.hang_up()
        assert forked.wait() == 0


def test_it_delivers_before_it_goes() -> None:
    """After goodbye what is pending is delivered, also when the engine closes the pipe behind it."""
    with webhook() as hook, frontend() as forked:
        tell(forked, notification("webhook", [hook.url]))
        forked.send(pipe.encode(pipe.GOODBYE))
        forked.hang_up()
        assert forked.wait() == 0
        assert len(hook.posted) == 1
        assert forked.take(Delivered).outcome == "applied"


def test_it_does_not_wait_for_ever() -> None:
    """A server that hangs does not keep it: two seconds after goodbye it is gone."""
    with black_hole() as hole, frontend() as forked:
        tell(forked, notification("webhook", [hole]))
        forked.send(pipe.encode(pipe.GOODBYE))
        assert forked.wait() == 0


def test_a_broken_pipe_is_the_end() -> None:
    """Bytes that are no frame end it with its last words, and without harm to the engine."""
    with frontend() as forked:
        forked.address()
        forked.send(b"\xff\xff\xff\xff")
        assert "FrameError" in forked.take(Problem).text
        assert forked.wait() == 1


def test_it_can_be_forked_again() -> None:
    """After a violent death another one is forked from the same options, and answers."""
    options = prepare(["127.0.0.1:0"])
    with frontend(options) as first:
        first.address()
        os.kill(first.pid, signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
        with frontend(options) as second:
            assert fetch(ticked(second), "/metrics").status == 200


# --- addresses ------------------------------------------------------------------------------------


def test_a_port_in_use_is_said_and_the_rest_served() -> None:
    """An address that somebody else has is named with its reason; the other one answers."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = name_of(other)
        with frontend(prepare([taken, "127.0.0.1:0"])) as forked:
            report = forked.take(Listening)
            assert report.failed == (f"{taken}: Address already in use",)
            assert fetch(report.addresses[0], "/-/healthy").status == 200


def test_off_listens_to_nothing_and_delivers() -> None:
    """Without HTTP it still tells what is to be told."""
    with webhook() as hook, frontend(prepare(["off"])) as forked:
        assert forked.take(Listening).addresses == ()
        tell(forked, notification("webhook", [hook.url]))
        assert forked.take(Delivered).outcome == "applied"


def test_sockets_of_a_service_manager_are_used() -> None:
    """A socket that was bound by somebody else is answered on, and stays open in the engine."""
    bound = bind(Address("127.0.0.1", 0))
    with frontend(prepare(["off"]), [bound]) as forked:
        assert forked.address() == name_of(bound)
        assert fetch(name_of(bound), "/-/healthy").status == 200
    assert bound.fileno() >= 0
    bound.close()


def test_a_bad_address_is_an_error_before_the_fork() -> None:
    """A wrong option is told to who started the daemon, not to a log."""
    with pytest.raises(AddressError, match="expected HOST:PORT"):
        prepare(["10087"])


# --- answers --------------------------------------------------------------------------------------


def test_the_whole_way_of_a_tick() -> None:
    """A tick that goes into the pipe comes out as metrics, JSON and a page; the figures are the same."""
    with frontend() as forked:
        address = ticked(forked)
        document = json.loads(fetch(address, "/api/v1/status").body)
        metrics = fetch(address, "/metrics").body.decode()
        page = fetch(address, "/").body.decode()
    (layer,) = [each for each in document["layers"] if each["id"] == "dm-snapshot:live-rw"]
    assert layer["used_bytes"] == 110_888 * 512
    assert f'overlaywatch_layer_used_bytes{{layer="dm-snapshot:live-rw"}} {layer["used_bytes"] / 1e7}e+07' in metrics
    assert "84.6%" in page


def test_nothing_can_be_changed() -> None:
    """Other methods are 405, other paths 404, over the wire."""
    with frontend() as forked:
        address = ticked(forked)
        answer = fetch(address, "/metrics", "POST", Content_Length="0")
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        assert fetch(address, "/approve").status == 404
        assert fetch(address, "/metrics", "HEAD").body == b""


def test_a_storm_of_scrapes_grows_no_memory() -> None:
    """Three thousand scrapes, many of them never read, leave the process as large as it was."""
    with frontend() as forked:
        address = ticked(forked)
        storm(address, 300)
        before = rss_kib(forked.pid)
        storm(address, 3000)
        assert rss_kib(forked.pid) - before < 2048
        assert fetch(address, "/-/ready").status == 200


def storm(address: str, times: int) -> None:
    """So many clients: each asks for everything, some read, some leave at once."""
    for number in range(times):
        with connect(address) as client:
            client.sendall(request("/metrics") + request("/api/v1/status") + request("/"))
            if number % 3 == 0:
                assert parse_answer(client.recv(1 << 20))


def test_ticks_are_taken_while_clients_hang() -> None:
    """Clients that say nothing, and one that does not read, keep no tick from those who ask."""
    limits = Limits(connections=8)
    with frontend(replace(prepare(["127.0.0.1:0"]), limits=limits)) as forked, ExitStack() as stack:
        address = ticked(forked)
        for number in range(20):
            client = stack.enter_context(connect(address))
            client.sendall(b"GET /metr" if number % 2 else request("/metrics") * 200)
        forked.send(tick_frame(ticks.overflowed()))
        until(lambda: b'live-rw",state="overflow"} 1.0' in fetch(address, "/metrics").body)


# --- delivery -------------------------------------------------------------------------------------


def test_an_alert_reaches_a_real_alertmanager(tmp_path: Path) -> None:
    """From the pipe to the API of a real Alertmanager, by a process without privilege."""
    with alertmanager(tmp_path) as receiver, frontend() as forked:
        tell(forked, notification("alertmanager", [receiver.url]))
        assert forked.take(Delivered).outcome == "applied"
        assert [alert["labels"] for alert in receiver.alerts()] == [
            {"alertname": "OverlayRootWarn", "severity": "critical", "mount_point": "/"}
        ]


def test_a_frame_that_cannot_be_read_is_a_failed_delivery() -> None:
    """A notification of a kind that this frontend does not know is reported, and the next is delivered."""
    with webhook() as hook, frontend() as forked:
        tell(forked, notification("pigeon", [hook.url]))
        report = forked.take(Delivered)
        assert (report.id, report.outcome, report.final) == ("page:root:warn:/", "failed", True)
        tell(forked, notification("webhook", [hook.url], id="next"))
        assert forked.take(Delivered).id == "next"


def test_frames_of_a_newer_engine_are_let_be() -> None:
    """A frame of a type that is not known here is no reason to die."""
    with frontend() as forked:
        tell(forked, {"type": "something new"})
        assert fetch(ticked(forked), "/-/healthy").status == 200
