# SPDX-License-Identifier: Apache-2.0
"""When to look next: in time for the end of a store, and at next to no cost on a calm host.

A simulated kernel fills a store at a given rate while a simulated daemon ticks and peeks as told.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlaywatch.history import History
from overlaywatch.pace import (
    DIRTY_TICK,
    PEEK_SECONDS,
    SECOND_LOOK,
    SHORTEST_PEEK,
    SHORTEST_TICK,
    Room,
    is_news,
    needs_peek,
    next_peek,
    next_tick,
)
from overlaywatch.units import GIB, MIB

INTERVAL = 10.0
TICK_SECONDS = 0.001
BUDGET = 0.002
"""The part of a core that a calm host may cost."""


@dataclass
class Run:
    """What a simulated daemon did: when it ticked, how often it peeked, when it saw the end."""

    ticks: list[float]
    peeks: int = 0
    end_seen: float | None = None

    def share(self, seconds: float) -> float:
        """Of a core: a whole millisecond a tick, and each peek with its wake-up."""
        return (len(self.ticks) * TICK_SECONDS + self.peeks * 2 * PEEK_SECONDS) / seconds


def daemon(used: Callable[[float], int], size: int, seconds: float, silent: bool = True) -> Run:
    """Watch one dm-snapshot whose use at a time is used(time); at its size it has ended."""
    now, run, history = 0.0, Run([]), History()
    while now < seconds and run.end_seen is None:
        seen = used(now)
        run.ticks.append(now)
        if seen >= size:
            run.end_seen = now
            break
        history.push(now, size - seen, "dm-snapshot:live-rw", size)
        room = Room(size - seen, history.peak_rate(now), history.moved_bytes, peekable=True, silent=silent)
        due = now + next_tick([room], INTERVAL)
        while now < due:
            until_peek = next_peek([room], due - now)
            now = due if until_peek is None else now + until_peek
            if until_peek is None:
                break
            run.peeks += 1
            if is_news(size - seen, used(now) - seen) or used(now) >= size:
                break
            history.still(now)
    return run


@given(
    size=st.sampled_from([16 * MIB, 64 * MIB, 256 * MIB, GIB, 8 * GIB]),
    used_share=st.floats(0.0, 0.99),
    speed=st.floats(0.5, 2048.0),
    start=st.floats(100.0, 111.0),
)
@settings(max_examples=40, deadline=None)
def test_silent_end_is_seen_within_a_tenth_of_a_second(
    size: int, used_share: float, speed: float, start: float
) -> None:
    """A PO store of any size, filled from complete calm at any speed, is known to have ended within 100 ms."""
    first = int(size * used_share)
    end = start + (size - first) / (speed * MIB)
    run = daemon(lambda t: min(size, first + int(max(0.0, t - start) * speed * MIB)), size, end + 20)
    assert run.end_seen is not None
    assert end <= run.end_seen + 1e-6
    assert run.end_seen <= end + 0.1


@pytest.mark.parametrize("speed", [1, 10, 100, 1000])
def test_fill_costs_some_hundred_ticks_whatever_its_speed(speed: int) -> None:
    """Filling 64 MiB takes 100 to 1000 ticks, be it in 60 ms or in a minute, and never more than 100 a second."""
    run = daemon(lambda t: int(max(0.0, t - 50) * speed * MIB), 64 * MIB, 200.0)
    during = [at for at in run.ticks if at > 49]
    assert len(during) <= min(1000, 20 + 100 * 64 / speed)
    gaps = [later - earlier for earlier, later in pairwise(during)]
    assert min(gaps) >= SHORTEST_TICK - 1e-9


def test_fill_of_a_gigabyte_is_watched_from_its_first_quarter() -> None:
    """At full speed, a GiB that fills is known to do so before a quarter is gone; then ticks are dense."""
    run = daemon(lambda t: int(max(0.0, t - 50.1) * GIB), GIB, 60.0, silent=False)
    during = [at - 50.1 for at in run.ticks if at > 50.1]
    assert during[0] <= 0.26
    assert during[1] - during[0] <= SECOND_LOOK + 1e-9
    assert sum(1 for at in during if at < 1.0) >= 12


@pytest.mark.parametrize("size", [16 * MIB, 64 * MIB, GIB, 32 * GIB])
def test_calm_host_costs_a_fifth_of_a_percent_at_most(size: int) -> None:
    """Ten calm minutes with one snapshot that is 5 % used cost at most 0.2 % of a core."""
    run = daemon(lambda _: size // 20, size, 600.0)
    assert run.share(600.0) <= BUDGET
    assert len(run.ticks) <= 62


def test_journal_of_a_calm_host_does_not_hurry() -> None:
    """64 KiB every five seconds, as a journal does, stay within the same budget on a COW of 64 MiB."""
    run = daemon(lambda t: 3 * MIB + int(t / 5) * 64 * 1024, 64 * MIB, 600.0)
    assert run.share(600.0) <= BUDGET


@pytest.mark.parametrize(("count", "at_most"), [(1, 0.075), (2, 0.1), (10, 0.3)])
def test_peeks_at_several_stores_share_the_budget(count: int, at_most: float) -> None:
    """Two small stores are still peeked at within 100 ms; more of them share what may be spent."""
    rooms = [Room(60 * MIB, peekable=True, silent=True)] * count
    seconds = next_peek(rooms, INTERVAL)
    assert seconds is not None
    assert seconds <= at_most
    assert (count + 1) * PEEK_SECONDS / seconds <= BUDGET


def test_end_without_an_event_is_watched_for_more_closely() -> None:
    """What could end within a second is peeked at at once if its end is silent, else in a quarter of that."""
    assert next_peek([Room(GIB, peekable=True, silent=True)], INTERVAL) == SHORTEST_PEEK
    assert next_peek([Room(GIB, peekable=True)], INTERVAL) == pytest.approx(0.25)
    assert next_peek([Room(4 * GIB, peekable=True, silent=True)], INTERVAL) == pytest.approx(1.0)


def test_thousand_stores_are_left_to_the_ticks() -> None:
    """Where peeking would cost more than it may before the next tick, there is none."""
    assert next_peek([Room(60 * MIB, peekable=True)] * 1000, INTERVAL) is None


def test_costly_peeks_are_not_taken() -> None:
    """A peek that starts a program is not worth it."""
    assert next_peek([Room(60 * MIB, peekable=True, silent=True)], INTERVAL, peek_seconds=0.05) is None


@pytest.mark.parametrize(
    "room",
    [
        Room(60 * MIB, peekable=False),
        Room(60 * MIB, peekable=True, ended=True),
        Room(None, peekable=True),
        Room(100 * GIB, peekable=True),
    ],
)
def test_no_peek_where_it_tells_nothing(room: Room) -> None:
    """What cannot be peeked at, has ended, is unknown or cannot end before the next tick is not peeked at."""
    assert not needs_peek(room, INTERVAL)
    assert next_peek([room], INTERVAL) is None


def test_no_peek_before_a_tick_that_is_near() -> None:
    """While ticks are dense no peeks are needed."""
    assert next_peek([Room(60 * MIB, peekable=True)], SHORTEST_PEEK) is None
    assert next_peek([Room(60 * MIB, peekable=True)], SECOND_LOOK) is None


def test_nothing_watched_is_the_slowest_pace() -> None:
    """Without a mount point the pace is the interval."""
    assert next_tick([], INTERVAL) == INTERVAL


@pytest.mark.parametrize(
    ("room", "seconds"),
    [
        (Room(60 * MIB, peekable=True), 10.0),
        (Room(None), 10.0),
        (Room(0, 1e9, ended=True), 10.0),
        (Room(300 * GIB), 10.0),
        (Room(2 * GIB), 1.0),
        (Room(20 * GIB), 5.0),
        (Room(64 * MIB, 64 * MIB, peekable=True), 1 / 16),
        (Room(64 * MIB, 4 * GIB, peekable=True), SHORTEST_TICK),
        (Room(64 * MIB, moved_bytes=MIB, peekable=True), SECOND_LOOK),
        (Room(64 * MIB, moved_bytes=MIB // 4, peekable=True), 10.0),
        (Room(64 * MIB, pending_bytes=80 * MIB, peekable=True), DIRTY_TICK),
        (Room(64 * MIB, pending_bytes=32 * MIB, peekable=True), 1 / 8),
        (Room(64 * MIB, pending_bytes=MIB // 8, peekable=True), 10.0),
        (Room(64 * MIB, 64 * MIB, pending_bytes=64 * MIB, peekable=True), SHORTEST_TICK),
    ],
)
def test_next_tick_by_room_and_speed(room: Room, seconds: float) -> None:
    """Far away the interval, near and moving 10 ms, and between them a quarter of the worst plausible time."""
    assert next_tick([room], INTERVAL) == pytest.approx(seconds)


@given(
    headroom=st.integers(0, 1 << 40),
    less=st.integers(0, 1 << 40),
    peak=st.floats(0, 1e10),
    pending=st.integers(0, 1 << 32),
    peekable=st.booleans(),
)
@settings(deadline=None)
def test_less_room_is_never_looked_at_later(
    headroom: int, less: int, peak: float, pending: int, peekable: bool
) -> None:
    """The next tick comes no later with less room, with more dirty data, with a faster fill."""
    base = next_tick([Room(headroom, peak, 0, pending, peekable)], INTERVAL)
    assert next_tick([Room(min(headroom, less), peak, 0, pending, peekable)], INTERVAL) <= base
    assert next_tick([Room(headroom, peak * 2, 0, pending, peekable)], INTERVAL) <= base
    assert next_tick([Room(headroom, peak, headroom, pending, peekable)], INTERVAL) <= base
    assert SHORTEST_TICK <= base <= INTERVAL


def test_what_is_due_comes_in_time() -> None:
    """The end of a hold is not slept through, however calm it is; one that is overdue is at once."""
    calm = [Room(60 * MIB, peekable=True)]
    assert next_tick(calm, INTERVAL, until_due=2.5) == 2.5
    assert next_tick(calm, INTERVAL, until_due=-1.0) == SHORTEST_TICK


def test_slow_machine_is_not_eaten_up() -> None:
    """Where a tick takes 50 ms the next one leaves as much time to others."""
    assert next_tick([Room(MIB, 1e9)], INTERVAL, cost=0.05) == 0.05
