# SPDX-License-Identifier: Apache-2.0
"""The daemon, put together: configuration, engine, frontend.

Importing this brings in everything that either process will ever need, pyroute2 and prometheus_client
among it: after the fork nothing is imported any more, because the disk may be gone by then.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from overlaywatch import registry
from overlaywatch.config.load import ROOT, load
from overlaywatch.config.settings import Settings
from overlaywatch.engine import emergency, host, journal
from overlaywatch.engine.daemon import Engine
from overlaywatch.engine.folder import run_directory
from overlaywatch.engine.parts import Parts
from overlaywatch.frontend import textfile
from overlaywatch.frontend.process import FrontendHandle, prepare, renewed, spawn
from overlaywatch.kernel.captured import CapturedMachine

DEFAULT_LISTEN: Final = "127.0.0.1:10087"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of `overlaywatch run`; an empty `listen` is the default address. `captured` is watched if given."""

    config: str | None = None
    listen: tuple[str, ...] = ()
    textfile: str | None = None
    captured: CapturedMachine | None = None


class Service:
    """The configuration as it was read last, and a frontend prepared for it."""

    def __init__(self, options: RunOptions) -> None:
        # The engine leaves its working directory; a reload must find the same file.
        self._config = None if options.config is None else Path(options.config).absolute()
        self._listen = options.listen or (DEFAULT_LISTEN,)
        self._textfile = None if options.textfile is None else textfile.prepare(options.textfile)
        self._captured = options.captured
        self.settings, self.warnings = self._read()
        self._frontend = prepare(self._listen, registry.urls(self.settings), self._textfile)

    def load(self) -> tuple[Settings, tuple[str, ...]]:
        """Read again: settings and warnings; the next frontend is for them. Raises ConfigErrors."""
        loaded = self._read()
        self._frontend = renewed(self._frontend, registry.urls(loaded[0]))
        return loaded

    def _read(self) -> tuple[Settings, tuple[str, ...]]:
        captured = self._captured
        settings, warnings = load(
            captured.folder if captured else ROOT,
            registry.boot_words(captured.root if captured else None),
            self._config,
            check_action=registry.check_action,
        )
        return settings if captured is None else without_actions(settings), warnings

    def spawn_frontend(self) -> FrontendHandle:
        """Fork a frontend from memory."""
        return spawn(self._frontend)


def run_daemon(options: RunOptions) -> int:
    """Run until a signal ends it. Raises ConfigErrors, AddressError, TextfileError: something is wrong at the start."""
    service = Service(options)
    journal.set_up(service.warnings)
    captured = options.captured
    parts = Parts(
        settings=service.settings,
        folder=run_directory(os.environ) if captured is None else None,
        host=host.describe() if captured is None else captured.manifest.host,
        sources=registry.make_sources(),
        open_reader=lambda settings: registry.open_reader(settings, captured),
        load=service.load,
        make_actions=registry.make_actions,
        urls=registry.urls,
        spawn_frontend=service.spawn_frontend,
        prepare=emergency.prepare if captured is None else tuple,
    )
    return Engine(parts).run()


def without_actions(settings: Settings) -> Settings:
    """For a captured machine: the stages are judged and shown, and call for nothing, not even an alert."""
    policies = tuple(
        replace(one, stages=tuple(replace(stage, actions=()) for stage in one.stages)) for one in settings.policies
    )
    return replace(settings, actions=(), policies=policies)
