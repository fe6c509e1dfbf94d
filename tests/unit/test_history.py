# SPDX-License-Identifier: Apache-2.0
"""The window of looks: bounded, honest about holes, cheap when nothing happens."""

import json
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlaywatch.history import MAX_SAMPLES, MAX_SAVED, MAX_SPAN, History
from overlaywatch.units import GIB, MIB


def filled(looks: list[tuple[float, int]]) -> History:
    """A history of these looks at one layer of 1 GiB."""
    history = History()
    for at, headroom in looks:
        history.push(at, headroom, "tmpfs:/run", GIB)
    return history


@given(
    pace=st.sampled_from([0.001, 0.01, 0.1, 1.0, 10.0, 61.0]),
    count=st.integers(1, 3000),
    jitter=st.lists(st.floats(0.5, 2.0), min_size=1, max_size=7),
)
@settings(deadline=None)
def test_is_bounded_and_keeps_gaps_in_proportion_to_age(pace: float, count: int, jitter: list[float]) -> None:
    """However often one looks, at most 160 looks are kept, and none of their gaps is wider than a third of its age."""
    now, history = 0.0, History()
    for i in range(count):
        now += pace * jitter[i % len(jitter)]
        history.push(now, GIB - i * 4096)
    assert len(history) <= MAX_SAMPLES
    times = [now - MAX_SPAN * share for share in (0.5, 0.2, 0.1, 0.01, 0.001)]
    for begin in times:
        if history.started is not None and history.started < begin:
            assert history.widest_hole(begin) <= max(2.0 * pace * 2, (now - begin) / 3)


def test_ten_millisecond_looks_leave_half_an_hour_to_be_asked() -> None:
    """Half an hour of looks every 10 ms is still there at its full length, and as it was."""
    history = History()
    for i in range(180_001):
        history.push(i / 100, 2 * GIB - i * 4096)
    assert history.started == pytest.approx(0.0)
    for at in (1.0, 100.0, 900.0, 1790.0, 1799.5, 1799.99):
        assert history.room_at(at) == pytest.approx(2 * GIB - at * 409600, abs=1)


def test_unchanged_looks_are_two_samples() -> None:
    """A calm day takes the room of two looks."""
    history = filled([(10.0 * i, GIB) for i in range(8640)])
    assert len(history) == 2
    assert (history.started, history.latest, history.level_since) == (0.0, 86390.0, 0.0)


def test_room_between_looks_is_on_a_straight_line() -> None:
    """Between two looks the headroom is interpolated; before the first and after the last it is level."""
    history = filled([(10.0, 100), (20.0, 50)])
    assert [history.room_at(at) for at in (0.0, 10.0, 12.0, 20.0, 30.0)] == [100, 100, 90, 50, 50]


def test_no_look_no_room() -> None:
    """An empty history answers with None, and refuses to interpolate."""
    history = History()
    assert (history.headroom, history.started, history.latest, history.level_since) == (None, None, None, None)
    with pytest.raises(ValueError, match="no look"):
        history.room_at(1.0)


def test_other_size_of_the_limit_begins_anew() -> None:
    """A grown store is not a slope that went up."""
    history = filled([(0.0, 10 * MIB), (10.0, 9 * MIB)])
    history.push(20.0, GIB, "tmpfs:/run", 2 * GIB)
    assert (history.started, history.headroom, len(history)) == (20.0, GIB, 1)


def test_size_that_is_unknown_for_one_look_changes_nothing() -> None:
    """An unreadable size is no other size, neither when it goes nor when it comes back."""
    history = filled([(0.0, 10 * MIB), (10.0, 9 * MIB)])
    history.push(20.0, 8 * MIB, "tmpfs:/run", None)
    history.push(30.0, 7 * MIB, "tmpfs:/run", GIB)
    assert history.started == 0.0


def test_other_limit_with_a_jump_begins_anew() -> None:
    """What another layer leaves is not the continuation of what the first one left."""
    history = filled([(0.0, 500 * MIB), (10.0, 499 * MIB)])
    history.push(20.0, 100 * MIB, "ram", 4 * GIB)
    assert history.started == 20.0


def test_two_layers_with_equally_much_left_may_take_turns() -> None:
    """While the limit changes to and fro without a jump, the history goes on."""
    history = History()
    for i in range(20):
        limit, size = ("ram", 4 * GIB) if i % 2 else ("dm-snapshot:live-rw", GIB)
        history.push(10.0 * i, 500 * MIB - i * MIB, limit, size)
    assert history.started == 0.0
    assert history.room_at(100.0) == 490 * MIB


