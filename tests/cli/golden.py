# SPDX-License-Identifier: Apache-2.0
"""The screens that are kept as files in tests/cli/golden/; `python3 -m tests.cli.golden` writes them anew.

Read what it changed (git diff) with the eyes of somebody whose server is filling up.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from overlaywatch.cli.explain_view import render_explain
from overlaywatch.cli.plan_view import render_plan
from overlaywatch.cli.screen import UNBOUNDED, Screen
from overlaywatch.cli.status_view import render_status
from overlaywatch.config.settings import ActionsMode, DaemonSettings, Settings
from overlaywatch.model import Tick
from tests.cli import plans, ticks

FOLDER: Final = Path(__file__).parent / "golden"
AT: Final = "2026-01-01 12:00:04 UTC"
PAUSED: Final = "Paused by alice until 12:10:04 (10 min from now): no action runs, alerts are still sent."

TICKS: Final[dict[str, Callable[[], Tick]]] = {
    "fresh": ticks.fresh,
    "filling": ticks.filling,
    "overflowed": ticks.overflowed,
    "invalid": ticks.invalid,
    "sparse": ticks.sparse,
    "overlay-on-tmpfs": ticks.overlay_on_tmpfs,
    "unprivileged": ticks.unprivileged,
    "nothing-watched": ticks.nothing_watched,
    "many": ticks.many,
}


def screens() -> dict[str, list[str]]:
    """Every kept screen by the name of its file."""
    found: dict[str, list[str]] = {}
    for name, tick in TICKS.items():
        for width in (80, 120):
            found[f"status-{name}-{width}"] = render_status(tick(), Screen(width), AT)
        found[f"explain-{name}-80"] = render_explain(tick(), tick().verdicts, Screen(80))
    filling = ticks.filling()
    found["status-filling-pipe"] = render_status(filling, Screen(UNBOUNDED), AT)
    found["status-filling-colour"] = render_status(filling, Screen(80, colour=True), AT)
    found["status-filling-ascii"] = render_status(filling, Screen(80, glyphs=False), AT)
    found["status-paused-80"] = render_status(replace(filling, paused=True), Screen(80), AT, PAUSED)
    settings = Settings(DaemonSettings(actions=ActionsMode.DRY_RUN), policies=plans.POLICIES)
    found["plan-filling-80"] = render_plan(filling, plans.some(filling), settings, Screen(80), PAUSED)
    found["plan-calm-80"] = render_plan(ticks.fresh(), (), Settings(policies=plans.POLICIES), Screen(80))
    found["plan-no-policy-80"] = render_plan(ticks.fresh(), (), Settings(), Screen(80))
    return found


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for screen, lines in screens().items():
        (FOLDER / f"{screen}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
