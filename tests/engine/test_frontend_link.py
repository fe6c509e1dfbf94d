# SPDX-License-Identifier: Apache-2.0
"""The engine's end of the pipes, with real pipes and real forked frontends that behave and misbehave."""

import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from overlaywatch import pipe
from overlaywatch.engine import frontend_link
from overlaywatch.engine.frontend_link import LIVED_WELL, LONGEST_PAUSE, MOST_FRAMES, STUCK, FrontendLink

Life = Callable[[int, int], None]


@dataclass(frozen=True)
class Forked:
    """A frontend of a test."""

    pid: int
    read_fd: int
    write_fd: int


def fork(life: Life) -> Forked:
    """A child that lives this life; it gets the descriptors to read from and to write to."""
    engine_read, child_write = os.pipe2(os.O_CLOEXEC)
    child_read, engine_write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(engine_read)
            os.close(engine_write)
            life(child_read, child_write)
        finally:
            os._exit(3)
    os.close(child_read)
    os.close(child_write)
    return Forked(pid, engine_read, engine_write)


def frames(read_fd: int) -> Iterator[dict[str, object]]:
    """What the engine says, until it closes the pipe."""
    decoder = pipe.Decoder()
    while data := os.read(read_fd, 65536):
        yield from map(pipe.parse, decoder.feed(data))


def say(write_fd: int, text: object) -> None:
    """A report that is itself the finding of a test."""
    os.write(write_fd, pipe.encode_report(pipe.Problem(json.dumps(text))))


def echo(read_fd: int, write_fd: int) -> None:
    """A frontend that repeats what it hears, and leaves when it is told to."""
    for frame in frames(read_fd):
        say(write_fd, frame)
        if frame["type"] == "goodbye":
            os._exit(0)


def deaf(_read_fd: int, _write_fd: int) -> None:
    """One that hangs."""
    while True:
        signal.pause()


def rude(_read_fd: int, write_fd: int) -> None:
    """One that was taken over by somebody."""
    os.write(write_fd, b"\x00\x00\x00\x02{}")
    signal.pause()


def boastful(_read_fd: int, write_fd: int) -> None:
    """One that announces more than anybody has to say."""
    os.write(write_fd, (frontend_link.MOST_REPORT_BYTES + 1).to_bytes(4, "big"))
    signal.pause()


def mortal(_read_fd: int, _write_fd: int) -> None:
    """One that dies at once."""


@dataclass
class Bench:
    """A link, the lives of the frontends that it forks (the last one again and again), and what was heard."""

    lives: list[Life]
    heard: list[dict[str, object]] = field(default_factory=list)
    born: list[int] = field(default_factory=list)
    reborn: int = 0
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.link = FrontendLink(self._spawn, self._told)

    def _spawn(self) -> Forked:
        life = self.lives.pop(0) if len(self.lives) > 1 else self.lives[0]
        child = fork(life)
        self.born.append(child.pid)
        return child

    def _told(self) -> None:
        self.reborn += 1

    def turn(self, seconds: float = 5.0) -> None:
        """What the engine does in one turn; sleeps until a pipe is ready."""
        self.link.ensure(self.now)
        wanted = self.link.wishes()
        reading = [wish.fd for wish in wanted if wish.mask & select.EPOLLIN]
        writing = [wish.fd for wish in wanted if wish.mask & select.EPOLLOUT]
        select.select(reading, writing, [], seconds)
        self.take(self.link.receive(self.now))
        self.link.flush(self.now)

    def take(self, reports: list[pipe.Report]) -> None:
        """Note what was heard."""
        self.heard += [json.loads(one.text) for one in reports if isinstance(one, pipe.Problem)]

    def until(self, done: Callable[[], object]) -> None:
        """Turn until something holds."""
        deadline = time.monotonic() + 10
        while not done():
            assert time.monotonic() < deadline
            self.turn(0.2)


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A link to frontends of these lives, by indirect parameter; an echo if there is none."""
    made = Bench(list(getattr(request, "param", [echo])))
    yield made
    made.link.goodbye(0.0)
    made.link.ensure(made.now - 1e9)


def tick(text: str) -> bytes:
    """A tick that says so."""
    return pipe.encode_tick(json.dumps(text).encode(), {})


def heard_ticks(bench: Bench) -> list[object]:
    """The ticks that the frontend has heard of."""
    return [frame["status"] for frame in bench.heard if frame["type"] == "tick"]


def test_only_the_newest_tick_is_told(bench: Bench) -> None:
    """One that was not sent yet is nobody's loss; notifications all are told, in order, before it."""
    bench.link.ensure(bench.now)
    bench.link.publish(tick("old"))
    bench.link.publish(tick("new"))
    for number in range(3):
        bench.link.post({"type": "notify", "id": number})
    bench.until(lambda: len(bench.heard) == 4)

    assert [frame.get("id") for frame in bench.heard[:3]] == [0, 1, 2]
    assert heard_ticks(bench) == ["new"]


def test_a_new_frontend_knows_the_last_tick_and_is_told_all_anew(bench: Bench) -> None:
    """Killed at any moment, it costs nobody more than half a second of scrapes."""
    bench.link.ensure(bench.now)
    bench.link.publish(tick("last"))
    bench.until(lambda: heard_ticks(bench) == ["last"])
    os.kill(bench.born[0], signal.SIGKILL)
    bench.until(lambda: bench.link.pid is None)
    waits = bench.link.retry_in(bench.now)
    bench.now += 0.5
    bench.until(lambda: heard_ticks(bench) == ["last", "last"])

    assert (waits, len(bench.born), bench.reborn) == (0.5, 2, 2)


