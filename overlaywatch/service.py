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
from overlaywatch.engine.parts import Parts
from overlaywatch.frontend.process import FrontendOptions, spawn

DEFAULT_LISTEN: Final = "127.0.0.1:10087"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of `overlaywatch run`; an empty `listen` means the default address."""

    config: str | None = None
    listen: tuple[str, ...] = ()


def run_daemon(options: RunOptions) -> int:
    """Run until a signal ends it. Raises ConfigErrors if the configuration is wrong at the start."""
    # The engine leaves its working directory; a reload must find the same file.
    config = None if options.config is None else Path(options.config).absolute()
    settings, warnings = load_settings(config)
    journal.set_up(warnings)
    frontend = FrontendOptions(listen=options.listen or (DEFAULT_LISTEN,))
    parts = Parts(
        settings=settings,
        folder=run_directory(),
        host=host.describe(),
        sources=registry.make_sources(),
        open_reader=registry.open_reader,
        load=lambda: load_settings(config),
        make_actions=registry.make_actions,
        spawn_frontend=lambda: spawn(frontend),
        prepare=emergency.prepare,
    )
    return Engine(parts).run()


def load_settings(config: Path | None) -> tuple[Settings, tuple[str, ...]]:
    """The configuration and warnings about it, actions checked by their types. Raises ConfigErrors."""
    return load(boot_words=registry.boot_words(), explicit=config, check_action=registry.check_action)


def run_directory() -> Path:
    """Where state and pause are kept: what systemd gives, else /run/overlaywatch."""
    return Path(os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0] or registry.RUN_DIRECTORY)
