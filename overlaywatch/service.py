# SPDX-License-Identifier: Apache-2.0
"""The daemon, put together: configuration, engine, frontend.

Importing this brings in everything that either process will ever need, pyroute2 and prometheus_client
among it: after the fork nothing is imported any more, because the disk may be gone by then.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overlaywatch import registry
from overlaywatch.config.load import load
from overlaywatch.config.settings import Settings
from overlaywatch.engine import emergency, host, journal
from overlaywatch.engine.daemon import Engine
from overlaywatch.engine.folder import run_directory
from overlaywatch.engine.parts import Parts
from overlaywatch.frontend import textfile
from overlaywatch.frontend.process import FrontendHandle, prepare, spawn

DEFAULT_LISTEN: Final = "127.0.0.1:10087"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of `overlaywatch run`; an empty `listen` means the default address."""

    config: str | None = None
    listen: tuple[str, ...] = ()
    textfile: str | None = None


class Service:
    """The configuration as it was read last, and a frontend prepared for it."""

    def __init__(self, options: RunOptions) -> None:
        # The engine leaves its working directory; a reload must find the same file.
        self._config = None if options.config is None else Path(options.config).absolute()
        self._listen = options.listen or (DEFAULT_LISTEN,)
        self._textfile = None if options.textfile is None else textfile.prepare(options.textfile)
        self.settings, self.warnings = self.load()

    def load(self) -> tuple[Settings, tuple[str, ...]]:
        """Settings and warnings; what a frontend needs from files is read now. Raises ConfigErrors, AddressError."""
        loaded = load(boot_words=registry.boot_words(), explicit=self._config, check_action=registry.check_action)
        self._frontend = prepare(self._listen, registry.urls(loaded[0]), self._textfile)
        return loaded

    def spawn_frontend(self) -> FrontendHandle:
        """Fork a frontend from memory."""
        return spawn(self._frontend)


def run_daemon(options: RunOptions) -> int:
    """Run until a signal ends it. Raises ConfigErrors, AddressError, TextfileError: something is wrong at the start."""
    service = Service(options)
    journal.set_up(service.warnings)
    parts = Parts(
        settings=service.settings,
        folder=run_directory(os.environ),
        host=host.describe(),
        sources=registry.make_sources(),
        open_reader=registry.open_reader,
        load=service.load,
        make_actions=registry.make_actions,
        spawn_frontend=service.spawn_frontend,
        prepare=emergency.prepare,
    )
    return Engine(parts).run()
