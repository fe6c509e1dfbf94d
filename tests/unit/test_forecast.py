# SPDX-License-Identifier: Apache-2.0
"""Forecasts on made traces: steady, bursts, saws, steps, leaks and noise, with bounds on error and false alarms."""

import json
import math
import random
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overlaywatch.forecast import GAUGE_SPAN, REACH, SPANS, Forecaster, forecast
from overlaywatch.history import History
from overlaywatch.model import (
    NO_FORECAST,
    RAM,
    Failure,
    Forecast,
    LayerId,
    LayerState,
    Mount,
    Reading,
    Verdict,
)
from overlaywatch.units import GIB, KIB, MIB

Trace = Callable[[float], float]
"""Headroom in bytes as a function of seconds."""

PACES = st.sampled_from([0.02, 0.1, 0.5, 2.0, 10.0])
LIMIT = LayerId("tmpfs:/run")
SNAPSHOT = LayerId("dm-snapshot:live-rw")


def watch(trace: Trace, seconds: float, pace: float) -> Iterator[tuple[float, Forecast]]:
    """Forecasts of looks at a steady pace."""
    history = History()
    for i in range(int(seconds / pace) + 1):
        history.push(i * pace, max(0, int(trace(i * pace))), LIMIT, 8 * GIB)
        yield i * pace, forecast(history, i * pace)


def last(trace: Trace, seconds: float, pace: float) -> Forecast:
    """The forecast at the end of a trace."""
    *_, (_, found) = watch(trace, seconds, pace)
    return found


def alarms(trace: Trace, seconds: float, pace: float) -> list[tuple[float, float]]:
    """(when, time to full) of each look at which a time to full was given."""
    looks = watch(trace, seconds, pace)
    return [(at, found.time_to_full_seconds) for at, found in looks if found.time_to_full_seconds is not None]


@given(minutes=st.floats(0.2, 1.9), pace=PACES)
@settings(max_examples=30, deadline=None)
def test_steady_fill_is_forecast_within_a_percent(minutes: float, pace: float) -> None:
    """A fill at a constant rate is forecast exactly, once a third of it is over."""
    rate = GIB / (minutes * 60 + GAUGE_SPAN)
    found = last(lambda t: GIB - rate * t, GAUGE_SPAN, pace)
    assert found.fill_bytes_per_second == pytest.approx(rate, rel=0.01)
    assert found.time_to_full_seconds == pytest.approx(minutes * 60, rel=0.01)