@pytest.mark.parametrize(("at", "started"), [(99.5, 0.0), (100.0, 0.0), (50.0, 50.0)])
def test_clock_that_went_backwards(at: float, started: float) -> None:
    """A look a moment old is ignored; one that is far older is of another clock, and begins anew."""
    history = filled([(0.0, 100), (100.0, 90)])
    history.push(at, 80, "tmpfs:/run", GIB)
    assert history.started == started
    assert history.headroom == (80 if started else 90)


def test_holes_are_remembered() -> None:
    """A suspended guest leaves a hole where the headroom changed; where it did not, there is nothing to hide."""
    history = filled([(0.0, 100), (1.0, 99), (301.0, 60), (302.0, 59), (902.0, 59), (903.0, 58)])
    assert history.widest_hole(0.0) == 300.0
    assert history.widest_hole(301.5) == 1.0


def test_split_forgets() -> None:
    """After a split nothing is left, not even the peak."""
    history = filled([(0.0, 100), (1.0, 50)])
    history.split()
    assert (len(history), history.headroom, history.peak_rate(1.0)) == (0, None, 0.0)


def test_peak_rate_is_that_between_two_looks_and_fades() -> None:
    """The fastest fill between two looks counts at once, and half as much every two seconds."""
    history = filled([(0.0, GIB), (10.0, GIB), (10.1, GIB - 50 * MIB), (10.2, GIB - 51 * MIB)])
    assert history.peak_rate(10.1) == pytest.approx(500 * MIB)
    assert history.peak_rate(12.1) == pytest.approx(250 * MIB)
    assert history.peak_rate(60.0) < 100


def test_cheap_looks_date_a_burst() -> None:
    """A cheap look that found nothing new 50 ms ago makes the burst after it as fast as it was."""
    history = filled([(0.0, GIB)])
    for i in range(1, 200):
        history.still(i * 0.05)
    history.push(10.0, GIB - 64 * MIB, "tmpfs:/run", GIB)
    assert history.peak_rate(10.0) == pytest.approx(64 * MIB / 0.05)
    assert history.moved_bytes == 64 * MIB


def test_moved_bytes_are_of_the_last_look_only() -> None:
    """What the last look found consumed: nothing if room came back or stayed."""
    history = filled([(0.0, 100), (1.0, 60)])
    assert history.moved_bytes == 40
    history.push(2.0, 70, "tmpfs:/run", GIB)
    assert history.moved_bytes == 0


def test_saw_is_known_after_two_teeth() -> None:
    """Room that came back twice from the same depth makes the next fall no news until it goes a quarter deeper."""
    history, now = History(), 0.0
    for _tooth in range(3):
        for step in range(10):
            now += 10.0
            history.push(now, GIB - step * 50 * MIB, "tmpfs:/run", GIB)
    assert history.believable_rate(now, 60.0) == 0.0
    assert history.believable_rate(now, 300.0) == 0.0, "its lowest points do not sink"
    history.push(now + 10, GIB - 550 * MIB, "tmpfs:/run", GIB)
    assert history.believable_rate(now + 10, 60.0) == 0.0, "a little deeper is no news"
    history.push(now + 20, GIB - 570 * MIB, "tmpfs:/run", GIB)
    assert history.believable_rate(now + 20, 60.0) == inf


