# SPDX-License-Identifier: Apache-2.0
"""What the engine is put together from. registry.py makes it; a test makes one of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from overlaywatch.config.settings import Settings
from overlaywatch.engine.frontend_link import Handle
from overlaywatch.kernel.view import KernelReader, KernelView
from overlaywatch.model import Host
from overlaywatch.ports import Action, Source

Send = Callable[[Mapping[str, object]], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that comes from outside the engine.

    `folder` holds state and pause (on /run); None for a captured machine, which has neither. `load` reads the
    configuration again; it and `make_actions` raise ConfigErrors. `urls` are those of all receivers.
    `spawn_frontend` forks one from memory. `prepare` makes the process fit for an emergency and returns what
    was refused.
    """

    settings: Settings
    folder: Path | None
    host: Host
    sources: Sequence[Source[KernelView]]
    open_reader: Callable[[Settings], KernelReader]
    load: Callable[[], tuple[Settings, tuple[str, ...]]]
    make_actions: Callable[[Settings, Send], Mapping[str, Action]]
    urls: Callable[[Settings], Sequence[str]]
    spawn_frontend: Callable[[], Handle]
    prepare: Callable[[], Sequence[str]]
