# SPDX-License-Identifier: Apache-2.0
"""Everything outside that a verb may touch: streams, environment, clocks, and the program's own rooms.

A verb is given a World and knows nothing else, so a test gives it one of its own. The real one loads
each room only when it is entered.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from overlaywatch.cli.problem import Exit, Problem
from overlaywatch.cli.screen import printable
from overlaywatch.engine.folder import run_directory

if TYPE_CHECKING:
    from overlaywatch.config.load import Gathered
    from overlaywatch.config.settings import Settings
    from overlaywatch.kernel.capture import Capture
    from overlaywatch.model import Tick, Verdict
    from overlaywatch.ports import Plan
    from overlaywatch.service import RunOptions
    from overlaywatch.sources.already_copied import AlreadyCopied


@dataclass(frozen=True, slots=True)
class World:
    """`load` and `gather` read the configuration (None: the ordinary files), `look` the machine, `record` captures it.

    `resolve` leads a path through symbolic links and raises FileNotFoundError if it leads nowhere.
    """

    out: TextIO
    err: TextIO
    environ: Mapping[str, str]
    run_directory: Path
    monotonic: Callable[[], float]
    unix_time: Callable[[], float]
    load: Callable[[str | None], "tuple[Settings, tuple[str, ...]]"]
    gather: Callable[[str | None], "Gathered"]
    look: Callable[["Settings"], "Tick"]
    look_deep: Callable[["Settings", "Tick", "Verdict"], "AlreadyCopied"]
    plan: Callable[["Settings"], "tuple[Tick, tuple[Plan, ...]]"]
    daemon: Callable[["RunOptions"], int]
    resolve: Callable[[str], str]
    record: Callable[["Settings"], "tuple[Tick, Capture]"]

    def below(self, folder: str) -> "World":
        """The machine that was captured into a folder, in place of this one. Raises Problem if there is none."""
        return _captured_world(self, folder)

    def write(self, lines: Sequence[str]) -> None:
        """Lines, each ended; nothing at all for none."""
        self.write_text("".join(f"{line}\n" for line in lines))

    def write_text(self, text: str) -> None:
        """Text as it is. Raises Problem if it cannot be written (the disk may be full), or BrokenPipeError."""
        with told_as_output_error():
            self.out.write(text)

    def flush(self) -> None:
        """What is still in the buffer; raises as write_text does."""
        with told_as_output_error():
            self.out.flush()

    def write_json(self, document: object) -> None:
        """A document, as ASCII: names that are not UTF-8 come through, and no terminal is confused."""
        self.write_text(json.dumps(document, indent=2) + "\n")

    def warn(self, warnings: Sequence[str]) -> None:
        """Warnings about the configuration, beside the answer."""
        self.err.write("".join(f"overlaywatch: {printable(warning)}\n" for warning in warnings))

    def settings(self, path: str | None) -> "Settings":
        """The configuration, its warnings told. Raises ConfigErrors."""
        settings, warnings = self.load(path)
        self.warn(warnings)
        return settings


@contextmanager
def told_as_output_error() -> Iterator[None]:
    """Errors of writing as a Problem that names the output; a reader who has gone is none."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        why, remedy = error.strerror or str(error), "let it go to where there is room"
        raise Problem("standard output", why, remedy) from error


def real_world() -> World:
    """This machine."""
    return World(
        out=sys.stdout or _nowhere(),
        err=sys.stderr or _nowhere(),
        environ=os.environ,
        run_directory=run_directory(os.environ),
        monotonic=time.monotonic,
        unix_time=time.time,
        load=_load,
        gather=_gather,
        look=_look,
        look_deep=_look_deep,
        plan=_plan,
        daemon=_daemon,
        resolve=_resolve,
        record=_record,
    )


def _nowhere() -> TextIO:
    """For a stream that was closed by whoever started us: Python has None there, and nobody wants to read it."""
    return open(os.devnull, "w", encoding="utf-8")


def _captured_world(world: World, folder: str) -> World:
    """Every fact is of the captured machine, its ordinary configuration files too; the clocks stay those of here."""
    from overlaywatch import registry
    from overlaywatch.config.load import gather, load
    from overlaywatch.kernel.captured import CaptureError, open_capture

    place = Path(folder).absolute()
    try:
        machine = open_capture(place)
    except CaptureError as error:
        raise Problem(error.place, error.why, error.remedy, Exit.CANNOT_KNOW) from error
    words = registry.boot_words(machine.root)
    return replace(
        world,
        run_directory=registry.run_folder(machine),
        load=lambda path: load(place, words, _explicit(path), check_action=registry.check_action),
        gather=lambda path: gather(place, words, _explicit(path)),
        look=lambda settings: registry.take_look(settings, machine),
        look_deep=lambda settings, tick, verdict: registry.look_deep(settings, tick, verdict, machine),
        plan=lambda settings: registry.plan_now(settings, machine),
        daemon=lambda options: world.daemon(replace(options, captured=machine)),
        record=lambda settings: registry.record(settings, machine),
        resolve=str,
    )


def _record(settings: "Settings") -> "tuple[Tick, Capture]":
    from overlaywatch import registry

    return registry.record(settings)


def _load(path: str | None) -> "tuple[Settings, tuple[str, ...]]":
    from overlaywatch import registry
    from overlaywatch.config.load import load

    words, explicit = registry.boot_words(), _explicit(path)
    return load(boot_words=words, explicit=explicit, check_action=registry.check_action, skip_forbidden=True)


def _explicit(path: str | None) -> Path | None:
    return None if path is None else Path(path)


def _gather(path: str | None) -> "Gathered":
    from overlaywatch import registry
    from overlaywatch.config.load import gather

    return gather(boot_words=registry.boot_words(), explicit=_explicit(path), skip_forbidden=True)


def _look(settings: "Settings") -> "Tick":
    from overlaywatch import registry

    return registry.take_look(settings)


def _look_deep(settings: "Settings", tick: "Tick", verdict: "Verdict") -> "AlreadyCopied":
    from overlaywatch import registry

    return registry.look_deep(settings, tick, verdict)


def _plan(settings: "Settings") -> "tuple[Tick, tuple[Plan, ...]]":
    from overlaywatch import registry

    return registry.plan_now(settings)


def _resolve(path: str) -> str:
    from overlaywatch.kernel.place import resolve

    return resolve(path)


def _daemon(options: "RunOptions") -> int:
    from overlaywatch import service
    from overlaywatch.engine.state_file import AlreadyRunningError
    from overlaywatch.frontend.listen import AddressError
    from overlaywatch.frontend.textfile import TextfileError

    try:
        return service.run_daemon(options)
    except AddressError as error:
        raise Problem("--web.listen-address", str(error), status=Exit.USAGE) from error
    except TextfileError as error:
        raise Problem("--textfile", str(error), status=Exit.USAGE) from error
    except AlreadyRunningError as error:
        remedy = "stop it first, or set RUNTIME_DIRECTORY to another folder"
        raise Problem(str(error), "another overlaywatch is running", remedy) from error
