# SPDX-License-Identifier: Apache-2.0
"""Generated traces: what happens on live systems, at random sizes and rates, with fixed seeds.

Each family is a function of a random generator; its docstring is its line in docs/forecast.md. A new family
is one function with @family. Must not know how a forecast is made.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from benchmarks.forecast.traces import SNAPSHOT, Era, Hole, Pen, Trace
from overlaywatch.units import KIB, MIB

MINUTE: Final = 60.0
HOUR: Final = 3600.0

Make = Callable[[random.Random, str], Trace]


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of trace. `fills` says whether the room really ends in each of them."""

    name: str
    told: str
    make: Make
    count: int


FAMILIES: Final[list[Family]] = []


def family(name: str, count: int = 8) -> Callable[[Make], Make]:
    """Put a generator on the list, under a name, with so many seeds."""

    def listed(make: Make) -> Make:
        FAMILIES.append(Family(name, (make.__doc__ or "").strip(), make, count))
        return make

    return listed


def traces_of(one: Family) -> list[Trace]:
    """All traces of a family: the same at every run."""
    return [one.make(random.Random(f"{one.name} {seed}"), one.name) for seed in range(one.count)]


def size(rng: random.Random, least: int = 64, most: int = 4096) -> float:
    """A room in bytes, between so many MiB, each magnitude as likely as the other."""
    return math.exp(rng.uniform(math.log(least), math.log(most))) * MIB


def between(rng: random.Random, least: float, most: float) -> float:
    """Seconds, each magnitude as likely as the other."""
    return math.exp(rng.uniform(math.log(least), math.log(most)))


# --- rooms that end -------------------------------------------------------------------------------


@family("steady")
def steady(rng: random.Random, name: str) -> Trace:
    """A constant fill, over in 6 minutes to 6 hours, after some calm."""
    pen = Pen(size(rng))
    pen.calm(rng.uniform(5 * MINUTE, HOUR))
    pen.mark()
    pen.take(pen.room, between(rng, 6 * MINUTE, 6 * HOUR))
    return pen.trace(name)


@family("slow leak", 4)
def slow_leak(rng: random.Random, name: str) -> Trace:
    """A leak over 14 to 26 hours, in pieces of 4 KiB to 1 MiB, a tenth more or less each time."""
    pen, chunk = Pen(size(rng, 512, 4096)), between(rng, 4 * KIB, MIB)
    pause = max(20.0, between(rng, 14 * HOUR, 26 * HOUR) * chunk / pen.room)
    chunk = max(chunk, pen.room * pause / (20 * HOUR))
    while not pen.is_full:
        pen.calm(pause * rng.uniform(0.6, 1.4))
        pen.take(chunk * rng.uniform(0.9, 1.1), 0.01)
    return pen.trace(name)


@family("leak in large pieces", 4)
def journal_leak(rng: random.Random, name: str) -> Trace:
    """A journal that grows by files of 8 to 64 MiB every 5 to 25 minutes, for 6 to 20 hours."""
    pen, hours = Pen(size(rng, 1024, 4096)), rng.uniform(6, 20)
    pause = between(rng, 5 * MINUTE, 25 * MINUTE)
    chunk = pen.room * pause / (hours * HOUR)
    while not pen.is_full:
        pen.calm(pause * rng.uniform(0.7, 1.3))
        pen.take(chunk * rng.uniform(0.7, 1.3), rng.uniform(0.1, 2))
    return pen.trace(name)


@family("burst from calm")
def burst(rng: random.Random, name: str) -> Trace:
    """After an hour or two of calm, everything is gone in 2 to 60 seconds."""
    pen = Pen(size(rng))
    pen.calm(rng.uniform(HOUR, 2 * HOUR))
    pen.mark()
    pen.take(pen.room, between(rng, 2, 60))
    return pen.trace(name)


@family("fill in minutes")
def fast(rng: random.Random, name: str) -> Trace:
    """After an hour of calm, a fill of 1 to 10 minutes, its speed between half and twice the average."""
    pen = Pen(size(rng))
    pen.calm(rng.uniform(0.5 * HOUR, HOUR))
    pen.mark()
    speed = pen.room / between(rng, MINUTE, 10 * MINUTE)
    while not pen.is_full:
        pen.take(speed * between(rng, 0.5, 2), 1.0)
    return pen.trace(name)


