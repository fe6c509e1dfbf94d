# SPDX-License-Identifier: Apache-2.0
"""The action `purge`: deletes files that match patterns, oldest first, until there is room enough.

This file must not know how the tree is walked or a file is removed: purge_walk finds, purge_choice
chooses, purge_delete deletes. plan() is the whole decision, and the dry run is the plan that is shown.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Final

from overlaywatch.actions import denied
from overlaywatch.actions.globs import PatternError, PatternSet, parse_pattern
from overlaywatch.actions.outcomes import Attempt, why
from overlaywatch.actions.purge_choice import Bounds, choose
from overlaywatch.actions.purge_delete import Goal, Tally, delete
from overlaywatch.actions.purge_walk import File, Findings, Rules, Walk
from overlaywatch.actions.purge_worth import worth_on
from overlaywatch.config.table import Table
from overlaywatch.kernel import beneath
from overlaywatch.kernel.errors import KernelTextError
from overlaywatch.kernel.mountinfo import parse_mountinfo
from overlaywatch.kernel.openfiles import read_in_use
from overlaywatch.kernel.root import KernelRoot
from overlaywatch.model import BROKEN, Decision, LayerState, Outcome, OutcomeKind
from overlaywatch.ports import ActionContext, Plan, Surroundings
from overlaywatch.units import format_duration, format_size, printable

LONGEST_LOOK: Final = 1.0
"""Seconds that plan() may look for files, and again for their users: whoever is hostile can make both endless."""

MOST_ENTRIES: Final = 100_000
"""Names that plan() looks at, so that its memory is bounded as well."""

_SHOWN_FILES: Final = 50
_CANNOT_LOOK: Final = "cannot look for files: {}; it runs as root, and the mount point must be mounted still"
_CANNOT_DELETE: Final = BROKEN | {LayerState.NEEDS_CHECK}
_LONGEST_LOOK_FOR_USERS: Final = 10.0
"""Seconds that apply() may look for users of files, in its own process: a busy machine has many, and slowly."""


@dataclass(frozen=True, slots=True)
class PurgeSettings:
    """`[action.NAME]` with `type = "purge"`. Durations in seconds, sizes in bytes, None: no bound."""

    paths: tuple[str, ...]
    older_than: float
    until_headroom: int | None
    max_files: int
    max_bytes: int | None
    timeout: float

    @classmethod
    def from_table(cls, table: Table) -> "PurgeSettings":
        """Read and check all keys. Raises ConfigErrors."""
        settings = cls(
            paths=table.strings("paths", at_least=1, expected="expected a list of absolute patterns"),
            older_than=table.duration("older_than", default=3600.0),
            until_headroom=table.size("until_headroom", default=None, minimum=1),
            max_files=table.integer("max_files", default=10_000, minimum=1, maximum=1_000_000),
            max_bytes=table.size("max_bytes", default=None, minimum=1),
            timeout=table.duration("timeout", default=30.0, minimum=1.0, maximum=600.0),
        )
        trees = (*denied.TREES, *denied.own_trees())
        for index, text in enumerate(settings.paths):
            _check_pattern(table, index, text, trees)
        if settings.older_than < 60:
            table.warn("older_than", "files that are just being written may be deleted; 1h is the default")
        table.finish()
        return settings


def _check_pattern(table: Table, index: int, text: str, trees: tuple[str, ...]) -> None:
    place = f"[{index}]"
    try:
        refusal = denied.refusal(parse_pattern(text), trees)
    except PatternError as error:
        table.error("paths", f"{printable(text)} {error.problem}", error.expected, place=place)
        return
    if refusal:
        table.error("paths", f"{printable(text)} {refusal}", place=place)


@dataclass(frozen=True, slots=True)
class PurgePlan:
    """What apply() will do: exactly these files, in this order."""

    files: tuple[File, ...]
    until_headroom: int | None
    reclaimable: bool


@dataclass(frozen=True, slots=True)
class PurgeAction:
    """Deletes files; see PurgeSettings for what it may delete."""

    name: str
    settings: PurgeSettings
    unix_time: Callable[[], float]
    captured: bool = False
    root: KernelRoot = field(default_factory=KernelRoot)
    type: ClassVar[str] = "purge"
    changes: ClassVar[bool] = True
    resumable: ClassVar[bool] = False

    @classmethod
    def from_table(cls, table: Table, context: ActionContext) -> "PurgeAction":
        """The action of `[action.NAME]`. Raises ConfigErrors."""
        return cls(context.name, PurgeSettings.from_table(table), context.unix_time, context.captured)

    def plan(self, decision: Decision, surroundings: Surroundings) -> Plan:
        """Look for files, for two seconds at most, and choose. Changes nothing, not even an access time."""
        refusal, needs = self._needs(decision, surroundings)
        if refusal:
            return Plan(self.name, self.type, decision, refusal=refusal, needs_bytes=needs)
        try:
            findings = self._find(decision, surroundings)
        except (OSError, KernelTextError) as error:
            text = why(error) if isinstance(error, OSError) else str(error)
            return Plan(self.name, self.type, decision, refusal=_CANNOT_LOOK.format(text), needs_bytes=needs)
        now = self.unix_time()
        chosen = choose(findings.files, Bounds(needs, self.settings.max_files, self.settings.max_bytes), now)
        return Plan(
            self.name,
            self.type,
            decision,
            steps=tuple(_steps(chosen, findings, now)),
            refusal=""
            if chosen
            else f"no file may be deleted: {_nothing_because(findings)}; see `paths` and `older_than`",
            needs_bytes=needs,
            payload=PurgePlan(chosen, self.settings.until_headroom, decision.verdict.reclaimable),
            limit_seconds=self.settings.timeout,
        )

    def apply(self, plan: Plan, surroundings: Surroundings) -> Outcome:
        """Delete the files of the plan until `until_headroom` is reached or the time is up."""
        attempt = Attempt.begin(plan, surroundings)
        if plan.refusal or not isinstance(plan.payload, PurgePlan):
            return attempt.end(OutcomeKind.REFUSED, plan.refusal or "there is no plan")
        try:
            tally = self._delete(plan.payload, attempt)
        except OSError as error:
            return attempt.end(
                OutcomeKind.FAILED, f"{plan.decision.mount_point} cannot be opened: {why(error)}; is it mounted still?"
            )
        return _outcome(attempt, plan.payload, tally)

    def _needs(self, decision: Decision, surroundings: Surroundings) -> tuple[str, int]:
        """Why nothing may be deleted now, or how many bytes are wanted back (0: everything that matches)."""
        if self.captured:
            return "a captured machine has no files to look at", 0
        broken = sorted(state.value for state in decision.verdict.states & _CANNOT_DELETE)
        if broken:
            return f"a layer is {', '.join(broken)}: nothing can be deleted any more; only a reboot helps", 0
        if self.settings.until_headroom is None:
            return "", 0
        headroom = surroundings.headroom(decision.mount_point)
        if headroom is None:
            place = decision.mount_point
            return f"the headroom of {place} is unknown, so it cannot be known when to stop; ask `explain {place}`", 0
        if headroom >= self.settings.until_headroom:
            return f"there is room enough: {format_size(headroom)}", 0
        return "", self.settings.until_headroom - headroom

    def _find(self, decision: Decision, surroundings: Surroundings) -> Findings:
        now = self.unix_time()
        in_use = read_in_use(self.root, _Enough(surroundings.monotonic, LONGEST_LOOK))
        with (
            _open_mount(decision.mount_point) as root,
            worth_on(decision.verdict, root, now - surroundings.uptime_seconds) as worth,
        ):
            rules = Rules(
                patterns=PatternSet(parse_pattern(text) for text in self.settings.paths),
                touched_before=now - self.settings.older_than,
                off_limits=denied.identities(self._off_limits()),
                in_use=in_use,
                worth=worth,
            )
            return Walk(decision.mount_point, rules, _Enough(surroundings.monotonic, LONGEST_LOOK)).run(root)

    def _off_limits(self) -> tuple[str, ...]:
        path = self.root.proc / "self" / "mountinfo"
        mounts = parse_mountinfo(path.read_text(encoding="utf-8", errors="surrogateescape"))
        return (*denied.TREES, *denied.own_trees(), *denied.layers_of_unions(mounts))

    def _delete(self, plan: PurgePlan, attempt: Attempt) -> Tally:
        surroundings, mount_point = attempt.surroundings, attempt.plan.decision.mount_point
        goal = Goal(
            headroom=lambda: surroundings.headroom(mount_point),
            until=plan.until_headroom,
            time_left=lambda: self.settings.timeout - attempt.elapsed,
        )
        limit = min(_LONGEST_LOOK_FOR_USERS, self.settings.timeout / 2)
        in_use = read_in_use(self.root, _Enough(surroundings.monotonic, limit))
        with _open_mount(mount_point) as root:
            return delete(root, plan.files, goal, in_use)


class _Enough:
    """Says when a look has taken too long or seen too much."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._begin = clock()
        self._seconds = seconds
        self._entries = 0

    def __call__(self) -> bool:
        self._entries += 1
        return self._entries > MOST_ENTRIES or self._clock() - self._begin > self._seconds


