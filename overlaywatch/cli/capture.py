# SPDX-License-Identifier: Apache-2.0
"""`overlaywatch capture FILE.tar`: what the daemon sees of this machine, for a report or a test."""

import argparse
import os
import sys
from pathlib import Path

from overlaywatch.cli.choice import mount_below
from overlaywatch.cli.parser import add_config
from overlaywatch.cli.problem import Exit, Problem
from overlaywatch.cli.screen import printable
from overlaywatch.cli.world import World, told_as_output_error
from overlaywatch.config.errors import ConfigErrors
from overlaywatch.config.settings import Settings
from overlaywatch.kernel.capture import Capture
from overlaywatch.kernel.capture_tar import pack
from overlaywatch.model import Tick, Verdict
from overlaywatch.units import format_size

STANDARD_OUTPUT = "-"


def options(parser: argparse.ArgumentParser) -> None:
    """What `capture` takes."""
    parser.add_argument("file", metavar="FILE.tar", help="the archive to be written; '-' is standard output")
    add_config(parser)
    parser.epilog = "Host name, home folders, private names and secrets of the command line are left out or replaced."


def run(args: argparse.Namespace, world: World) -> int:
    """Look, and write down what was seen."""
    tick, capture = world.record(_settings(args.config, world))
    if args.file == STANDARD_OUTPUT:
        _to_output(pack(capture, "capture"), world)
        return _done(capture, "standard output", world)
    path = Path(args.file)
    archive = pack(capture, path.name.removesuffix(".tar"))
    if not args.root:  # what is known of room is that of the captured machine
        _heed(path, len(archive), tick, world)
    _write(path, archive)
    return _done(capture, args.file, world)


def _settings(path: str | None, world: World) -> Settings:
    """A wrong configuration is what some reports are about: the machine is then recorded as without any."""
    try:
        return world.settings(path)
    except ConfigErrors as errors:
        world.warn([*map(str, errors.errors), "the configuration is wrong, and not used for this"])
        return Settings()


def _heed(path: Path, size: int, tick: Tick, world: World) -> None:
    """No room that is guarded is taken without a word. Raises Problem if the archive does not fit."""
    verdict = _watched(path, tick)
    if verdict is None:
        return
    left = verdict.headroom_bytes
    point = printable(verdict.mount.mount_point)
    elsewhere = "write it elsewhere: 'overlaywatch capture - | ssh HOST \"cat >FILE.tar\"'"
    if left is not None and left < size:
        raise Problem(str(path), f"{format_size(size)} do not fit: {format_size(left)} left on {point}", elsewhere)
    world.warn([f"{path}: on {point}, which is watched: this takes {format_size(size)} of its room; {elsewhere}"])


def _watched(path: Path, tick: Tick) -> Verdict | None:
    mount = mount_below(os.path.realpath(path.parent), tick.survey.mounts)
    found = (verdict for verdict in tick.verdicts if mount and verdict.mount.rests_on == mount.rests_on)
    return next(found, None)


def _write(path: Path, archive: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(archive)
    except FileExistsError:
        raise Problem(str(path), "is there already", "remove it, or take another name", Exit.USAGE) from None
    except OSError as error:
        remedy = "give a path that can be written, or '-' for standard output"
        raise Problem(str(path), error.strerror or str(error), remedy) from error


def _to_output(archive: bytes, world: World) -> None:
    if world.out.isatty():
        raise Problem("capture", "an archive is not for a terminal", "redirect it, or name a file", Exit.USAGE)
    with told_as_output_error():
        sys.stdout.buffer.write(archive)


def _done(capture: Capture, place: str, world: World) -> int:
    """What is missing is told beside the archive, and stands in its manifest."""
    told = capture.manifest
    world.warn([*told.host.notes, *(f"not recorded: {missing}" for missing in told.missing)])
    if place != "standard output":
        world.write([f"{place}: {len(capture.files)} files, nothing private; look at it: tar -tf {place}"])
    return Exit.DONE
