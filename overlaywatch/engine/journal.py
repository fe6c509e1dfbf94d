# SPDX-License-Identifier: Apache-2.0
"""What the daemon says in the journal: changes, each once, in whole sentences.

remarks() is pure: it compares one tick with the last. Everything is said on stderr, which the service
manager leads into the journal; it must never make the engine wait, so what cannot be written is lost.
"""

import contextlib
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from overlaywatch.engine.stderr import StderrHandler, hold_standard_descriptors
from overlaywatch.kernel.writers import describe, read_writers
from overlaywatch.model import BROKEN, Decision, LayerKind, LayerState, OutcomeKind, Tick, Verdict
from overlaywatch.units import format_duration, format_ratio, format_size, printable
from overlaywatch.watch import say_unseen, unseen

log: Final = logging.getLogger(__name__)

Remark = tuple[int, str]
"""A level of the logging module, and a sentence."""

WARN_RATIOS: Final = (0.70, 0.85, 0.95)
"""A mount point is spoken of when its use rises above one of these; again only after it fell 5 % below."""

_FALL: Final = 0.05
_SOURCE_SECONDS: Final = 60.0
"""So often a source is spoken of at most: an error may hold figures that are others at every tick."""

_FILLED_IN_MEMORY: Final = frozenset({LayerKind.OVERLAY, LayerKind.TMPFS, LayerKind.RAMFS, LayerKind.RAM})
"""Limits that writes may reach without passing a block device, whose counters then say nothing."""


class Remarks:
    """Remembers what was said, so that nothing is said twice."""

    def __init__(self) -> None:
        self._states: Mapping[str, LayerState] = {}
        self._errors: dict[str, tuple[str, float]] = {}
        self._steps: dict[str, int] = {}
        self._unseen: Collection[tuple[str, str]] = ()

    def of(self, tick: Tick) -> list[Remark]:
        """What is new in this tick."""
        said = [*self._layers(tick), *self._sources(tick), *self._mounts(tick), *self._policies(tick), *_events(tick)]
        self._states = {layer: reading.state for layer, reading in tick.survey.readings.items()}
        return [(level, printable(text)) for level, text in said]

    def _layers(self, tick: Tick) -> Iterator[Remark]:
        for layer, reading in tick.survey.readings.items():
            before = self._states.get(layer, LayerState.OK)
            if reading.state is before:
                continue
            level = logging.CRITICAL if reading.state in BROKEN else logging.WARNING
            level = logging.INFO if reading.state is LayerState.OK else level
            why = f": {reading.reason}" if reading.reason else ""
            yield level, f"{layer} is {reading.state.value}, was {before.value}{why}"

    def _sources(self, tick: Tick) -> Iterator[Remark]:
        for report in tick.survey.sources:
            before, since = self._errors.get(report.source, ("", float("-inf")))
            if report.error == before or tick.now - since < _SOURCE_SECONDS:
                continue
            self._errors[report.source] = report.error, tick.now
            if report.error:
                yield logging.WARNING, f"source {report.source}: {report.error}; ignoring it until it can be read"
            else:
                yield logging.INFO, f"source {report.source} can be read again"

    def _mounts(self, tick: Tick) -> Iterator[Remark]:
        for verdict in tick.verdicts:
            if verdict.used_ratio is None:
                continue
            name = verdict.mount.mount_point
            step, before = _step(verdict.used_ratio), self._steps.get(name, 0)
            if step > before:
                self._steps[name] = step
                yield logging.WARNING, _fills(verdict, tick)
            elif _step(verdict.used_ratio + _FALL) < before:
                self._steps[name] = _step(verdict.used_ratio + _FALL)

    def _policies(self, tick: Tick) -> Iterator[Remark]:
        """A typing error in a mount point would be a guard that sleeps. Not told while a source is blind."""
        if any(not report.success for report in tick.survey.sources):
            return
        before, self._unseen = self._unseen, unseen(tick.stages, tick.verdicts)
        for policy, mount_point in self._unseen:
            if (policy, mount_point) not in before:
                yield logging.WARNING, say_unseen(policy, mount_point)


