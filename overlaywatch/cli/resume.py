# SPDX-License-Identifier: Apache-2.0
"""`overlaywatch resume`: ends the pause."""

import argparse

from overlaywatch.cli.pause import refused
from overlaywatch.cli.pausefile import remove_pause
from overlaywatch.cli.problem import Exit
from overlaywatch.cli.world import World


def options(parser: argparse.ArgumentParser) -> None:
    """`resume` takes nothing."""
    del parser


def run(args: argparse.Namespace, world: World) -> int:
    """Remove the file that the daemon looks at in each tick."""
    del args
    try:
        there = remove_pause(world.run_directory)
    except OSError as error:
        raise refused("resume", error, world) from error
    world.write(["Resumed: actions run again." if there else "There was no pause: actions run."])
    return Exit.DONE
