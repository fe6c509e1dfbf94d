# SPDX-License-Identifier: Apache-2.0
"""What the configuration says once it is checked: frozen, complete, with defaults filled in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from overlaywatch.policy import Policy


class ActionsMode(StrEnum):
    """What may be done: everything, nothing but showing it, nothing. Alerts are always sent."""

    ON = "on"
    DRY_RUN = "dry-run"
    OFF = "off"


class DmReaderChoice(StrEnum):
    """How device-mapper is read."""

    AUTO = "auto"
    IOCTL = "ioctl"
    DMSETUP = "dmsetup"


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """`[daemon]`: `interval` is the slowest pace, in seconds."""

    interval: float = 10.0
    actions: ActionsMode = ActionsMode.ON
    dm_reader: DmReaderChoice = DmReaderChoice.AUTO


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """`[watch]`: mount points; an empty `include` means the default choice."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ActionTable:
    """`[action.NAME]` before its type has read it: the raw values, and for each key its file."""

    name: str
    type: str
    values: Mapping[str, object]
    origins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration. `hash` identifies it in metrics; `origins` maps a key path to its file."""

    daemon: DaemonSettings = DaemonSettings()
    watch: WatchSettings = WatchSettings()
    actions: tuple[ActionTable, ...] = ()
    policies: tuple[Policy, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    hash: str = ""
