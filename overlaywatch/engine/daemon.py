# SPDX-License-Identifier: Apache-2.0
"""The privileged process: one synchronous tick after another, and what wakes it in between.

Must not know any source, action or renderer; they come in as parts. It listens to nothing. Everything
that may wait (actions, deliveries, scrapes) happens in another process.
"""

import logging
import os
import select
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Final

from overlaywatch import policy, policy_state
from overlaywatch.config.errors import ConfigErrors
from overlaywatch.config.settings import Settings
from overlaywatch.engine import alerts, journal, pause
from overlaywatch.engine.counters import Counters
from overlaywatch.engine.dispatch import Dispatcher, Permission
from overlaywatch.engine.events import Events, Wish
from overlaywatch.engine.frontend_link import FrontendLink
from overlaywatch.engine.hearsay import Hearsay
from overlaywatch.engine.memory import Memory
from overlaywatch.engine.monitor import Monitor, Observation
from overlaywatch.engine.outbox import Outbox
from overlaywatch.engine.parts import Parts
from overlaywatch.engine.publisher import Publisher
from overlaywatch.engine.rhythm import Rhythm
from overlaywatch.engine.systemd import ServiceManager
from overlaywatch.forecast import Forecaster
from overlaywatch.kernel import process
from overlaywatch.kernel.uevent import UeventSocket
from overlaywatch.model import Outcome, Tick
from overlaywatch.ports import Action, Surroundings

log: Final = logging.getLogger(__name__)

LISTEN_PATIENCE: Final = 2.0
"""Seconds that READY waits for the frontend: monitoring does not depend on it."""

REMEMBER_EVERY: Final = 30.0
"""Seconds after which what was learned about a fill is written down though nothing was decided."""

STOP_PATIENCE: Final = 3.0
"""Seconds that an action under way gets when the daemon has to stop."""

GOODBYE_PATIENCE: Final = 4.0
"""Seconds that the frontend gets then; it takes 2 for deliveries. The service manager gives us 10 in all."""


