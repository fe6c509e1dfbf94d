# SPDX-License-Identifier: Apache-2.0
"""`overlaywatch pause [DURATION]`: the kill switch. No action but alerts runs until it is over."""

import argparse
import time
from math import inf
from typing import Final

from overlaywatch.cli.pausefile import Pause, write_pause
from overlaywatch.cli.problem import Exit, Problem
from overlaywatch.cli.world import World
from overlaywatch.units import UnitError, format_duration, parse_duration

WHAT_IT_DOES: Final = "no action runs, alerts are still sent"
HOW_TO_END: Final = "'overlaywatch resume' ends it"
DAY: Final = 86400.0
LONGEST: Final = 365 * DAY
"""Seconds. Who wants more wants no end, and calendars have one."""


def options(parser: argparse.ArgumentParser) -> None:
    """What `pause` takes."""
    parser.add_argument("duration", metavar="DURATION", nargs="?", help="such as 90s, 10m or 2h; else until resumed")


def run(args: argparse.Namespace, world: World) -> int:
    """Write the file that the daemon looks at in each tick."""
    seconds = None if args.duration is None else _seconds(args.duration)
    until = None if seconds is None else world.monotonic() + seconds
    wanted = Pause(until, _who(world), world.unix_time())
    try:
        held = write_pause(world.run_directory, wanted)
    except OSError as error:
        raise refused("pause", error, world) from error
    world.write([_told(held, wanted, world)])
    return Exit.DONE


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except UnitError as error:
        raise Problem("pause", str(error), status=Exit.USAGE) from error
    if seconds <= 0:
        raise Problem("pause", f"{text} is no time", "give a duration such as 10m, or none", Exit.USAGE)
    if seconds > LONGEST:
        raise Problem("pause", f"{text} is more than 365d", "give none: it then holds until resumed", Exit.USAGE)
    return seconds


def _who(world: World) -> str:
    return world.environ.get("SUDO_USER") or world.environ.get("USER", "")


def refused(verb: str, error: OSError, world: World) -> Problem:
    """Why the file could not be written or removed."""
    why = f"{error.filename or world.run_directory}: {error.strerror}"
    if isinstance(error, PermissionError):
        return Problem(verb, f"only root may do this ({why})", f"try 'sudo overlaywatch {verb}'")
    return Problem(verb, why, "'overlaywatch.actions=off' on the kernel command line stops all actions, too")


def _told(held: Pause, wanted: Pause, world: World) -> str:
    if held.until is None and wanted.until is not None:
        return f"Paused until resumed, because there is no room to write the time: {WHAT_IT_DOES}; {HOW_TO_END}."
    return describe(held, world)


def describe(pause: Pause, world: World) -> str:
    """A pause in a sentence: until when, by whom, and how to end it."""
    by = f" by {pause.by}" if pause.by else ""
    left = inf if pause.until is None else max(pause.until - world.monotonic(), 0.0)
    if not left <= LONGEST:  # nor is NaN, which is never over
        return f"Paused{by} until resumed: {WHAT_IT_DOES}; {HOW_TO_END}."
    spelling = "%H:%M:%S" if left < DAY / 2 else "%Y-%m-%d %H:%M:%S"
    clock = time.strftime(spelling, time.localtime(world.unix_time() + left))
    return f"Paused{by} until {clock} ({format_duration(left)} from now): {WHAT_IT_DOES}; {HOW_TO_END}."
