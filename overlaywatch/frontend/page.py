# SPDX-License-Identifier: Apache-2.0
"""The page that a person reads: mount points with bars, their chains, layers, policies.

This file must not know HTTP. No script and nothing from elsewhere: the style is in the page and allowed
by its hash, bars are classes of it (the width of a bar in an attribute would need `unsafe-inline`).
"""

import base64
import hashlib
import time
from collections.abc import Iterable
from html import escape
from typing import Final

from overlaywatch.frontend.facts import Facts, printable
from overlaywatch.schema import DaemonDocument, LayerEntry, MountEntry, PolicyEntry, SourceEntry, StatusDocument
from overlaywatch.units import format_duration, format_ratio, format_size

_REFRESH_SECONDS: Final = 10
_STYLE: Final = (
    ":root{color-scheme:light dark;--line:#8884;--ok:#2a8;--warn:#d90;--bad:#d43}"
    "body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:1.5rem auto;padding:0 1rem}"
    "h1{font-size:1.3rem}h2{font-size:1.05rem;margin:2rem 0 .5rem}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.3rem .7rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}"
    "th{font-weight:600}.n{text-align:right;white-space:nowrap}.s{color:GrayText}"
    ".b{background:var(--line);border-radius:3px;height:.8rem;min-width:7rem;overflow:hidden;margin:.3rem 0}"
    ".b i{display:block;height:100%;background:var(--ok)}"
    ".b i.warn{background:var(--warn)}.b i.bad{background:var(--bad)}"
    ".bad-text{color:var(--bad);font-weight:600}code{font-size:.9em}"
    + "".join(f".w{width}{{width:{width}%}}" for width in range(101))
)
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS: Final = (
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
)
_DASH: Final = "–"


def render(facts: Facts, notice: str) -> bytes:
    """The page, UTF-8. Without a tick that can be believed it shows the notice in its place."""
    status = facts.status
    host = status["host"]["hostname"] if status else ""
    body = _status(status) if status else f'<p class="bad-text">{_text(notice)}</p>'
    title = f"overlaywatch {host}".strip()
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>',
        f'<meta http-equiv="refresh" content="{_REFRESH_SECONDS}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<style>{_STYLE}</style></head><body><h1>{_text(title)}</h1>",
        _daemon(facts.daemon) if facts.daemon else "",
        body,
        '<p class="s"><a href="/metrics">/metrics</a> · <a href="/api/v1/status">/api/v1/status</a></p>',
        "</body></html>\n",
    ]
    return "".join(parts).encode("utf-8", "backslashreplace")


def _text(text: str) -> str:
    return escape(printable(text))


def _daemon(daemon: DaemonDocument) -> str:
    looked = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(daemon["last_tick"]))
    said = [f"looked at {looked}", f"next look in {format_duration(daemon['pace_seconds'])}"]
    said += [f"version {daemon['version']}"]
    paused = ' · <span class="bad-text">paused: nothing is done but alerts</span>' if daemon["paused"] else ""
    reload = "" if daemon["config_last_reload_successful"] else ' · <span class="bad-text">last reload refused</span>'
    return f'<p class="s">{_text(" · ".join(said))}{paused}{reload}</p>'


def _status(status: StatusDocument) -> str:
    failed = [source for source in status["sources"] if not source["success"]]
    parts = [
        _table("Mount points", _MOUNT_HEAD, [_mount(mount) for mount in status["mounts"]]),
        _table("Layers", _LAYER_HEAD, [_layer(layer) for layer in status["layers"]]),
        _table("Policies", _POLICY_HEAD, [row for policy in status["policies"] for row in _policy(policy)]),
        _table("Sources that failed", _SOURCE_HEAD, [_source(source) for source in failed]),
        _notes(status["host"]["notes"]),
    ]
    return "".join(parts)


_MOUNT_HEAD: Final = ("mount point", "used", "headroom", "full in", "limit", "then", "chain")
_LAYER_HEAD: Final = ("layer", "state", "used", "size", "headroom", "rests on")
_POLICY_HEAD: Final = ("policy", "mount point", "stage", "active", "why", "calls for")
_SOURCE_HEAD: Final = ("source", "error")


_ACTIVE: Final = {True: '<td class="bad-text">yes</td>', False: "<td>no</td>", None: "<td>unknown</td>"}


def _table(title: str, names: Iterable[str], rows: list[str]) -> str:
    if not rows:
        return ""
    header = "".join(f"<th>{_text(name)}</th>" for name in names)
    return f"<h2>{_text(title)}</h2><table><tr>{header}</tr>{''.join(rows)}</table>"


def _mount(mount: MountEntry) -> str:
    remedy = f'<div class="s">{_text(mount["remedy"])}</div>' if mount["remedy"] else ""
    cells = [
        f'<td><b>{_text(mount["mount_point"])}</b><div class="s">{_text(mount["fstype"])}</div></td>',
        _bar(mount["used_ratio"]),
        _number(_headroom(mount)),
        _number(_DASH if mount["time_to_full_seconds"] is None else format_duration(mount["time_to_full_seconds"])),
        _cell(mount["limit"] or _DASH),
        f"<td>{_text(mount['failure'] or _DASH)}{remedy}</td>",
        _cell(" → ".join(mount["chain"])),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _headroom(mount: MountEntry) -> str:
    exact, bound = mount["headroom_bytes"], mount["headroom_at_most_bytes"]
    if exact is not None:
        return format_size(exact)
    return _DASH if bound is None else f"≤ {format_size(bound)}"


def _layer(layer: LayerEntry) -> str:
    bad = "" if layer["state"] == "ok" else ' class="bad-text"'
    reason = f'<div class="s">{_text(layer["reason"])}</div>' if layer["reason"] else ""
    cells = [
        f"<td><code>{_text(layer['id'])}</code></td>",
        f"<td><span{bad}>{_text(layer['state'])}</span>{reason}</td>",
        _bar(layer["used_ratio"]),
        _number(_size(layer["size_bytes"])),
        _number(_size(layer["headroom_bytes"])),
        _cell(", ".join(layer["backed_by"])),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _policy(policy: PolicyEntry) -> Iterable[str]:
    for stage in policy["stages"]:
        active = {True: '<td class="bad-text">yes</td>', False: "<td>no</td>", None: "<td>unknown</td>"}[
            stage["active"]
        ]
        cells = [_cell(policy["name"]), _cell(policy["mount_point"]), _cell(stage["name"]), active]
        cells += [_cell(stage["reason"]), _cell(", ".join(stage["actions"]))]
        yield f"<tr>{''.join(cells)}</tr>"


def _source(source: SourceEntry) -> str:
    return f"<tr>{_cell(source['source'])}{_cell(source['error'])}</tr>"


def _notes(notes: Iterable[str]) -> str:
    return "".join(f'<p class="s">{_text(note)}</p>' for note in notes)


def _cell(text: str) -> str:
    return f"<td>{_text(text)}</td>"


def _number(text: str) -> str:
    return f'<td class="n">{_text(text)}</td>'


def _size(size: int | None) -> str:
    return _DASH if size is None else format_size(size)


def _bar(ratio: float | None) -> str:
    """A bar that is full at 1 and never looks empty or full before it is."""
    if ratio is None:
        return f"<td>{_DASH}</td>"
    width = min(max(int(ratio * 100), 1 if ratio > 0 else 0), 100)
    level = "bad" if ratio >= 0.9 else "warn" if ratio >= 0.7 else "ok"
    words = format_ratio(ratio)
    return f'<td>{words}<div class="b" role="img" aria-label="{words} used"><i class="w{width} {level}"></i></div></td>'
