# SPDX-License-Identifier: Apache-2.0
"""What `status` shows: one Tick as lines of text.

This file must not print, and must not know what time it is where the reader lives (`at` is told).
Mounts come first, because they are what people use; then the layers, as they lie on each other.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from overlaywatch.cli.layout import flow, size_or_unknown, wrap
from overlaywatch.cli.screen import Screen, Style, printable
from overlaywatch.cli.strata import Stratum, strata
from overlaywatch.cli.table import STYLES, Note, Row, Table, fits, grid_of, render_table
from overlaywatch.cli.words import (
    Level,
    failure_in_short,
    is_bad_news,
    level_of_ratio,
    level_of_states,
    level_of_time,
    state_in_words,
)
from overlaywatch.model import (
    BROKEN,
    NO_FORECAST,
    RAM_LAYER,
    Forecast,
    Layer,
    LayerKind,
    LayerState,
    Reading,
    StageStatus,
    Tick,
    Verdict,
)
from overlaywatch.topology import Topology
from overlaywatch.units import format_duration, format_size

MOUNT_HEADINGS: Final = ("MOUNT POINT", "USED", "HEADROOM", "FULL IN", "FILLS AT", "LIMIT", "AT THE LIMIT")
LAYER_HEADINGS: Final = ("LAYER", "USED", "HEADROOM", "USED OF SIZE")
ALWAYS_SHOWN: Final = frozenset({LayerKind.DM_SNAPSHOT, LayerKind.DM_THIN_POOL, LayerKind.RAM})
UNKNOWN_LIMIT: Final = "cannot be seen"

NOTHING_WATCHED: Final = (
    "Nothing is watched here: no file system is mounted that can be written to and can fill, or '[watch]' in the "
    "configuration leaves it out."
)


def render_status(tick: Tick, screen: Screen, at: str, pause: str = "") -> list[str]:
    """All lines. `at` is the time of the look, `pause` says until when actions are paused, if they are."""
    lines = [*_head(tick, screen, at), *_pause(pause, screen), ""]
    mounts, layers = _tables(tick, screen.width)
    grid = grid_of((mounts, layers), screen.width)
    lines += render_table(mounts, grid, screen) if mounts.rows else wrap(NOTHING_WATCHED, screen.prose_width)
    if layers.rows:
        lines += ["", *render_table(layers, grid, screen)]
    return screen.finish([*lines, *_hidden(tick, screen), *_stages(tick, screen), *not_seen(tick, screen)])


def _head(tick: Tick, screen: Screen, at: str) -> Iterator[str]:
    system = next((verdict.live_system for verdict in tick.verdicts if verdict.live_system), None)
    name = printable(tick.host.hostname)
    parts = [name, f"Linux {tick.host.kernel}", system or "", at]
    first, *others = flow(filter(None, parts), screen.width)
    yield screen.paint(name, Style.STRONG) + screen.paint(first[len(name) :], Style.FAINT)
    yield from (screen.paint(line, Style.FAINT) for line in others)


def _pause(pause: str, screen: Screen) -> Iterator[str]:
    if pause:
        yield from (screen.paint(line, Style.WARN) for line in wrap(pause, screen.prose_width))


def _tables(tick: Tick, width: int) -> tuple[Table, Table]:
    """One line for each mount if that fits, else limit and failure go into a line of their own; sizes go first."""
    layers = Table(LAYER_HEADINGS, tuple(_layer_rows(tick)))
    mounts = Table(MOUNT_HEADINGS, tuple(_mount_row(verdict, tick) for verdict in tick.verdicts))
    if not fits(mounts, width, beside=layers):
        mounts = replace(mounts, rows=tuple(_folded(row) for row in mounts.rows))
    if not fits(layers, width):
        layers = replace(layers, rows=tuple(replace(row, cells=()) for row in layers.rows))
    return mounts, layers


def _mount_row(verdict: Verdict, tick: Tick) -> Row:
    forecast = tick.forecasts.get(verdict.mount.mount_point, NO_FORECAST)
    limit = printable(verdict.limit) if verdict.limit else UNKNOWN_LIMIT
    return Row(
        name=printable(verdict.mount.mount_point),
        ratio=verdict.used_ratio,
        level=_level(verdict, forecast),
        headroom=_headroom(verdict),
        cells=(_full_in(verdict, forecast), _fills_at(forecast), limit, failure_in_short(verdict)),
    )


def _folded(row: Row) -> Row:
    full_in, fills_at, limit, failure = row.cells
    style = Style.ALARM if row.level is Level.BAD else Style.FAINT
    parts = ["the limit cannot be seen"] if limit == UNKNOWN_LIMIT else [f"limit {limit}", failure]
    parts += [f"fills at {fills_at}"] if fills_at else []
    return replace(row, cells=(full_in,), notes=(Note(tuple(parts), style), *row.notes))


def _level(verdict: Verdict, forecast: Forecast) -> Level:
    if verdict.headroom_bytes == 0:
        return Level.BAD
    if is_bad_news(verdict):
        return max(Level.WARN, level_of_states(verdict.states))
    return max(level_of_ratio(verdict.used_ratio), level_of_time(forecast.time_to_full_seconds))


def _headroom(verdict: Verdict) -> str:
    if verdict.headroom_bytes is None and verdict.headroom_at_most_bytes is not None:
        return f"≤ {format_size(verdict.headroom_at_most_bytes)}"
    return size_or_unknown(verdict.headroom_bytes)


def _full_in(verdict: Verdict, forecast: Forecast) -> str:
    if verdict.headroom_bytes == 0:
        return "now"
    if forecast.time_to_full_seconds is None:
        return ""
    return format_duration(forecast.time_to_full_seconds)


def _fills_at(forecast: Forecast) -> str:
    rate = forecast.fill_bytes_per_second
    return f"{format_size(int(rate))}/s" if rate and rate >= 1 else ""


def _layer_rows(tick: Tick) -> Iterator[Row]:
    survey = tick.survey
    topology = Topology(survey.layers, survey.links)
    promises = _oversubscription(tick)
    for stratum in strata(shown_layers(tick), topology.backing):
        layer = stratum.layer
        yield _layer_row(stratum, survey.readings.get(layer.id), promises.get(layer.id, 0.0), tick.now)


def shown_layers(tick: Tick) -> list[Layer]:
    """Those below a watched mount point, every snapshot and pool, and whatever is not well."""
    used = {layer for verdict in tick.verdicts for layer in verdict.chain}
    return [layer for layer in tick.survey.layers if layer.id in used or _of_interest(layer, tick)]


def _of_interest(layer: Layer, tick: Tick) -> bool:
    reading = tick.survey.readings.get(layer.id)
    return layer.kind in ALWAYS_SHOWN or reading is None or reading.state is not LayerState.OK


def _layer_row(stratum: Stratum, reading: Reading | None, promise: float, now: float) -> Row:
    level = _layer_level(reading)
    return Row(
        name=printable(stratum.layer.id),
        ratio=reading.used_ratio if reading else None,
        level=level,
        headroom=_layer_headroom(reading),
        cells=(_used_of_size(reading),),
        notes=tuple(_layer_notes(reading, promise, level, now)),
        lead=stratum.lead,
        below=stratum.below,
        boundless=_is_boundless(reading),
    )


def _is_boundless(reading: Reading | None) -> bool:
    """A ramfs: it has no size of its own, and what limits it is drawn below."""
    return reading is not None and reading.cannot_overflow and reading.size_bytes is None


def _layer_level(reading: Reading | None) -> Level:
    if reading is None:
        return Level.UNKNOWN
    state = level_of_states([reading.state])
    if reading.cannot_overflow or state is Level.UNKNOWN:
        return state
    return max(state, level_of_ratio(reading.used_ratio))


def _layer_headroom(reading: Reading | None) -> str:
    if reading is not None and reading.state in BROKEN:
        return format_size(0)
    if _is_boundless(reading):
        return "no limit"
    return size_or_unknown(reading.headroom_bytes if reading else None)


def _used_of_size(reading: Reading | None) -> str:
    if reading is None or reading.used_bytes is None:
        return f"{format_size(reading.size_bytes)}" if reading and reading.size_bytes else ""
    if reading.size_bytes is None:
        return f"{format_size(reading.used_bytes)} used"
    return f"{format_size(reading.used_bytes)} of {format_size(reading.size_bytes)}"


def _layer_notes(reading: Reading | None, promise: float, level: Level, now: float) -> Iterator[Note]:
    if said := state_in_words(reading, now):
        yield Note(tuple(map(printable, said)), Style.ALARM if level is Level.BAD else STYLES[level])
    if reading is None or reading.state is not LayerState.OK:
        return
    if promise > 1 and reading.headroom_bytes and reading.layer != RAM_LAYER:
        backed = format_size(int(reading.headroom_bytes / promise))
        yield Note((f"only {backed} of this headroom is backed by what lies below",), Style.WARN)
    if reading.cannot_overflow and not _is_boundless(reading):
        yield Note(("cannot overflow: it has room for all that can come",))


def _oversubscription(tick: Tick) -> dict[str, float]:
    worst: dict[str, float] = {}
    for verdict in tick.verdicts:
        for layer, ratio in verdict.oversubscription.items():
            worst[layer] = max(ratio, worst.get(layer, 0.0))
    return worst


def _hidden(tick: Tick, screen: Screen) -> Iterator[str]:
    count = len(tick.survey.layers) - len(shown_layers(tick))
    if count:
        layers = "1 more layer" if count == 1 else f"{count} more layers"
        yield screen.paint(f"{layers} below no watched mount point: see --json", Style.FAINT)


def _stages(tick: Tick, screen: Screen) -> Iterator[str]:
    active = [stage for stage in tick.stages if stage.active]
    if active:
        yield from ("", screen.paint("POLICIES", Style.FAINT))
    for stage in active:
        text = f"{stage.policy}/{stage.stage} on {printable(stage.mount_point)} {_since(stage, tick)}: {stage.reason}"
        yield from (screen.paint(line, Style.WARN) for line in wrap(text, screen.prose_width))


def _since(stage: StageStatus, tick: Tick) -> str:
    """Without a daemon every stage that is true has become so just now."""
    age = 0.0 if stage.since is None else tick.now - stage.since
    return f"is active for {format_duration(age)}" if age >= 1 else "is true now"


def not_seen(tick: Tick, screen: Screen) -> Iterator[str]:
    """What could not be seen, and why: of the host, then of each source that failed."""
    told = list(blind_spots(tick))
    if told:
        yield from ("", screen.paint("NOT SEEN", Style.FAINT))
    for text in told:
        first, *others = wrap(printable(text), screen.prose_width - 2) or [""]
        yield from (f"- {first}", *(f"  {line}" for line in others))


def blind_spots(tick: Tick) -> Iterable[str]:
    """Each thing that could not be seen, in a sentence, once."""
    failed = (f"{report.source}: {report.error}" for report in tick.survey.sources if report.error)
    return dict.fromkeys((*tick.host.notes, *failed))
