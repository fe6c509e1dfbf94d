# SPDX-License-Identifier: Apache-2.0
"""What is plugged in: the shapes of a source and of an action.

This file must not know any of them; `registry.py` lists them all. A source turns the kernel's
records into layers and readings. An action first says what it would do, then does exactly that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from overlaywatch.model import Decision, Layer, LayerKind, Link, Mount, Outcome, Reading, Ref

View_contra = TypeVar("View_contra", contravariant=True)


class SourceError(Exception):
    """A source could not read what it is for; the text names what, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one source found in one look.

    `stacked` are block devices that lie on others: if no source tells on what, their room is unknown.
    """

    layers: Sequence[Layer] = ()
    readings: Sequence[Reading] = ()
    links: Sequence[Link] = ()
    mounts: Sequence[Mount] = ()
    stacked: Sequence[Ref] = ()
    unknown_statuses: int = 0


class Source(Protocol[View_contra]):
    """Kernel records to layers: `name` labels its metrics; survey raises SourceError, or OSError."""

    @property
    def name(self) -> str:
        """One word, the value of the label `source`."""
        ...

    def survey(self, view: View_contra, now: float) -> Found:
        """Layers and readings of one kind, from one consistent view of the kernel."""
        ...


@runtime_checkable
class Peeker(Protocol[View_contra]):
    """A source that can also look at one layer alone, by one system call, between two ticks.

    `kinds` are the layers it can do that for. peek() gives a new reading of `layer`, or None if it
    cannot be had so cheaply; `before` is what the last tick read. Raises what survey() raises.
    """

    @property
    def kinds(self) -> frozenset[LayerKind]:
        """The kinds of layers that it reads."""
        ...

    def peek(self, view: View_contra, layer: Layer, before: Reading) -> Reading | None:
        """One layer, now."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What an action would do, exactly: printable, comparable, and all that apply() will do.

    `steps` are lines for people; `payload` is for the action alone. `refusal` is not empty if the
    action will not act, and says why; `again_in` are the seconds after which it might (None: not by waiting).
    `needs_bytes` is the room that is wanted back (0: unbounded). `limit_seconds` is how long apply() takes
    at most; one that is long over it hangs in the kernel (None: it has no limit).
    """

    action: str
    type: str
    decision: Decision
    steps: tuple[str, ...] = ()
    refusal: str = ""
    needs_bytes: int = 0
    payload: object = None
    again_in: float | None = None
    limit_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an action may ask while it plans and applies.

    `headroom(mount_point)` measures again, now, with the kernel's figures (None: unknown).
    `uptime_seconds` is since boot. `past(action)` gives the monotonic times at which the action was
    applied, oldest first, over restarts of the daemon. `monotonic()` is the clock. `begun` is when a
    daemon that has died since began this very thing and did not come to its end (None: it is new);
    that time is not in `past`. `no_process`: no process can be forked (asked of resumable actions only). What
    is planned then is done in the engine itself, between two ticks: it needs no process and waits for
    nothing; whoever can wait for a process refuses, and says until when.
    """

    headroom: Callable[[str], int | None]
    uptime_seconds: float
    past: Callable[[str], Sequence[float]]
    monotonic: Callable[[], float]
    begun: float | None = None
    no_process: bool = False


class Action(Protocol):
    """One configured action.

    plan() changes nothing and may be called at any time. apply() does what the plan says, re-checks
    each step before taking it, and never raises: what went wrong is in the Outcome. `changes` is False
    for actions that only tell somebody: they run even when paused or when actions are off, and at once;
    all others plan and apply in a forked child, and may take long. `resumable` is True if all of the effect
    comes at the very end: what the death of the daemon cut off has then done nothing, and is taken up again.
    """

    @property
    def name(self) -> str:
        """The name that policies use: `[action.NAME]`."""
        ...

    @property
    def type(self) -> str:
        """The registered type: `purge`, `run`, …"""
        ...

    @property
    def changes(self) -> bool:
        """Whether it changes the machine; False for alerts."""
        ...

    @property
    def resumable(self) -> bool:
        """Whether the next daemon goes on with what a dead one has begun."""
        ...

    def plan(self, decision: Decision, surroundings: Surroundings) -> Plan:
        """What would be done now, and exactly that."""
        ...

    def apply(self, plan: Plan, surroundings: Surroundings) -> Outcome:
        """Do what the plan says, checking again before each step."""
        ...


@dataclass(frozen=True, slots=True)
class ActionContext:
    """What an action is made with besides its own table: `factory(table, context)`, see registry.py.

    `name` is NAME of `[action.NAME]`. `send(frame)` hands a notification to delivery. `announce(text)`
    puts one line where it outlives a dead root: the kernel's log. `unix_time()` is the wall clock.
    `captured` says that the facts are those of another machine, so that there is nothing to look at here.
    """

    name: str
    hostname: str
    send: Callable[[Mapping[str, object]], None]
    announce: Callable[[str], None]
    unix_time: Callable[[], float]
    captured: bool = False


@runtime_checkable
class Notifier(Action, Protocol):
    """An action that tells somebody: beyond Action, it can say that what it told of is over."""

    def resolve(self, frame: Mapping[str, object], ended_at: float) -> Mapping[str, object]:
        """The frame that takes back `frame`, which was sent while the stage was active; `ended_at` in Unix seconds."""
        ...
