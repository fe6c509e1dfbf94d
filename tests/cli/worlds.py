# SPDX-License-Identifier: Apache-2.0
"""A world for a verb: its output is kept, its clocks stand still, and it sees the tick that it is given."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from overlaywatch.cli.dispatch import dispatch
from overlaywatch.cli.world import World
from overlaywatch.config.load import Gathered, gather, load
from overlaywatch.config.settings import Settings
from overlaywatch.kernel.capture import Capture
from overlaywatch.kernel.captured import Manifest
from overlaywatch.model import Tick
from overlaywatch.ports import Plan
from overlaywatch.sources.already_copied import AlreadyCopied
from tests.cli import ticks

if TYPE_CHECKING:
    from overlaywatch.service import RunOptions


@dataclass
class Stage:
    """What a test sets up, and what came out of it."""

    folder: Path
    tick: Callable[[], Tick] = ticks.fresh
    plans: Sequence[Plan] = ()
    deep: Mapping[str, AlreadyCopied] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    files: Path | None = None
    """Where the ordinary configuration files are looked for; none by default."""
    out: io.StringIO = field(default_factory=io.StringIO)
    err: io.StringIO = field(default_factory=io.StringIO)
    monotonic: float = ticks.NOW
    resolve: Callable[[str], str] = str
    """Where a path leads to: to itself."""
    capture: Capture = field(default_factory=lambda: Capture(Manifest(), {}, {}))
    ran: "list[RunOptions]" = field(default_factory=list)

    def run(self, *words: str) -> int:
        """The exit status of `overlaywatch WORDS`."""
        return dispatch(words, self.world())

    def world(self) -> World:
        """The World made of this."""
        return World(
            out=self.out,
            err=self.err,
            environ=self.environ,
            run_directory=self.folder / "run",
            monotonic=lambda: self.monotonic,
            unix_time=lambda: ticks.UNIX,
            load=self._load,
            gather=self._gather,
            look=lambda _: self.tick(),
            look_deep=lambda _settings, _tick, verdict: self.deep[verdict.mount.mount_point],
            plan=lambda _: (self.tick(), tuple(self.plans)),
            daemon=self._daemon,
            resolve=self.resolve,
            record=lambda _: (self.tick(), self.capture),
        )

    def _load(self, path: str | None) -> tuple[Settings, tuple[str, ...]]:
        return load(self.files or self.folder, explicit=Path(path) if path else None)

    def _gather(self, path: str | None) -> Gathered:
        return gather(self.files or self.folder, explicit=Path(path) if path else None)

    def _daemon(self, options: "RunOptions") -> int:
        self.ran.append(options)
        return 0

    @property
    def said(self) -> str:
        """All that was written to standard output."""
        return self.out.getvalue()

    @property
    def complained(self) -> str:
        """All that was written to standard error."""
        return self.err.getvalue()