@family("files at random")
def files(rng: random.Random, name: str) -> Trace:
    """Files of very different sizes at random moments, until it is full after about 0.5 to 5 hours."""
    pen = Pen(size(rng, 256))
    pen.calm(5 * MINUTE)
    pen.mark()
    hours, pause = between(rng, 0.5, 5), between(rng, 5, 60)
    mean = pen.room * pause / (hours * HOUR)
    while not pen.is_full:
        pen.calm(rng.expovariate(1 / pause))
        pen.take(mean * rng.lognormvariate(-0.5, 1.0), rng.uniform(0.05, 3))
    return pen.trace(name)


@family("installation that does not fit")
def install_fills(rng: random.Random, name: str) -> Trace:
    """Packages one after another, 1 to 15 minutes, for which the room is too small."""
    pen = Pen(size(rng))
    pen.calm(rng.uniform(10 * MINUTE, HOUR))
    pen.mark()
    _install(rng, pen, pen.room * rng.uniform(1.05, 2), between(rng, 2 * MINUTE, 15 * MINUTE))
    return pen.trace(name)


@family("runaway")
def runaway(rng: random.Random, name: str) -> Trace:
    """Something that doubles its speed every 2 to 20 minutes."""
    pen, doubling = Pen(size(rng)), between(rng, 2 * MINUTE, 20 * MINUTE)
    pen.calm(10 * MINUTE)
    began, speed = pen.at, pen.room / 2000 / doubling
    while not pen.is_full:
        if pen.fills_from == 0.0 and pen.room < 0.9 * pen.size:
            pen.mark()
        pen.take(speed * 2 ** ((pen.at - began) / doubling) * 5, 5.0)
    return pen.trace(name)


@family("saw that sinks")
def sinking_saw(rng: random.Random, name: str) -> Trace:
    """Temporary files come and go every 40 s to 10 min, and a little stays each time: full in 1 to 6 hours."""
    pen, period, hours = Pen(size(rng, 256)), between(rng, 40, 10 * MINUTE), rng.uniform(1, 6)
    stays = pen.room * period / (hours * HOUR)
    tooth = pen.room * rng.uniform(0.02, 0.15)
    while not pen.is_full:
        pen.take(tooth + stays, period)
        pen.take(-tooth, 0.5)
    return pen.trace(name)


@family("leak in noise")
def noisy_leak(rng: random.Random, name: str) -> Trace:
    """A fill over 1 to 8 hours under a flutter of 0.5 to 2 % of the room."""
    pen, seconds = Pen(size(rng)), between(rng, HOUR, 8 * HOUR)
    share, before, step = rng.uniform(0.005, 0.02), 0.0, pen.room * 5 / seconds
    while not pen.is_full:
        now = rng.uniform(-0.5, 0.5) * share * pen.size
        pen.take(step + now - before, 5)
        before = now
    return pen.trace(name)


@family("snapshot under churn, filling")
def churn_fills(rng: random.Random, name: str) -> Trace:
    """A dm-snapshot: a steady fill of 0.5 to 3 hours; dirty pages come and, being rewrites, come back."""
    pen = Pen(size(rng, 128, 2048), limit=SNAPSHOT)
    seconds = between(rng, 0.5 * HOUR, 3 * HOUR)
    _churn(rng, pen, pen.room / seconds, rng.uniform(0.01, 0.06), inf)
    return pen.trace(name)


@family("fill across a suspension")
def suspended_fill(rng: random.Random, name: str) -> Trace:
    """A steady fill of 1 to 4 hours; in the midst of it the machine is suspended for 5 to 90 minutes."""
    return _suspended(rng, name, clock_stands=True)


@family("fill across a leap of the clock")
def leaping_fill(rng: random.Random, name: str) -> Trace:
    """The same, but the clock goes on while nobody can look: a paused virtual machine, a stopped process."""
    return _suspended(rng, name, clock_stands=False)


@family("purge, then the leak goes on")
def purge(rng: random.Random, name: str) -> Trace:
    """A fill of 1 to 4 hours; at 5 to 15 % an action of ours frees half of it; the leak then needs as long again."""
    pen = Pen(size(rng))
    speed = pen.room / between(rng, HOUR, 4 * HOUR)
    pen.take(pen.size * rng.uniform(0.85, 0.95), 0.9 * pen.size / speed)
    would_end, freed = pen.at + pen.room / speed, pen.at
    pen.take(-pen.size * 0.5, 1.0)
    again = pen.at
    pen.take(pen.room, pen.room / speed)
    eras = (Era(0.0, freed, would_end, 0.0), Era(freed, inf, pen.end, again))
    return replace(pen.trace(name), eras=eras, splits=(again,))