@contextlib.contextmanager
def _open_mount(mount_point: str) -> Iterator[int]:
    """A descriptor of the mount point. Raises OSError if nothing is mounted there any more."""
    top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        root = beneath.open_directory(top, mount_point.strip("/") or ".", cross_mounts=True)
    finally:
        os.close(top)
    try:
        if not beneath.is_mount_root(root):
            raise OSError(0, "not a mount point any more", mount_point)
        yield root
    finally:
        os.close(root)


def _steps(chosen: tuple[File, ...], findings: Findings, now: float) -> Iterator[str]:
    for file in chosen[:_SHOWN_FILES]:
        age = format_duration(max(now - file.touched, 0))
        yield f"delete {printable(file.path)} ({format_size(file.room_bytes)}, {age} old)"
    rest = chosen[_SHOWN_FILES:]
    if rest:
        yield f"delete {len(rest)} more files ({format_size(sum(file.room_bytes for file in rest))})"
    if findings.passed:
        yield f"leave alone {_counts(findings)}"
    yield from (f"note: {printable(note)}" for note in findings.notes)
    if not findings.complete:
        yield "note: there was more to look at than the time allowed"


def _nothing_because(findings: Findings) -> str:
    reasons = [_counts(findings)] if findings.passed else []
    reasons += [printable(note) for note in findings.notes]
    return "; ".join(reasons) or "none matches"


