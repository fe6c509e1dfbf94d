# SPDX-License-Identifier: Apache-2.0
"""`overlaywatch plan`: what every policy would do right now and why, doing nothing."""

import argparse
from dataclasses import replace

from overlaywatch.cli.answer import status_of_mounts
from overlaywatch.cli.parser import add_color, add_config, add_json
from overlaywatch.cli.pause import describe
from overlaywatch.cli.pausefile import read_pause
from overlaywatch.cli.plan_view import plan_document, render_plan
from overlaywatch.cli.problem import Exit
from overlaywatch.cli.screen import screen_of
from overlaywatch.cli.world import World


def options(parser: argparse.ArgumentParser) -> None:
    """What `plan` takes."""
    add_json(parser)
    add_color(parser)
    add_config(parser)


def run(args: argparse.Namespace, world: World) -> int:
    """Look, decide, plan, and show. 3 if nothing could be known, else 0: a plan is no bad news, it is the answer."""
    settings = world.settings(args.config)
    pause = read_pause(world.run_directory, world.monotonic())
    tick, plans = world.plan(settings)
    tick = replace(tick, paused=pause is not None)
    if args.json:
        world.write_json(plan_document(tick, plans, settings))
    else:
        screen = screen_of(world.out, world.environ, args.color)
        world.write(render_plan(tick, plans, settings, screen, describe(pause, world) if pause else ""))
    blind = status_of_mounts(tick.verdicts, tick) is Exit.CANNOT_KNOW
    return Exit.CANNOT_KNOW if blind else Exit.DONE