# --- rooms that do not end ------------------------------------------------------------------------


@family("idle", 4)
def idle(rng: random.Random, name: str) -> Trace:
    """Six hours of nothing but a log line now and then."""
    pen = Pen(size(rng))
    while pen.at < 6 * HOUR:
        pen.calm(rng.expovariate(1 / 60))
        pen.take(rng.uniform(4, 64) * KIB, 0.01)
    return pen.trace(name)


@family("step")
def step(rng: random.Random, name: str) -> Trace:
    """One image, 10 to 95 % of the room, copied in 1 to 20 seconds."""
    pen = Pen(size(rng))
    pen.calm(rng.uniform(10 * MINUTE, HOUR))
    pen.take(pen.room * rng.uniform(0.1, 0.95), between(rng, 1, 20))
    pen.calm(2 * HOUR)
    return pen.trace(name)


@family("installation that fits, small")
def small_install(rng: random.Random, name: str) -> Trace:
    """Packages for 20 seconds to 10 minutes, 2 to 20 % of the room in all."""
    return _fitting(rng, name, 0.02, 0.2)


@family("installation that fits, large")
def large_install(rng: random.Random, name: str) -> Trace:
    """The same, 20 to 50 % of the room: until it ends nothing tells it from one that does not fit."""
    return _fitting(rng, name, 0.2, 0.5)


@family("boot")
def boot(rng: random.Random, name: str) -> Trace:
    """The daemon starts while the machine still does: 3 to 15 % go within a minute or two, ever more slowly."""
    pen, tau = Pen(size(rng)), rng.uniform(15, 45)
    share = rng.uniform(0.03, 0.15)
    while pen.at < 6 * tau:
        pen.take(pen.size * share / tau * math.exp(-pen.at / tau), 1.0)
    pen.calm(2 * HOUR)
    return pen.trace(name)


@family("log rotation")
def rotation(rng: random.Random, name: str) -> Trace:
    """Logs of 5 to 35 % of the room, rotated every 5 minutes to 6 hours."""
    return _saw(rng, name, (5 * MINUTE, 6 * HOUR), (0.05, 0.35))


@family("jobs that tidy up")
def jobs(rng: random.Random, name: str) -> Trace:
    """Builds and tests that take 35 to 80 % of the room for 3 to 30 minutes and give all of it back."""
    return _saw(rng, name, (3 * MINUTE, 30 * MINUTE), (0.35, 0.8))


@family("flutter")
def flutter(rng: random.Random, name: str) -> Trace:
    """Three hours of free memory: a random walk within 6 % of the room."""
    pen, share, walk = Pen(size(rng, 512, 8192)), rng.uniform(0.01, 0.06), 0.0
    while pen.at < 3 * HOUR:
        after = walk * 0.98 + rng.gauss(0, share / 10)
        pen.take((after - walk) * pen.size, 5)
        walk = after
    return pen.trace(name)


@family("day and night", 3)
def daily(rng: random.Random, name: str) -> Trace:
    """Two days; by day 20 to 50 % more are used than by night."""
    pen, share = Pen(size(rng)), rng.uniform(0.2, 0.5) / 2
    pen.room = pen.rooms[0] = pen.size * (1 - share)
    while pen.at < 48 * HOUR:
        here, there = (math.sin(at / (24 * HOUR) * math.tau) for at in (pen.at, pen.at + 300))
        pen.take((there - here) * share * pen.size, 300)
    return pen.trace(name)


@family("fill that stops")
def stops(rng: random.Random, name: str) -> Trace:
    """A fill that becomes ever slower and ends at 30 to 70 %: a cache that reaches its limit."""
    pen, tau = Pen(size(rng)), between(rng, 5 * MINUTE, HOUR)
    share = rng.uniform(0.3, 0.7)
    while pen.at < 6 * tau:
        pen.take(pen.size * share / tau * math.exp(-pen.at / tau) * 5, 5)
    pen.calm(HOUR)
    return pen.trace(name)


@family("snapshot under churn")
def churn(rng: random.Random, name: str) -> Trace:
    """A dm-snapshot: its journal is written for the first time (5 to 15 %, half an hour), then rewritten; dirty
    pages come each 5 s, and come back."""
    pen = Pen(size(rng, 128, 2048), limit=SNAPSHOT)
    journal = pen.room * rng.uniform(0.05, 0.15)
    _churn(rng, pen, journal / (0.5 * HOUR), rng.uniform(0.01, 0.06), 0.5 * HOUR)
    _churn(rng, pen, 0.0, rng.uniform(0.01, 0.06), 2 * HOUR)
    return pen.trace(name)


