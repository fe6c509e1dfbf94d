# SPDX-License-Identifier: Apache-2.0
"""What `explain` shows: for a mount point its chain, and in sentences what will happen and what helps.

This file must not print.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from overlaywatch.cli.chain_view import render_chain
from overlaywatch.cli.layout import wrap
from overlaywatch.cli.screen import Screen, Style, printable
from overlaywatch.cli.status_view import NOTHING_WATCHED, blind_spots, not_seen
from overlaywatch.cli.words import failure_in_full
from overlaywatch.document import status_document
from overlaywatch.model import NO_FORECAST, Forecast, LayerKind, Tick, Verdict
from overlaywatch.units import format_duration, format_size

if TYPE_CHECKING:
    from overlaywatch.sources.already_copied import AlreadyCopied

Deep = Mapping[str, "AlreadyCopied"]
"""What `--deep` found out, by mount point; empty without it."""

NOT_DEEP: Final[Deep] = {}

LABEL: Final = 10
PAGE_SECTORS: Final = 8
"""What is written at once, at least: a page of 4 KiB."""


def render_explain(tick: Tick, verdicts: Sequence[Verdict], screen: Screen, deep: Deep = NOT_DEEP) -> list[str]:
    """All lines for these mount points of one look."""
    lines: list[str] = []
    for verdict in verdicts:
        chain = render_chain(verdict, tick.survey, tick.now, screen)
        lines += ["", *chain, "", *_sentences(explained(verdict, tick, deep), screen)]
    lines = lines or ["", *wrap(NOTHING_WATCHED, screen.prose_width)]
    return screen.finish([*lines, *not_seen(tick, screen)][1:])


def explanation(tick: Tick, verdicts: Sequence[Verdict], deep: Deep = NOT_DEEP) -> dict[str, object]:
    """The same for programs: the status document of these mounts and their layers, with the sentences.

    A mount has the key `deep` if it was asked for.
    """
    document = status_document(tick)
    chosen = {verdict.mount.mount_point: verdict for verdict in verdicts}
    layers = {layer for verdict in verdicts for layer in verdict.chain}
    mounts = [mount for mount in document["mounts"] if mount["mount_point"] in chosen]
    return {
        "version": document["version"],
        "at": document["at"],
        "host": document["host"],
        "mounts": [
            {**mount, **_deep_of(point, deep), "explanation": explained(chosen[point], tick, deep)}
            for mount in mounts
            if (point := mount["mount_point"])
        ],
        "layers": [layer for layer in document["layers"] if layer["id"] in layers],
        "not_seen": list(blind_spots(tick)),
    }


def _deep_of(mount_point: str, deep: Deep) -> dict[str, object]:
    return {"deep": asdict(deep[mount_point])} if mount_point in deep else {}


def explained(verdict: Verdict, tick: Tick, deep: Deep = NOT_DEEP) -> dict[str, str]:
    """The sentences by their label, in the order in which they are read."""
    forecast = tick.forecasts.get(verdict.mount.mount_point, NO_FORECAST)
    labelled = {
        "headroom": headroom_sentence(verdict, tick),
        "forecast": _forecast_sentence(forecast),
        "now" if verdict.headroom_bytes == 0 else "then": failure_in_full(verdict),
        "remedy": _as_sentence(verdict.remedy),
        "deep": deep_sentence(deep.get(verdict.mount.mount_point)),
    }
    return {label: sentence for label, sentence in labelled.items() if sentence}


def headroom_sentence(verdict: Verdict, tick: Tick) -> str:
    """How much can still be written, what ends then, and why df(1) tells another story."""
    if verdict.headroom_bytes is None:
        if verdict.headroom_at_most_bytes is None:
            return "Unknown: part of the chain cannot be seen."
        return f"Unknown, at most {format_size(verdict.headroom_at_most_bytes)}: part of the chain cannot be seen."
    if verdict.headroom_bytes == 0:
        return f"None: {verdict.limit} takes no more data."
    left = f"{format_size(verdict.headroom_bytes)} of new data still fit; then {verdict.limit} ends."
    return " ".join(filter(None, (left, _what_df_shows(verdict, tick), _at_worst(verdict, tick))))


def _what_df_shows(verdict: Verdict, tick: Tick) -> str:
    top = tick.survey.readings.get(verdict.chain[0]) if verdict.chain else None
    shown = top.headroom_bytes if top else None
    if shown is None or verdict.headroom_bytes is None or shown <= verdict.headroom_bytes:
        return ""
    return f"(df shows {format_size(shown)}: it does not look below the file system.)"


def _at_worst(verdict: Verdict, tick: Tick) -> str:
    """What scattered writes cost where a snapshot copies in chunks of more than a page; empty where it does not."""
    limit = next((layer for layer in tick.survey.layers if layer.id == verdict.limit), None)
    sectors = limit.details.get("chunk_size_sectors") if limit and limit.kind is LayerKind.DM_SNAPSHOT else None
    if not isinstance(sectors, int) or sectors <= PAGE_SECTORS or verdict.headroom_bytes is None:
        return ""
    chunk, worst = format_size(sectors * 512), format_size(verdict.headroom_bytes * PAGE_SECTORS // sectors)
    return f"(4 KiB written here and there cost {chunk} each: at worst {worst} of them fit.)"


def _forecast_sentence(forecast: Forecast) -> str:
    if not forecast.time_to_full_seconds:
        return ""  # not justified; or full already, which the headroom says
    rate = forecast.fill_bytes_per_second
    speed = f", at {format_size(int(rate))}/s" if rate else ""
    return f"Full in {format_duration(forecast.time_to_full_seconds)}{speed}."


def deep_sentence(found: "AlreadyCopied | None") -> str:
    """How much free space costs nothing to write again, and what it cost to find out; empty if it was not asked."""
    if found is None:
        return ""
    if found.already_copied_free_bytes is None or found.free_bytes is None:
        return f"Cannot say how much free space is already copied: {found.reason}."
    both, free = format_size(found.already_copied_free_bytes), format_size(found.free_bytes)
    cost = f"{format_size(found.read_bytes)} of the store read in {format_duration(found.took_seconds)}"
    return f"Of {free} free, {both} are already copied: what is written there costs nothing ({cost})."


def _as_sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _sentences(sentences: Mapping[str, str], screen: Screen) -> Iterator[str]:
    for label, sentence in sentences.items():
        first, *others = wrap(printable(sentence), screen.prose_width - LABEL)
        yield screen.paint(label.capitalize().ljust(LABEL), Style.FAINT) + first
        yield from (" " * LABEL + line for line in others)
