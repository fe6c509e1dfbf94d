# SPDX-License-Identifier: Apache-2.0
"""`overlaywatch explain [MOUNT_POINT]`: the way down to RAM, what ends first, and what helps."""

import argparse

from overlaywatch.cli.answer import status_of_mounts
from overlaywatch.cli.choice import chosen
from overlaywatch.cli.explain_view import explanation, render_explain
from overlaywatch.cli.parser import add_color, add_config, add_json
from overlaywatch.cli.screen import screen_of
from overlaywatch.cli.world import World


def options(parser: argparse.ArgumentParser) -> None:
    """What `explain` takes."""
    parser.add_argument(
        "mount_point", metavar="MOUNT_POINT", nargs="?", help="or a path on one; without: all that are watched"
    )
    add_json(parser)
    add_color(parser)
    add_config(parser)


def run(args: argparse.Namespace, world: World) -> int:
    """Look and explain. 1 if something is wrong with a layer or full, 3 if nothing could be known."""
    tick = world.look(world.settings(args.config))
    verdicts = chosen(tick, args.mount_point, world.resolve)
    if args.json:
        world.write_json(explanation(tick, verdicts))
    else:
        world.write(render_explain(tick, verdicts, screen_of(world.out, world.environ, args.color)))
    return status_of_mounts(verdicts, tick)