@family("growth")
def growth(rng: random.Random, name: str) -> Trace:
    """A fill of 1 to 4 hours; at 10 to 20 % the store is made twice as large, and what filled it has ended."""
    pen = Pen(size(rng))
    pen.take(pen.size * rng.uniform(0.8, 0.9), between(rng, HOUR, 4 * HOUR))
    would_end, grown = pen.at * pen.size / (pen.size - pen.room), pen.at
    pen.take(-pen.size, 0.5)
    pen.calm(HOUR)
    return replace(pen.trace(name), eras=(Era(0.0, grown, would_end, 0.0), Era(grown, inf)), grown_at=grown + 0.25)


@family("woken up")
def woken(rng: random.Random, name: str) -> Trace:
    """An hour of calm, 10 minutes to 8 hours of suspension, then 10 to 40 % go at once for what was missed."""
    pen, slept = Pen(size(rng)), between(rng, 10 * MINUTE, 8 * HOUR)
    pen.calm(HOUR)
    began = pen.at
    pen.calm(slept)
    pen.take(pen.room * rng.uniform(0.1, 0.4), rng.uniform(5, 60))
    pen.calm(HOUR)
    return replace(pen.trace(name), holes=(Hole(began, began + slept, rng.random() < 0.5),))


# --- what they are made of ------------------------------------------------------------------------


def _install(rng: random.Random, pen: Pen, total: float, seconds: float) -> None:
    """Packages: first all are fetched at the pace of the network, then unpacked one by one, three times as large."""
    packages = [rng.lognormvariate(0, 1.2) for _ in range(rng.randrange(5, 60))]
    scale = total / sum(packages) / 4
    fetch = seconds * rng.uniform(0.2, 0.5)
    for package in packages:
        pen.take(package * scale, fetch * package / sum(packages))
    for package in packages:
        pen.take(package * scale * 3, (seconds - fetch) * package / sum(packages) * 0.7)
        pen.calm((seconds - fetch) / len(packages) * 0.3)


def _fitting(rng: random.Random, name: str, least: float, most: float) -> Trace:
    pen = Pen(size(rng))
    pen.calm(rng.uniform(10 * MINUTE, HOUR))
    _install(rng, pen, pen.room * rng.uniform(least, most), between(rng, 20, 10 * MINUTE))
    pen.calm(2 * HOUR)
    return pen.trace(name)


def _saw(rng: random.Random, name: str, periods: tuple[float, float], depths: tuple[float, float]) -> Trace:
    pen, period = Pen(size(rng, 256)), between(rng, *periods)
    depth = rng.uniform(*depths)
    while pen.at < max(6 * period, 2 * HOUR):
        lost = pen.size - pen.room
        pen.take(pen.size * depth * rng.uniform(0.9, 1.1) - lost, period * rng.uniform(0.9, 1.1))
        pen.take(-(pen.size - pen.room), 1.0)
    return pen.trace(name)


def _churn(rng: random.Random, pen: Pen, speed: float, share: float, seconds: float) -> None:
    """Every 5 s a few dirty pages, up to `share` of the store; all of them were only rewrites of what is copied."""
    until = pen.at + seconds
    while pen.at < until and not pen.is_full:
        dirty = rng.uniform(0.2, 1.0) * share * min(pen.size, pen.room)
        pen.take(dirty + speed * 5, 5)
        pen.take(-dirty, 0.2)


def _suspended(rng: random.Random, name: str, clock_stands: bool) -> Trace:
    pen, seconds = Pen(size(rng)), between(rng, HOUR, 4 * HOUR)
    speed = pen.room / seconds
    first, slept = seconds * rng.uniform(0.3, 0.6), between(rng, 5 * MINUTE, 90 * MINUTE)
    pen.take(speed * first, first)
    began = pen.at
    pen.calm(slept)
    woken_at = pen.at
    pen.take(pen.room, pen.room / speed)
    # What it would have been without the suspension is true before it; the fill is judged by what it is after it.
    eras = (Era(0.0, began, seconds, 0.0), Era(began, inf, pen.end, woken_at - first))
    return replace(pen.trace(name), eras=eras, holes=(Hole(began, began + slept, clock_stands),))