@given(share=st.floats(0.0, 0.05), minutes=st.floats(0.5, 1.7), pace=PACES, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_noise_moves_a_forecast_little(share: float, minutes: float, pace: float, seed: int) -> None:
    """Noise of 5 % of what a minute consumes, either way: the time to full is off by a fifth at most."""
    rng = random.Random(seed)
    rate = GIB / (minutes * 60 + GAUGE_SPAN)
    noise = share * rate * GAUGE_SPAN
    found = last(lambda t: GIB - rate * t + rng.uniform(-noise, noise), GAUGE_SPAN, pace)
    assert found.time_to_full_seconds == pytest.approx(minutes * 60, rel=0.2)


@given(
    flutter=st.floats(0.0, 0.25),
    pace=PACES,
    seed=st.integers(0, 99),
    shape=st.sampled_from(["uniform", "square", "sine"]),
)
@settings(max_examples=20, deadline=None)
def test_flutter_is_never_a_forecast(flutter: float, pace: float, seed: int, shape: str) -> None:
    """Whatever flutters by less than a quarter of what is left, in whatever rhythm, never gets a time to full."""
    rng = random.Random(seed)
    period = rng.uniform(1.0, 600.0)
    waves: dict[str, Trace] = {
        "uniform": lambda _: rng.uniform(-0.5, 0.5),
        "square": lambda t: 0.5 if t % period < period / 2 else -0.5,
        "sine": lambda t: 0.5 * math.sin(t * math.tau / period),
    }
    assert not alarms(lambda t: GIB + flutter * GIB * waves[shape](t), 500 * pace, pace)


@given(size=st.floats(0.0, 0.999), at=st.floats(1.0, 1900.0), pace=PACES)
@settings(max_examples=30, deadline=None)
def test_a_step_is_no_slope(size: float, at: float, pace: float) -> None:
    """One step, however large and whenever, never gets a time to full: neither at once nor hours later."""
    start = max(0.0, at - 100) if pace < 1 else 0.0
    assert not alarms(lambda t: GIB * (1 - size) if t + start > at else GIB, 1000 * pace, pace)


@given(megabytes=st.integers(1, 1500), seconds=st.floats(0.1, 14.0), at=st.floats(60.0, 300.0))
@settings(max_examples=30, deadline=None)
def test_short_installation_pages_nobody_for_long(megabytes: int, seconds: float, at: float) -> None:
    """A fill that ends by itself within 14 s is forgotten within a quarter of the window that saw it."""
    rate = megabytes * MIB / seconds

    def trace(t: float) -> float:
        return 2 * GIB - rate * min(max(0.0, t - at), seconds)

    for when, to_full in alarms(trace, at + 400.0, 1.0):
        assert at + 2 <= when <= at + seconds + 7.5 + 1.0, "a quarter of the window of 30 s, and one look"
        assert to_full <= 60.0, "what was seen for seconds says something about twice as many"


@given(share=st.floats(0.01, 0.32), seconds=st.floats(5.0, 3000.0))
@settings(max_examples=30, deadline=None)
def test_what_takes_less_than_a_third_is_never_forecast(share: float, seconds: float) -> None:
    """An even installation that fits, of whatever length, gets no time to full if two thirds of the room are left."""

    def trace(t: float) -> float:
        return GIB * (1 - share * min(max(0.0, t / seconds - 1), 1.0))

    assert not alarms(trace, 3 * seconds, seconds / 100)


@given(hours=st.floats(1.0, 17.0), chunk=st.sampled_from([4 * KIB, 128 * KIB, 4 * MIB]))
@settings(max_examples=20, deadline=None)
def test_slow_leak_is_found_after_half(hours: float, chunk: int) -> None:
    """A leak over hours is forecast within 25 % when half of it is over at the latest, in chunks too."""
    whole = hours * 3600
    rate = 4 * GIB / whole
    found = last(lambda t: 4 * GIB - rate * t // chunk * chunk, 0.5 * whole + 600.0, 40.0)
    assert found.time_to_full_seconds is not None
    assert found.time_to_full_seconds == pytest.approx(0.5 * whole - 600.0, rel=0.25)


@given(st.lists(st.integers(0, 60), min_size=70, max_size=110))
@settings(max_examples=50, deadline=None)
def test_no_fill_is_called_faster_than_it_was(steps: list[int]) -> None:
    """However unevenly it fills, what is forecast is never faster than a quarter of some window was."""
    history, rooms = History(), [4 * GIB]
    for second, step in enumerate(steps):
        rooms.append(rooms[-1] - step * MIB)
        history.push(float(second), rooms[-1], LIMIT, 8 * GIB)
    found = forecast(history, float(len(steps) - 1))
    quarters = [round(span / 4) or 1 for span in SPANS if span < len(steps)]
    fastest = max((rooms[i] - rooms[i + long]) / long for long in quarters for i in range(1, len(rooms) - long))
    assert found.fill_bytes_per_second is not None
    assert found.fill_bytes_per_second <= fastest + 1


def test_burst_from_calm_is_seen_in_seconds() -> None:
    """After an hour of calm a fill at 100 MiB/s is forecast when a third of it is over, and to the second."""
    history = History()
    for i in range(361):
        history.push(i * 10.0, 2 * GIB, LIMIT, 8 * GIB)
    first, found = None, NO_FORECAST
    for i in range(1, 301):
        history.push(3600 + i * 0.05, 2 * GIB - 5 * MIB * i, LIMIT, 8 * GIB)
        found = forecast(history, 3600 + i * 0.05)
        first = first or (found.time_to_full_seconds and i * 0.05)
    assert first
    assert first <= 10.0
    assert found.time_to_full_seconds == pytest.approx((2 * GIB - 1500 * MIB) / (100 * MIB), rel=0.1)


def test_burst_in_a_leak_is_news() -> None:
    """A leak of hours has a time to full of hours; when it becomes a burst, of seconds."""
    history = History()
    for i in range(700):
        history.push(i * 10.0, 2 * GIB - i * 2 * MIB, LIMIT, 8 * GIB)
    slow = forecast(history, 6990.0)
    left = 2 * GIB - 699 * 2 * MIB
    for i in range(1, 101):
        history.push(6990.0 + i * 0.05, left - 4 * MIB * i, LIMIT, 8 * GIB)
    fast = forecast(history, 6995.0)
    assert slow.time_to_full_seconds == pytest.approx(left / MIB * 5, rel=0.05)
    assert fast.time_to_full_seconds == pytest.approx((left - 400 * MIB) / (80 * MIB), rel=0.1)


def test_files_at_random_are_one_fill() -> None:
    """Pieces that come at random do not make the time to full jump: it stays within the half and the double."""
    rng, history, room, now, factors = random.Random(5), History(), 4.0 * GIB, 0.0, []
    while room > GIB / 2:
        now += rng.expovariate(1 / 20)
        room -= rng.uniform(0.2, 1.8) * 10 * MIB
        history.push(now, int(room), LIMIT, 8 * GIB)
        found = forecast(history, now).time_to_full_seconds
        if found is not None:
            factors.append(found / (room / (MIB / 2)))
    assert len(factors) > 100
    assert min(factors) > 0.5
    assert max(factors) < 2


def test_dirty_pages_over_a_snapshot_are_no_fill() -> None:
    """A dm-snapshot whose headroom falls by half with each writeback, and comes back, is not filling."""
    forecaster, found = Forecaster(), {"/": NO_FORECAST}
    for i in range(1, 400):
        dirty = (i % 30) * 16 * MIB
        found = forecaster.look([verdict(GIB - dirty, limit=SNAPSHOT)], READINGS, i * 1.0)
        assert found["/"].time_to_full_seconds is None or i < 60, "what has never come back yet could be a fill"
    assert found["/"].fill_bytes_per_second is not None


@given(
    period=st.floats(20.0, 3000.0),
    depth=st.floats(0.05, 0.9),
    pace=st.sampled_from([0.2, 1.0, 10.0]),
)
@settings(max_examples=20, deadline=None)
def test_saw_cries_wolf_for_two_teeth_only(period: float, depth: float, pace: float) -> None:
    """Files that come and go, tooth after tooth, are forecast at most until the second recovery."""

    def trace(t: float) -> float:
        return GIB * (1 - depth * (t % period) / period)

    assert not [when for when, _ in alarms(trace, 4 * period, max(pace, period / 200)) if when > 2 * period + 20]


def test_saw_that_sinks_is_forecast_by_the_trend() -> None:
    """Below a saw of 40 s, a leak of a megabyte a second is found in the long windows."""

    def trace(t: float) -> float:
        return 3 * GIB - MIB * t - 60 * MIB * (t % 40) / 40

    found = last(trace, 2200.0, 4.0)
    assert found.time_to_full_seconds is not None
    assert found.time_to_full_seconds == pytest.approx((3 * GIB - 2200 * MIB) / MIB, rel=0.1)


def test_full_is_zero_seconds() -> None:
    """Full is 0 seconds, also at the first look and when nothing moves any more."""
    assert last(lambda _: 0, 0.0, 1.0) == Forecast(None, 0.0)
    assert last(lambda _: 0, 3600.0, 10.0) == Forecast(0.0, 0.0)


def test_warm_up_says_nothing() -> None:
    """In the first minute of a calm mount point even its rate is unknown; then it is 0, and nothing is forecast."""
    found = dict(watch(lambda _: GIB, 120.0, 10.0))
    assert found[50.0] == NO_FORECAST
    assert found[60.0] == Forecast(0.0, None)
    assert found[120.0] == Forecast(0.0, None)


def test_room_that_comes_back_is_no_fill() -> None:
    """While room comes back the rate is 0, not negative, and nothing is forecast."""
    assert last(lambda t: GIB + t * MIB, 300.0, 10.0) == Forecast(0.0, None)


def test_fill_too_slow_to_be_forecast_has_a_rate() -> None:
    """A rate is given also where no window justifies a time to full: the average of a minute."""
    found = last(lambda t: 100 * GIB - 6 * MIB * t, 600.0, 10.0)
    assert found.fill_bytes_per_second == pytest.approx(6 * MIB)
    assert found.time_to_full_seconds is None


def test_no_slope_through_a_hole() -> None:
    """What a suspended guest consumed meanwhile is no slope, however the ends are joined."""
    history = History()
    for i in range(200):
        history.push(i * 10.0, 2 * GIB, LIMIT, 8 * GIB)
    for i in range(30):
        at = 2900.0 + i * 10
        history.push(at, GIB, LIMIT, 8 * GIB)
        assert forecast(history, at).time_to_full_seconds is None


def test_forecast_goes_on_after_a_restart() -> None:
    """Saved and restored in the midst of a leak, it says the same within 15 %."""
    forecaster, found = Forecaster(), {"/": NO_FORECAST}
    for i in range(301):
        found = forecaster.look([verdict(4 * GIB - i * 8 * MIB)], READINGS, i * 10.0)
    again = Forecaster.from_json(json.loads(json.dumps(forecaster.to_json())), 3000.0)
    before = found["/"].time_to_full_seconds
    after = again.look([verdict(4 * GIB - 301 * 8 * MIB)], READINGS, 3010.0)["/"].time_to_full_seconds
    assert before is not None
    assert after == pytest.approx(before - 10, rel=0.15)


READINGS = {limit: Reading(limit, LayerState.OK, size_bytes=8 * GIB) for limit in (LIMIT, SNAPSHOT)}


def verdict(headroom: int | None, mount_point: str = "/", limit: LayerId = LIMIT) -> Verdict:
    """What one look says of a mount point limited by a tmpfs, or something else."""
    return Verdict(
        mount=Mount(mount_point, "tmpfs", "tmpfs", RAM),
        chain=(limit,),
        headroom_bytes=headroom,
        headroom_at_most_bytes=headroom,
        limit=limit if headroom is not None else None,
        failure=Failure.ENOSPC if headroom is not None else None,
        states=frozenset({LayerState.OK}),
        used_ratio=None,
        inodes_ratio=None,
        reclaimable=True,
    )


def test_unknown_headroom_has_no_forecast_and_loses_none() -> None:
    """A look that could not be taken gives no forecast; the next one goes on where the last one was."""
    forecaster = Forecaster()
    for i in range(61):
        forecaster.look([verdict(GIB - i * MIB)], READINGS, float(i))
    assert forecaster.look([verdict(None)], {}, 61.0) == {"/": NO_FORECAST}
    assert forecaster.look([verdict(GIB - 62 * MIB)], READINGS, 62.0)["/"].fill_bytes_per_second == pytest.approx(MIB)


def test_split_after_an_action_begins_anew() -> None:
    """After a purge of ours nothing is forecast from what was before."""
    forecaster = Forecaster()
    for i in range(61):
        forecaster.look([verdict(GIB - i * 10 * MIB)], READINGS, float(i))
    forecaster.split("/")
    forecaster.split("/never-seen")
    assert forecaster.look([verdict(GIB)], READINGS, 61.0) == {"/": NO_FORECAST}


def test_gone_mount_points_are_forgotten_in_time() -> None:
    """A mount point that is missing for a moment keeps its history, one that is gone for half an hour does not."""
    forecaster = Forecaster()
    forecaster.look([verdict(GIB), verdict(GIB, "/gone")], READINGS, 0.0)
    forecaster.look([verdict(GIB)], READINGS, 10.0)
    assert set(forecaster.to_json()) == {"/", "/gone"}
    forecaster.look([verdict(GIB)], READINGS, 2000.0)
    assert set(forecaster.to_json()) == {"/"}


@pytest.mark.parametrize("document", [None, 3, [], {"/": 3}, {3: {}}])
def test_bad_state_is_no_forecast(document: object) -> None:
    """What is saved wrongly is left out, never an error."""
    forecaster = Forecaster.from_json(document, 10.0)
    assert forecaster.look([verdict(GIB)], READINGS, 11.0) == {"/": NO_FORECAST}


def test_saved_state_fits_the_state_file() -> None:
    """However many mount points there are and however they move, what is saved stays below 32 KiB."""
    forecaster = Forecaster()
    rng = random.Random(1)
    for i in range(300):
        looks = [verdict(rng.randrange(1 << 40), f"/mount-{number}") for number in range(40)]
        forecaster.look(looks, READINGS, 1e6 + i / 50)
    assert len(json.dumps(forecaster.to_json())) < 32 * KIB


def test_windows_follow_one_another() -> None:
    """The ladder is in order and without wide gaps, and what goes on is believed to go on for longer than it did."""
    assert list(SPANS) == sorted(SPANS)
    assert all(after / before <= 4 for before, after in pairwise(SPANS))
    assert REACH > 1