class Engine:
    """Owns every part. run() returns the exit status."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._events = Events()
        self._outbox = Outbox()
        self._memory = Memory(parts.folder, parts.host.boot_id, self._outbox)
        self._reader = parts.open_reader(parts.settings)
        self._monitor = Monitor(parts.settings, parts.sources, time.monotonic)
        self._monitor.policy_state = policy_state.from_json(self._memory.restored_policy_state, time.monotonic())
        self._monitor.forecaster = Forecaster.from_json(self._memory.restored_forecasts, time.monotonic())
        self._rhythm = Rhythm(parts.sources)
        for *_, action in self._memory.owed.leave_to(process.is_alive):
            log.warning("%s: the process that a daemon before this one gave it is still at it", action)
        self._actions = dict(parts.make_actions(parts.settings, self._outbox.send))
        self._monitor.reconfigure(parts.settings, _telling(self._actions))
        self._dispatcher = Dispatcher(
            self._actions, self._memory.ledger, self._memory.owed, self._remember, self._leave_to_engine
        )
        self._link = FrontendLink(parts.spawn_frontend, self._outbox.tell_again)
        self._counters = Counters(time.time())
        self._counters.config_hash = parts.settings.hash
        self._hearsay = Hearsay(self._outbox, self._counters)
        self._publisher = Publisher()
        self._manager = ServiceManager()
        self._remarks = journal.Remarks()
        # What was captured does not change: there is nothing to wait for.
        live = self._reader.root.is_live
        self._uevents = open_uevents() if live else None
        self._mount_fd = os.open(self._reader.world.table, os.O_RDONLY | os.O_CLOEXEC) if live else None
        self._remembered_at = 0.0
        self._paused = False
        self._renewed = False
        self._has_ticked = False
        self._ready = False
        self._stopping = False

    def run(self) -> int:
        """Until SIGTERM. Memory is locked before the frontend is forked: locking copies what is shared by then."""
        self._events.take_signals()
        for refusal in self._parts.prepare():
            log.warning("%s; it may not outlive the root file system or a lack of memory; run it as root", refusal)
        self._link.ensure(time.monotonic())
        started = time.monotonic()
        self._tick(started)
        while not self._stopping:
            self._turn()
            if (
                self._has_ticked
                and not self._ready
                and (self._hearsay.is_listening or time.monotonic() - started > LISTEN_PATIENCE)
            ):
                self._become_ready()
        self._stop()
        return 0

    def _become_ready(self) -> None:
        self._ready = True
        # Whoever is started after us asks the frontend at once: it has to know it first.
        self._tick(time.monotonic())
        self._link.flush(time.monotonic())
        self._manager.ready()
        journal.ready(self._monitor.watched(), self._settings.watch.include)

    # --- waiting ------------------------------------------------------------------------------------

    def _turn(self) -> None:
        now = time.monotonic()
        self._link.ensure(now)
        self._events.only(self._wishes())
        ready, signals = self._events.wait(self._patience(now))
        now = time.monotonic()
        self._heed(signals)
        self._take_events(ready, now)
        self._take_reports(now)
        if now >= self._rhythm.tick_at or (self._rhythm.is_peek_due(now) and self._peek(now)):
            self._tick(now)
        self._link.flush(time.monotonic())

    def _patience(self, now: float) -> float:
        retry = self._link.retry_in(now)
        wait = self._rhythm.seconds(now)
        wait = wait if self._ready else min(wait, 0.1)
        return wait if retry is None else min(wait, retry)

    def _wishes(self) -> Iterator[Wish]:
        yield from self._link.wishes()
        if self._mount_fd is not None:
            yield Wish(self._mount_fd, "mount table", select.EPOLLPRI)
        if self._uevents is not None:
            yield Wish(self._uevents.fileno(), "uevents")
        control = self._reader.dm.fileno() if self._reader.dm is not None else None
        if control is not None:
            yield Wish(control, f"device-mapper {id(self._reader.dm)}")
        worker = self._dispatcher.worker
        if worker is not None:
            yield Wish(worker.fd, f"action {worker.pid}")

    def _heed(self, signals: frozenset[int]) -> None:
        if signal.SIGTERM in signals or signal.SIGINT in signals:
            self._stopping = True
        elif signal.SIGHUP in signals:
            self._reload()

    def _take_events(self, ready: frozenset[int], now: float) -> None:
        """Whatever was plugged in or out, mounted, or ended: it is seen at once."""
        if self._uevents is not None and self._uevents.fileno() in ready:
            if not any(event.concerns_block_devices for event in self._uevents.read()):
                ready -= {self._uevents.fileno()}
            else:
                self._reader.invalidate()
        if ready - self._link.descriptors():
            self._rhythm.hurry(now)

    def _take_reports(self, now: float) -> None:
        self._hearsay.take(self._link.receive(now), now)
        if self._memory.is_behind:
            self._try_to_remember()

    def _peek(self, now: float) -> bool:
        try:
            return self._rhythm.peek(self._reader.look(), now)
        except Exception:
            log.exception("a fault of overlaywatch itself: a look at everything follows")
            return True

    # --- a tick ---------------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        """One look and what follows. A fault in it does not feed the watchdog, which bites if it stays."""
        try:
            self._look_and_act(now)
            self._has_ticked = True
        except Exception:
            log.exception("a fault of overlaywatch itself: this look is lost, the next one comes in a second")
            self._rhythm.fail(now)

    def _look_and_act(self, now: float) -> None:
        before = self._monitor.policy_state
        self._paused = self._parts.folder is not None and pause.is_paused(self._parts.folder, now)
        observation = self._monitor.step(self._reader.look(), now)
        outcomes = self._act(observation, now, changed=self._monitor.policy_state != before)
        self._settle(outcomes)
        cost = time.monotonic() - now
        tick = self._finished(observation, outcomes, now, cost)
        self._announce(tick, cost)

    def _act(self, observation: Observation, now: float, *, changed: bool) -> list[Outcome]:
        """Tell and queue what was decided, write all that down, and only then do it."""
        surroundings = self._surroundings()
        permission = Permission(self._settings.daemon.actions, self._paused)
        outcomes = self._dispatcher.accept(observation.decisions, surroundings)
        if permission.given:
            owed = self._memory.owed.again(observation, now, but=self._dispatcher.waiting())
            outcomes += self._dispatcher.accept(owed, surroundings)
            if owed:
                self._monitor.policy_state = policy.begun_late(self._monitor.policy_state, owed, now)
                changed = True
        alerts.reconcile(self._outbox, observation.stages, self._actions, time.time())
        if not self._renewed:
            alerts.renew(self._outbox, observation, self._actions, surroundings, told=observation.decisions)
            self._renewed = True
            journal.not_watched(self._monitor.watched(), self._settings.watch.include)
        if changed or observation.decisions or self._memory.is_behind or now - self._remembered_at > REMEMBER_EVERY:
            self._try_to_remember()
        active = {(one.policy, one.stage, one.mount_point) for one in observation.stages if one.active}
        return outcomes + self._dispatcher.proceed(
            lambda one: (one.policy, one.stage, one.mount_point) in active, permission, surroundings
        )

    def _settle(self, outcomes: list[Outcome]) -> None:
        """An action of ours has changed the room: the forecast begins anew, and the next look comes at once."""
        for outcome in outcomes:
            if outcome.freed_bytes or outcome.reusable_bytes:
                self._monitor.forecaster.split(outcome.mount_point)

    def _finished(self, observation: Observation, outcomes: list[Outcome], now: float, cost: float) -> Tick:
        pace = self._rhythm.plan(
            observation, self._monitor.forecaster, now, self._interval(), self._until_due(now), cost
        )
        return Tick(
            now=now,
            unix_time=time.time(),
            host=self._parts.host,
            survey=observation.survey,
            verdicts=observation.verdicts,
            forecasts=observation.forecasts,
            stages=observation.stages,
            decisions=observation.decisions,
            outcomes=tuple(outcomes),
            pace_seconds=pace,
            paused=self._paused,
        )

    def _until_due(self, now: float) -> float | None:
        """Seconds until the first hold, cooldown or wait of something owed ends; None if nothing waits."""
        due = policy.next_due(self._settings.policies, self._monitor.policy_state), self._memory.owed.next_due(now)
        return min((at - now for at in due if at is not None), default=None)

    def _interval(self) -> float:
        """The slowest pace: that of the configuration, but the watchdog must be fed by finished ticks."""
        watchdog = self._manager.watchdog_seconds
        return self._settings.daemon.interval if watchdog is None else min(self._settings.daemon.interval, watchdog / 3)

    def _announce(self, tick: Tick, cost: float) -> None:
        self._counters.looked(tick.survey.sources)
        self._counters.decided(tick.decisions)
        self._counters.ended(tick.outcomes)
        self._counters.tick_took(cost)
        for level, text in self._remarks.of(tick):
            log.log(level, "%s", text)
        for frame in self._outbox.take():
            self._link.post(frame)
        encoded = self._publisher.encode(tick, self._counters, ready=self._ready)
        if encoded is not None:
            self._link.publish(encoded)
        self._manager.tick_finished(tick)
        journal.name_writers(tick.decisions)

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            headroom=self._headroom,
            uptime_seconds=time.clock_gettime(time.CLOCK_BOOTTIME),
            past=self._memory.ledger.past,
            monotonic=time.monotonic,
        )

    def _headroom(self, mount_point: str) -> int | None:
        """Measured anew, now; also in a child that carries out an action."""
        _, verdicts = self._monitor.measure(self._reader.look(), time.monotonic())
        found = (verdict.headroom_bytes for verdict in verdicts if verdict.mount.mount_point == mount_point)
        return next(found, None)

    # --- what is kept, paused, reloaded, ended --------------------------------------------------------

    def _remember(self) -> None:
        self._remembered_at = time.monotonic()
        self._memory.save(self._monitor.policy_state, self._monitor.forecaster)

    def _try_to_remember(self) -> None:
        if self._memory.is_kept:
            try:
                self._remember()
            except OSError as error:
                log.error(
                    "the state cannot be written down: %s; nothing is changed on this machine; make room on /run",
                    error.strerror,
                )

    def _leave_to_engine(self) -> None:
        """In a forked child: what only the engine may hold. A pipe held open here would hide its death."""
        self._link.leave()
        self._memory.close()

    def _reload(self) -> None:
        """All or nothing: a configuration with an error leaves everything as it is."""
        self._manager.reloading()
        try:
            settings, warnings = self._parts.load()
            actions = dict(self._parts.make_actions(settings, self._outbox.send))
        except (ConfigErrors, OSError, ValueError) as errors:
            log.error("the configuration is not reloaded, the old one stays; mend this and reload again:\n%s", errors)
            self._counters.config_last_reload_successful = False
        else:
            for warning in warnings:
                log.warning("%s", warning)
            self._take_over(settings, actions)
        if self._ready:
            self._manager.ready()
        self._rhythm.hurry(time.monotonic())

    def _take_over(self, settings: Settings, actions: Mapping[str, Action]) -> None:
        if settings.daemon.dm_reader is not self._settings.daemon.dm_reader:
            before, self._reader = self._reader, self._parts.open_reader(settings)
            before.close()
        self._settings = settings
        self._link.post({"type": "receivers", "urls": list(self._parts.urls(settings))})
        alerts.retire(self._outbox, before=self._actions, after=actions, unix_time=time.time())
        self._actions = dict(actions)
        self._dispatcher.reconfigure(self._actions)
        self._monitor.reconfigure(settings, _telling(actions))
        self._counters.config_hash = settings.hash
        self._counters.config_last_reload_successful = True
        self._renewed = False
        log.info("configuration reloaded")

    def _stop(self) -> None:
        self._manager.stopping()
        log.info("stopping")
        for outcome in self._dispatcher.finish(time.monotonic() + STOP_PATIENCE):
            log.warning("%s: %s: %s", outcome.action, outcome.kind.value, outcome.reason)
        for frame in self._outbox.take():
            self._link.post(frame)
        self._hearsay.take(self._link.goodbye(GOODBYE_PATIENCE), time.monotonic())
        self._try_to_remember()
        self._memory.close()
        self._events.close()
        self._manager.close()


def _telling(actions: Mapping[str, Action]) -> frozenset[str]:
    """The actions that only tell somebody: all that a layer of unknown state may call for."""
    return frozenset(name for name, action in actions.items() if not action.changes)


def open_uevents() -> UeventSocket | None:
    """The kernel's events; None where there are none (a container): then everything is seen at the next tick."""
    try:
        return UeventSocket()
    except OSError as error:
        log.warning(
            "no uevents: %s; devices are seen at the next tick; run it in the network namespace of the host",
            error.strerror,
        )
        return None
