# SPDX-License-Identifier: Apache-2.0
"""What is plugged in, by name: the sources and the actions; and how the program is put together.

A new source is one file in sources/ and one line in SOURCES. A new action is one file in actions/ and
one line in ACTIONS. Nothing is found by scanning: what runs as root is what stands here.
"""

import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from overlaywatch import __version__, policy
from overlaywatch.actions.alertmanager import AlertmanagerAction
from overlaywatch.actions.purge import PurgeAction
from overlaywatch.actions.reboot import RebootAction
from overlaywatch.actions.run import RunAction
from overlaywatch.actions.webhook import WebhookAction
from overlaywatch.config.checked import defaults_of
from overlaywatch.config.defaults import Defaults, complete
from overlaywatch.config.errors import ConfigError, ConfigErrors
from overlaywatch.config.merge import Merged
from overlaywatch.config.settings import ActionTable, Settings
from overlaywatch.config.table import Table
from overlaywatch.engine import host
from overlaywatch.engine.folder import run_directory
from overlaywatch.engine.memory import read_ledger
from overlaywatch.engine.monitor import Monitor
from overlaywatch.engine.pause import is_paused
from overlaywatch.kernel.capture import Capture, render_capture
from overlaywatch.kernel.captured import CapturedMachine, Manifest
from overlaywatch.kernel.cmdline import parse_cmdline
from overlaywatch.kernel.dm_open import open_dm_reader
from overlaywatch.kernel.machine import LiveMachine, Machine
from overlaywatch.kernel.recording import RecordingMachine, note_everything
from overlaywatch.kernel.root import KernelRoot
from overlaywatch.kernel.view import KernelReader, KernelView
from overlaywatch.model import Tick, Verdict
from overlaywatch.ports import Action, ActionContext, Plan, Source, Surroundings
from overlaywatch.sources.already_copied import AlreadyCopied, already_copied
from overlaywatch.sources.aufs import AufsSource
from overlaywatch.sources.brd import BrdSource
from overlaywatch.sources.dm_snapshot import DmSnapshotSource
from overlaywatch.sources.dm_thin import DmThinSource
from overlaywatch.sources.filesystem import FilesystemSource
from overlaywatch.sources.links import DmPassThroughSource, LoopSource
from overlaywatch.sources.mounts import MountsSource
from overlaywatch.sources.overlay import OverlaySource
from overlaywatch.sources.ram import RamSource
from overlaywatch.sources.ramfs import RamfsSource
from overlaywatch.sources.tmpfs import TmpfsSource
from overlaywatch.sources.zram import ZramSource

if TYPE_CHECKING:
    from overlaywatch.engine.parts import Send

SOURCES: Final[tuple[Callable[[], Source[KernelView]], ...]] = (
    MountsSource,
    DmSnapshotSource,
    DmThinSource,
    DmPassThroughSource,
    LoopSource,
    OverlaySource,
    AufsSource,
    FilesystemSource,
    TmpfsSource,
    RamfsSource,
    BrdSource,
    ZramSource,
    RamSource,
)

ACTIONS: Final[Mapping[str, Callable[[Table, ActionContext], Action]]] = {
    "alertmanager": AlertmanagerAction.from_table,
    "webhook": WebhookAction.from_table,
    "purge": PurgeAction.from_table,
    "run": RunAction.from_table,
    "reboot": RebootAction.from_table,
}


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


def with_defaults(merged: Merged) -> Merged:
    """The configuration with all that is in force because nobody has said otherwise, for people to see."""
    return complete(merged, defaults_of(merged, _defaults_of_action))


def _defaults_of_action(table: ActionTable) -> Defaults:
    factory, keys = ACTIONS.get(table.type), Table.of(table)
    if factory is not None:
        with suppress(ConfigErrors):  # `config show` helps to find an error, so it must not need its absence
            factory(keys, _context(table.name, _tell_nobody))
    return keys.defaults


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