def _counts(findings: Findings) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in findings.passed.most_common())


def _outcome(attempt: Attempt, plan: PurgePlan, tally: Tally) -> Outcome:
    kept = [f"{count} {reason}" for reason, count in tally.kept.most_common()]
    done = f"deleted {tally.deleted} of {len(plan.files)} files, {format_size(tally.room_bytes)}"
    headroom = [f"headroom now {format_size(tally.after)}"] if tally.after is not None else []
    reusable = [] if plan.reclaimable else ["reusable only: the layer below does not shrink"]
    reason = "; ".join([done, *headroom, *reusable, *kept, *([tally.stopped] if tally.stopped else [])])
    if plan.reclaimable:
        return attempt.end(_kind(tally), reason, freed_bytes=tally.gained_bytes)
    return attempt.end(_kind(tally), reason, reusable_bytes=tally.room_bytes)


def _kind(tally: Tally) -> OutcomeKind:
    """Nothing deleted is not success; whether it is a failure depends on whether the file system said no."""
    if tally.deleted or tally.stopped == "there is room enough":
        return OutcomeKind.APPLIED
    harmless = {"gone meanwhile", "changed meanwhile", "in use"}
    return OutcomeKind.FAILED if set(tally.kept) - harmless or tally.stopped else OutcomeKind.REFUSED
