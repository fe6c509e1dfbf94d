# SPDX-License-Identifier: Apache-2.0
"""`overlaywatch status`: one look, now, without a daemon."""

import argparse
import time
from dataclasses import replace

from overlaywatch.cli.answer import status_of_tick
from overlaywatch.cli.parser import add_color, add_config, add_json
from overlaywatch.cli.pause import describe
from overlaywatch.cli.pausefile import read_pause
from overlaywatch.cli.screen import screen_of
from overlaywatch.cli.status_view import render_status
from overlaywatch.cli.world import World
from overlaywatch.document import status_document


def options(parser: argparse.ArgumentParser) -> None:
    """What `status` takes."""
    add_json(parser)
    add_color(parser)
    add_config(parser)


def run(args: argparse.Namespace, world: World) -> int:
    """Look and show. 1 if something is wrong with a layer or full, 3 if nothing could be known."""
    pause = read_pause(world.run_directory, world.monotonic())
    tick = replace(world.look(world.settings(args.config)), paused=pause is not None)
    if args.json:
        world.write_json(status_document(tick))
        return status_of_tick(tick)
    at = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(tick.unix_time))
    told = describe(pause, world) if pause else ""
    world.write(render_status(tick, screen_of(world.out, world.environ, args.color), at, told))
    return status_of_tick(tick)