def boot_words(root: KernelRoot | None = None) -> tuple[str, ...]:
    """The words of the kernel command line, here or of a captured machine; none where /proc is not mounted."""
    try:
        return parse_cmdline(((root or KernelRoot()).proc / "cmdline").read_text("utf-8", "surrogateescape"))
    except OSError:
        return ()


# --- one look -----------------------------------------------------------------------------------


def make_sources() -> tuple[Source[KernelView], ...]:
    """One of each, with its own memory."""
    return tuple(make() for make in SOURCES)


def open_reader(settings: Settings, machine: Machine | None = None) -> KernelReader:
    """The kernel of this machine, or of another one."""
    choice, asked = settings.daemon.dm_reader.value, machine or LiveMachine()
    return KernelReader(asked, open_dm_reader(choice, asked), lambda: open_dm_reader(choice, asked))


def take_look(settings: Settings, machine: Machine | None = None) -> Tick:
    """One look without a daemon. A forecast is justified by no single look, so there is none."""
    with closing(open_reader(settings, machine)) as reader:
        return _look(settings, settings.policies, reader.look(), _captured(machine))[0]


def look_deep(settings: Settings, tick: Tick, verdict: Verdict, machine: Machine | None = None) -> AlreadyCopied:
    """What only the exception store tells about one mount point of a look. Expensive; for root."""
    with closing(open_reader(settings, machine)) as reader:
        return already_copied(reader.look, verdict, tick.survey)


def plan_now(settings: Settings, captured: CapturedMachine | None = None) -> tuple[Tick, tuple[Plan, ...]]:
    """What every policy would do if its stages were true for long enough: holds are not waited for."""
    at_once = tuple(
        replace(one, stages=tuple(replace(stage, hold=0.0) for stage in one.stages)) for one in settings.policies
    )
    with closing(open_reader(settings, captured)) as reader:
        tick, headroom = _look(settings, at_once, reader.look(), captured)
    actions = make_actions(settings, _tell_nobody, captured=captured is not None)
    ledger = read_ledger(run_folder(captured), tick.host.boot_id)
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME) if captured is None else captured.uptime_seconds
    around = Surroundings(headroom, uptime, ledger.past, time.monotonic)
    return tick, tuple(actions[one.action].plan(one, around) for one in tick.decisions)


def run_folder(captured: CapturedMachine | None) -> Path:
    """Where state and pause are: on a captured machine there are none, unless somebody has put them there."""
    return run_directory(os.environ if captured is None else {}, "/" if captured is None else captured.folder)


def record(settings: Settings, machine: Machine | None = None) -> tuple[Tick, Capture]:
    """One look, and a capture of all that was asked for it, and a little more."""
    recorder = RecordingMachine(machine or LiveMachine())
    with closing(open_reader(settings, recorder)) as reader:
        view = reader.look()
        tick = _look(settings, settings.policies, view, _captured(machine))[0]
        note_everything(view, recorder)
    manifest = Manifest(tick.host, tick.unix_time, __version__, platform.python_version(), "captured")
    return tick, render_capture(recorder.recording, manifest)


def _captured(machine: Machine | None) -> CapturedMachine | None:
    return machine if isinstance(machine, CapturedMachine) else None


def _look(
    settings: Settings, policies: tuple[policy.Policy, ...], view: KernelView, captured: CapturedMachine | None
) -> tuple[Tick, Callable[[str], int | None]]:
    settings = replace(settings, policies=policies)
    monitor: Monitor[KernelView] = Monitor(settings, make_sources(), time.monotonic)
    now = time.monotonic()
    seen = monitor.step(view, now)
    left = {verdict.mount.mount_point: verdict.headroom_bytes for verdict in seen.verdicts}
    tick = Tick(
        now=now,
        unix_time=captured.manifest.captured_at or 0.0 if captured else time.time(),
        host=captured.manifest.host if captured else host.describe(),
        survey=seen.survey,
        verdicts=seen.verdicts,
        forecasts=seen.forecasts,
        stages=seen.stages,
        decisions=seen.decisions,
        paused=is_paused(run_folder(captured), now),
    )
    return tick, left.get