def _step(ratio: float) -> int:
    return sum(ratio > bound for bound in WARN_RATIOS)


def _fills(verdict: Verdict, tick: Tick) -> str:
    used, left = format_ratio(verdict.used_ratio or 0), format_size(verdict.headroom_bytes or 0)
    forecast = tick.forecasts.get(verdict.mount.mount_point)
    full = forecast.time_to_full_seconds if forecast else None
    soon = f", full in {format_duration(full)}" if full is not None else ""
    failure = verdict.failure.value if verdict.failure else "unknown"
    where = f"{verdict.mount.mount_point}: {used} of {verdict.limit} used, {left} left{soon}"
    return f"{where}; at its end: {failure}; remedy: {verdict.remedy}"


def _events(tick: Tick) -> Iterator[Remark]:
    for one in tick.decisions:
        yield logging.WARNING, f"policy {one.policy}, stage {one.stage}, {one.mount_point}: {one.action}: {one.reason}"
    for outcome in tick.outcomes:
        bad = outcome.kind in {OutcomeKind.FAILED, OutcomeKind.REFUSED}
        yield (logging.ERROR if bad else logging.WARNING), f"{outcome.action}: {outcome.kind.value}: {outcome.reason}"


def listening(addresses: Sequence[str], failed: Sequence[str]) -> None:
    """Say where the frontend listens, and where it could not."""
    for address in addresses:
        log.info("listening on http://%s/", address)
    for failure in failed:
        log.error("%s", failure)


def ready(watched: Sequence[str], include: Sequence[str]) -> None:
    """Say what is watched."""
    why = "nothing that is included is mounted" if include else "no file system here can fill"
    log.info("ready: watching %s", ", ".join(map(printable, watched)) or f"nothing: {why}")


def not_watched(watched: Sequence[str], include: Sequence[str]) -> None:
    """Say what should be watched and cannot be: a folder is no mount point."""
    missing = [printable(path) for path in include if path not in watched]
    if missing:
        log.warning("[watch] include: no file system is mounted on %s: nothing is watched there", ", ".join(missing))


def name_writers(decisions: Sequence[Decision]) -> None:
    """Answer the first question of whoever reads that a stage became true. It takes 50 ms at most."""
    if not decisions:
        return
    kinds = {(decision.verdict.limit or "").partition(":")[0] for decision in decisions}
    with contextlib.suppress(OSError):
        found = read_writers(into_memory=not kinds.isdisjoint(_FILLED_IN_MEMORY))
        rest = f"; {found.not_seen} older processes were not looked at" if found.not_seen else ""
        if found.writers:
            log.warning("most was written, each since it began, by %s%s", describe(found.writers), rest)


_PRIORITIES: Final = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


class JournalFormatter(logging.Formatter):
    """With the priority that sd-daemon(3) defines in front of each line, if the journal reads it."""

    def __init__(self, *, to_journal: bool) -> None:
        super().__init__("%(message)s")
        self._to_journal = to_journal

    def format(self, record: logging.LogRecord) -> str:
        """`<4>text` for the journal, `overlaywatch: text` for a person."""
        # Names that users choose may hold anything: no line may pretend to be another one.
        lines = [printable(line) for line in super().format(record).split("\n")]
        prefix = f"<{_PRIORITIES.get(record.levelno, 5)}>" if self._to_journal else "overlaywatch: "
        return "\n".join(prefix + line for line in lines)


def leads_to_journal(fd: int, journal_stream: str) -> bool:
    """Whether a descriptor is the one that JOURNAL_STREAM names (systemd.exec(5)): a shell may have inherited it."""
    found = os.fstat(fd)
    return journal_stream == f"{found.st_dev}:{found.st_ino}"


def set_up(warnings: Sequence[str] = ()) -> None:
    """Log to stderr, and never wait for it or fail because of it. Begins with warnings of the configuration."""
    hold_standard_descriptors()
    handler = StderrHandler()
    handler.setFormatter(JournalFormatter(to_journal=leads_to_journal(2, os.environ.get("JOURNAL_STREAM", ""))))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.raiseExceptions = False
    for warning in warnings:
        log.warning("%s", warning)
