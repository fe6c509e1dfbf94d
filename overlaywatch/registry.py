# SPDX-License-Identifier: Apache-2.0
"""What is plugged in, by name: the sources and the actions; and how the program is put together.

A new source is one file in sources/ and one line in SOURCES. A new action is one file in actions/ and
one line in ACTIONS. Nothing is found by scanning: what runs as root is what stands here.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from overlaywatch import policy
from overlaywatch.actions.alertmanager import AlertmanagerAction
from overlaywatch.actions.purge import PurgeAction
from overlaywatch.actions.reboot import RebootAction
from overlaywatch.actions.run import RunAction
from overlaywatch.actions.webhook import WebhookAction
from overlaywatch.config.errors import ConfigError, ConfigErrors
from overlaywatch.config.settings import ActionTable, Settings
from overlaywatch.config.table import Table
from overlaywatch.engine import host
from overlaywatch.engine.folder import run_directory
from overlaywatch.engine.memory import read_ledger
from overlaywatch.engine.monitor import Monitor
from overlaywatch.engine.pause import is_paused
from overlaywatch.kernel.cmdline import parse_cmdline
from overlaywatch.kernel.dm_open import open_dm_reader
from overlaywatch.kernel.root import KernelRoot
from overlaywatch.kernel.view import KernelReader, KernelView
from overlaywatch.model import Tick, Verdict
from overlaywatch.ports import Action, ActionContext, Plan, Source, Surroundings
from overlaywatch.sources.already_copied import AlreadyCopied, already_copied
from overlaywatch.sources.dm_snapshot import DmSnapshotSource
from overlaywatch.sources.filesystem import FilesystemSource
from overlaywatch.sources.links import DmPassThroughSource, LoopSource
from overlaywatch.sources.mounts import MountsSource
from overlaywatch.sources.overlay import OverlaySource
from overlaywatch.sources.ram import RamSource
from overlaywatch.sources.ramfs import RamfsSource
from overlaywatch.sources.tmpfs import TmpfsSource

if TYPE_CHECKING:
    from overlaywatch.engine.parts import Send

SOURCES: Final[tuple[Callable[[], Source[KernelView]], ...]] = (
    MountsSource,
    DmSnapshotSource,
    DmPassThroughSource,
    LoopSource,
    OverlaySource,
    FilesystemSource,
    TmpfsSource,
    RamfsSource,
    RamSource,
)

ACTIONS: Final[Mapping[str, Callable[[Table, ActionContext], Action]]] = {
    "alertmanager": AlertmanagerAction.from_table,
    "webhook": WebhookAction.from_table,
    "purge": PurgeAction.from_table,
    "run": RunAction.from_table,
    "reboot": RebootAction.from_table,
}

LIVE: Final = KernelRoot()


# --- configuration ------------------------------------------------------------------------------


def make_action(table: ActionTable, context: ActionContext) -> tuple[Action, tuple[str, ...]]:
    """The action of one `[action.NAME]` and warnings about it. Raises ConfigErrors."""
    factory = ACTIONS.get(table.type)
    if factory is None:
        known = ", ".join(ACTIONS)
        error = ConfigError(
            table.origins.get("type", ""),
            f"action.{table.name}.type",
            f"no such type: {table.type!r}",
            f"expected one of {known}",
        )
        raise ConfigErrors([error])
    keys = Table.of(table)
    action = factory(keys, context)
    return action, tuple(keys.warnings)


def check_action(table: ActionTable) -> tuple[str, ...]:
    """Warnings about one action, for config.load. Raises ConfigErrors; nothing is done."""
    return make_action(table, _context(table.name, _tell_nobody))[1]


def make_actions(settings: Settings, send: "Send", *, captured: bool = False) -> dict[str, Action]:
    """All actions by name. `send` hands a notification to delivery. Raises ConfigErrors.

    For the facts of a `captured` machine they do not take this machine's files for those of that one.
    """
    return {table.name: make_action(table, _context(table.name, send, captured))[0] for table in settings.actions}


def urls(settings: Settings) -> tuple[str, ...]:
    """Where notifications go, so that names and certificates can be looked up while there is a disk."""
    values = [table.values.get(key) for table in settings.actions for key in ("url", "urls")]
    found = (one for value in values for one in (value if isinstance(value, list | tuple) else [value]))
    return tuple(dict.fromkeys(one for one in found if isinstance(one, str)))


def _context(name: str, send: "Send", captured: bool = False) -> ActionContext:
    return ActionContext(name, os.uname().nodename, send, announce, time.time, captured)


def _tell_nobody(frame: Mapping[str, object]) -> None:
    """For looking at a configuration: nothing is sent."""


def announce(text: str) -> None:
    """One line in the kernel's log, which outlives a dead root (`<2>`: critical). Raises OSError."""
    fd = os.open("/dev/kmsg", os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.write(fd, f"<2>overlaywatch: {text}\n".encode("utf-8", "backslashreplace"))
    finally:
        os.close(fd)


def boot_words() -> tuple[str, ...]:
    """The words of the kernel command line; none where /proc is not mounted."""
    try:
        return parse_cmdline((LIVE.proc / "cmdline").read_text("utf-8", "surrogateescape"))
    except OSError:
        return ()


# --- one look -----------------------------------------------------------------------------------


def make_sources() -> tuple[Source[KernelView], ...]:
    """One of each, with its own memory."""
    return tuple(make() for make in SOURCES)


def open_reader(settings: Settings, root: KernelRoot = LIVE) -> KernelReader:
    """The kernel of this machine, or of a captured one."""
    choice = settings.daemon.dm_reader.value
    return KernelReader(root, open_dm_reader(choice, root), lambda: open_dm_reader(choice, root))


def take_look(settings: Settings, root: KernelRoot = LIVE) -> Tick:
    """One look without a daemon. A forecast is justified by no single look, so there is none."""
    return _look(settings, settings.policies, root)[0]


def look_deep(settings: Settings, tick: Tick, verdict: Verdict, root: KernelRoot = LIVE) -> AlreadyCopied:
    """What only the exception store tells about one mount point of a look. Expensive; for root."""
    reader = open_reader(settings, root)
    try:
        return already_copied(reader.look, verdict, tick.survey)
    finally:
        reader.close()


def plan_now(settings: Settings, root: KernelRoot = LIVE) -> tuple[Tick, tuple[Plan, ...]]:
    """What every policy would do if its stages were true for long enough: holds are not waited for."""
    at_once = tuple(
        replace(one, stages=tuple(replace(stage, hold=0.0) for stage in one.stages)) for one in settings.policies
    )
    tick, headroom = _look(settings, at_once, root)
    actions = make_actions(settings, _tell_nobody, captured=not root.is_live)
    ledger = read_ledger(run_directory(os.environ), tick.host.boot_id)
    around = Surroundings(headroom, time.clock_gettime(time.CLOCK_BOOTTIME), ledger.past, time.monotonic)
    return tick, tuple(actions[one.action].plan(one, around) for one in tick.decisions)


def _look(
    settings: Settings, policies: tuple[policy.Policy, ...], root: KernelRoot
) -> tuple[Tick, Callable[[str], int | None]]:
    settings = replace(settings, policies=policies)
    reader = open_reader(settings, root)
    monitor: Monitor[KernelView] = Monitor(settings, make_sources(), time.monotonic)
    now = time.monotonic()
    try:
        seen = monitor.step(reader.look(), now)
    finally:
        reader.close()
    left = {verdict.mount.mount_point: verdict.headroom_bytes for verdict in seen.verdicts}
    tick = Tick(
        now=now,
        unix_time=time.time(),
        host=host.describe(),
        survey=seen.survey,
        verdicts=seen.verdicts,
        forecasts=seen.forecasts,
        stages=seen.stages,
        decisions=seen.decisions,
        paused=is_paused(run_directory(os.environ), now),
    )
    return tick, left.get
