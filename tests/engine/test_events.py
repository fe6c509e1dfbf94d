# SPDX-License-Identifier: Apache-2.0
"""What wakes the engine: real descriptors that come, go and come back under the same number, and real signals."""

import os
import select
import signal
from collections.abc import Iterator

import pytest

from overlaywatch.engine.events import SIGNALS, Events, Wish


@pytest.fixture
def events() -> Iterator[Events]:
    """Closed afterwards, and the handlers of signals put back."""
    before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGCHLD)}
    made = Events()
    yield made
    made.close()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_are_events(events: Events, number: signal.Signals) -> None:
    """They end a wait, each is told once, and none ends the process."""
    events.take_signals()
    os.kill(os.getpid(), number)

    assert events.wait(10.0)[1] == {number}
    assert events.wait(0.0) == (frozenset(), frozenset())


def test_several_signals_at_once(events: Events) -> None:
    """A reload and an end: both are told."""
    events.take_signals()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)

    assert events.wait(10.0)[1] == {signal.SIGHUP, signal.SIGTERM}


def test_children_can_be_waited_for_whoever_started_us(events: Events) -> None:
    """A parent may have told the kernel to forget children (SIGCHLD ignored), and exec keeps that."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    events.take_signals()
    pid = os.fork()
    if pid == 0:
        os._exit(7)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_only_what_is_wished_for_is_told(events: Events) -> None:
    """What is no longer wanted does not wake, though it is ready."""
    one, other = os.pipe(), os.pipe()
    for _, write_fd in (one, other):
        os.write(write_fd, b"x")
    events.only([Wish(one[0], "one"), Wish(other[0], "other")])
    both, _ = events.wait(1.0)
    events.only([Wish(other[0], "other")])
    rest, _ = events.wait(1.0)
    for fd in (*one, *other):
        os.close(fd)

    assert [set(both), set(rest)] == [{one[0], other[0]}, {other[0]}]


def test_another_descriptor_under_the_same_number_is_another_one(events: Events) -> None:
    """Closed without a word and given out anew by the kernel: the new one is waited for."""
    read_fd, write_fd = os.pipe()
    events.only([Wish(read_fd, "frontend 1")])
    os.close(read_fd)
    os.close(write_fd)
    again_read, again_write = os.pipe()
    assert again_read == read_fd, "the kernel gives out the lowest number"
    os.write(again_write, b"x")
    events.only([Wish(again_read, "frontend 2")])
    ready, _ = events.wait(1.0)
    for fd in (again_read, again_write):
        os.close(fd)

    assert ready == {again_read}


def test_a_wish_can_change_its_mind(events: Events) -> None:
    """A pipe is waited for to become writable only while there is something to write."""
    read_fd, write_fd = os.pipe()
    events.only([Wish(write_fd, "frontend", select.EPOLLOUT)])
    writable, _ = events.wait(1.0)
    events.only([Wish(write_fd, "frontend", select.EPOLLIN)])
    nothing, _ = events.wait(0.0)
    os.close(read_fd)
    os.close(write_fd)

    assert [set(writable), set(nothing)] == [{write_fd}, set()]


def test_a_flood_of_signals_is_not_lost(events: Events) -> None:
    """The pipe takes so many, the rest would say the same."""
    events.take_signals()
    for _ in range(70_000):
        signal.raise_signal(signal.SIGHUP)

    assert events.wait(1.0)[1] == {signal.SIGHUP}