def test_deep_saw_is_news_when_half_as_much_is_left() -> None:
    """Teeth that leave 10 % cannot get a quarter deeper; half of what they left is news."""
    low = GIB // 10
    history = filled([(10.0, GIB), (20.0, low), (40.0, GIB), (50.0, low), (70.0, GIB), (80.0, low)])
    assert history.believable_rate(80.0, 5.0) == 0.0
    history.push(81.0, low // 2 - 1, "tmpfs:/run", GIB)
    assert history.believable_rate(81.0, 5.0) == inf


def test_saw_sinks_as_its_lowest_points_do() -> None:
    """Over several teeth a fall is as fast as that from one lowest point to the next."""
    history = History()
    for i in range(200):
        history.push(float(i), GIB - i * MIB - (i % 20) * 10 * MIB, "tmpfs:/run", GIB)
    assert history.believable_rate(199.0, 150.0) == pytest.approx(MIB, rel=0.01)


def test_one_tooth_is_no_saw_and_six_hours_forget() -> None:
    """Somebody who tidies up once is no saw, and what was yesterday does not count."""
    looks = [(10.0, GIB), (20.0, GIB // 2), (30.0, GIB)]
    assert filled([*looks, (120.0, GIB - MIB)]).believable_rate(120.0, 60.0) == inf
    saw = [*looks, (60.0, GIB // 2), (70.0, GIB)]
    assert filled([*saw, (140.0, GIB - MIB)]).believable_rate(140.0, 60.0) == 0.0
    assert filled([*saw, (30000.0, GIB - MIB)]).believable_rate(30000.0, 60.0) == inf


def test_saw_is_full_when_its_lowest_points_are() -> None:
    """What is left to a saw is what its lowest points leave, on their way down; to all else it is the headroom."""
    history = History()
    for i in range(200):
        history.push(float(i), GIB - i * MIB - (i % 20) * 10 * MIB, "tmpfs:/run", GIB)
    lowest_now = GIB - 199 * MIB - 190 * MIB
    assert history.room_to_fill(199.0, 150.0, MIB) == pytest.approx(lowest_now, rel=0.01)
    assert filled([(0.0, 100), (1.0, 60)]).room_to_fill(1.0, 1.0, 40.0) == 60


def test_what_comes_back_to_a_layer_that_only_grows_had_never_been_taken() -> None:
    """Dirty pages that were only rewrites of copied chunks vanish from the past: there is no slope to them."""
    history = History()
    for at, room in [(0.0, 100), (1.0, 100), (2.0, 60), (3.0, 40), (4.0, 90), (5.0, 80)]:
        history.push(at, room * MIB, "dm-snapshot:live-rw", GIB, monotone=True)
    assert [history.room_at(at) // MIB for at in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)] == [100, 100, 90, 90, 90, 80]
    assert history.to_json()["teeth"] == [[4.0, 40 * MIB, 60 * MIB]], "it can happen again"


def test_growth_of_a_layer_that_only_grows_begins_anew() -> None:
    """More room with another size is a larger store, and puts nothing right."""
    history = History()
    history.push(0.0, 10 * MIB, "dm-snapshot:live-rw", GIB, monotone=True)
    history.push(1.0, 500 * MIB, "dm-snapshot:live-rw", 2 * GIB, monotone=True)
    assert (history.started, history.headroom) == (1.0, 500 * MIB)


def test_one_release_in_many_steps_is_no_saw() -> None:
    """A long deletion that is watched every 10 ms is one recovery, not a hundred."""
    looks = [(0.0, GIB), (10.0, 100 * MIB)]
    looks += [(10 + i / 100, 100 * MIB + i * 9 * MIB) for i in range(1, 101)]
    history = filled(looks)
    history.push(100.0, 900 * MIB, "tmpfs:/run", GIB)
    assert history.believable_rate(100.0, 60.0) == inf


@given(st.lists(st.tuples(st.floats(0.02, 30.0), st.integers(0, GIB)), min_size=1, max_size=200))
@settings(deadline=None)
def test_survives_a_restart(steps: list[tuple[float, int]]) -> None:
    """What is saved is small, is JSON, and leads back to the same looks, only fewer."""
    now, history = 1000.0, History()
    for pause, headroom in steps:
        now += pause
        history.push(now, headroom, "tmpfs:/run", GIB)
    text = json.dumps(history.to_json())
    again = History.from_json(json.loads(text), now)
    assert len(text) < 2500
    assert len(again) <= MAX_SAVED
    assert again.headroom == history.headroom
    assert again.latest == pytest.approx(history.latest, abs=0.001)
    assert again.to_json()["teeth"] == history.to_json()["teeth"]
    samples = again.to_json()["samples"]
    assert isinstance(samples, list)
    assert all(earlier[0] < later[0] for earlier, later in pairwise(samples))


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"samples": 3},
        {"samples": [[1.0]], "teeth": []},
        {"samples": [[2.0, 5], [1.0, 5]], "teeth": []},
        {"samples": [[1.0, -5]], "teeth": []},
        {"samples": [[1.0, True]], "teeth": []},
        {"samples": [[float("nan"), 5]], "teeth": []},
        {"samples": [[101.0, 5]], "teeth": []},
        {"samples": [[1.0, 5]], "teeth": [], "limit": 7},
        {"samples": [[1.0, 5]], "teeth": [], "limit": "ram", "size": "big"},
        {"samples": [[1.0, 5]]},
        {"samples": [[1.0, 5]], "teeth": [[1.0, 5]]},
    ],
)
def test_bad_state_is_no_history(document: object) -> None:
    """Anything else than what was saved, or what is of another clock, gives an empty history, never an error."""
    assert len(History.from_json(document, 100.0)) == 0