@pytest.mark.parametrize("bench", [[mortal]], indirect=True)
def test_a_frontend_that_dies_again_and_again_is_forked_ever_more_rarely(bench: Bench) -> None:
    """But it is forked for ever; one that lived well dies of something new."""
    pauses = []
    bench.link.ensure(bench.now)
    for _ in range(8):
        bench.until(lambda: bench.link.pid is None)
        pause = bench.link.retry_in(bench.now)
        assert pause is not None
        pauses.append(pause)
        bench.link.ensure(bench.now + pause - 0.001)
        assert bench.link.pid is None
        bench.now += pause
        bench.link.ensure(bench.now)

    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
    assert max(pauses) == LONGEST_PAUSE
    bench.now += LIVED_WELL + 1
    bench.until(lambda: bench.link.pid is None)
    assert bench.link.retry_in(bench.now) == 0.0


@pytest.mark.parametrize("bench", [[rude, echo], [boastful, echo]], indirect=True)
def test_a_frontend_that_says_what_was_not_agreed_on_is_ended(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The engine believes nothing; the next one may be honest."""
    bench.until(lambda: bench.reborn == 1 and bench.link.pid is None)
    bench.now += 1
    bench.link.publish(tick("hello"))
    bench.until(lambda: heard_ticks(bench) == ["hello"])

    assert "not agreed on" in caplog.text
    assert "killed by signal 9" in caplog.text


@pytest.mark.parametrize("bench", [[deaf, echo]], indirect=True)
def test_a_frontend_that_hangs_never_makes_the_engine_wait(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """What the pipe does not take stays behind; when it has taken nothing for long, it is forked anew."""
    bench.link.ensure(bench.now)
    bench.link.publish(tick("x" * 3_000_000))
    began = time.monotonic()
    bench.link.flush(bench.now)
    bench.link.publish(tick("newest"))
    bench.link.flush(bench.now + STUCK)
    took, hangs = time.monotonic() - began, bench.link.pid
    bench.now += STUCK + 1
    bench.link.flush(bench.now)

    assert took < 0.5
    assert (hangs, bench.link.pid) == (bench.born[0], None)
    assert "has taken nothing" in caplog.text
    bench.now += 1
    bench.until(lambda: heard_ticks(bench) == ["newest"])


@pytest.mark.parametrize("bench", [[deaf]], indirect=True)
def test_a_pipe_that_is_slow_but_moves_is_no_hang(bench: Bench) -> None:
    """The clock of a hang begins when nothing at all goes any more."""
    bench.link.ensure(bench.now)
    bench.link.publish(tick("x" * 3_000_000))
    (pipe_end,) = [wish.fd for wish in bench.link.wishes() if wish.mask & select.EPOLLOUT]
    # The test reads in the place of the frontend: who has one end of a pipe can open the other one.
    with open(f"/proc/self/fd/{pipe_end}", "rb", buffering=0) as reader:
        for _ in range(4):
            bench.link.flush(bench.now)
            bench.now += STUCK * 0.9
            reader.read(200_000)

    assert bench.link.pid == bench.born[0]


def test_too_many_notifications_push_out_the_oldest(bench: Bench) -> None:
    """Memory is bounded; the outbox still knows what was dropped, and tells a new frontend."""
    bench.link.ensure(bench.now)
    for number in range(MOST_FRAMES + 2):
        bench.link.post({"type": "notify", "id": number})
    bench.until(lambda: len(bench.heard) == MOST_FRAMES)

    assert [bench.heard[0]["id"], bench.heard[-1]["id"]] == [2, MOST_FRAMES + 1]


@pytest.mark.parametrize("bench", [[echo]], indirect=True)
def test_goodbye_delivers_what_is_pending(bench: Bench) -> None:
    """And brings home what the frontend has to report in its last moment."""
    bench.link.ensure(bench.now)
    bench.link.post({"type": "notify", "id": "last"})
    bench.take(bench.link.goodbye(5.0))

    assert [frame["type"] for frame in bench.heard] == ["notify", "goodbye"]
    assert bench.link.pid is None


@pytest.mark.parametrize("bench", [[deaf]], indirect=True)
def test_goodbye_to_a_frontend_that_hangs_is_short(bench: Bench) -> None:
    """With a pipe that is full, too: the service manager does not wait for ever either."""
    bench.link.ensure(bench.now)
    bench.link.publish(tick("x" * 3_000_000))
    bench.link.flush(bench.now)
    os.kill(bench.born[0], signal.SIGSTOP)
    began = time.monotonic()
    bench.link.goodbye(0.1)

    assert time.monotonic() - began < 2.0
    assert bench.link.pid is None


def test_no_room_for_a_process_is_no_end() -> None:
    """The engine goes on without a frontend, and tries again."""

    def full() -> Forked:
        raise OSError(11, "Resource temporarily unavailable")

    link = FrontendLink(full, lambda: None)
    link.ensure(1000.0)
    first = link.retry_in(1000.0)
    link.ensure(1001.0)
    link.publish(tick("x"))
    link.flush(1001.0)

    assert (first, link.retry_in(1001.0), link.pid) == (1.0, 2.0, None)
    assert link.goodbye(1.0) == []
