# SPDX-License-Identifier: Apache-2.0
"""`overlaywatch explain [MOUNT_POINT]`: the way down to RAM, what ends first, and what helps."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from overlaywatch.cli.answer import status_of_mounts
from overlaywatch.cli.choice import chosen
from overlaywatch.cli.explain_view import explanation, render_explain
from overlaywatch.cli.parser import add_color, add_config, add_json
from overlaywatch.cli.problem import Exit, Problem
from overlaywatch.cli.screen import screen_of
from overlaywatch.cli.world import World

if TYPE_CHECKING:
    from overlaywatch.config.settings import Settings
    from overlaywatch.model import Tick, Verdict
    from overlaywatch.sources.already_copied import AlreadyCopied


def options(parser: argparse.ArgumentParser) -> None:
    """What `explain` takes."""
    parser.add_argument(
        "mount_point", metavar="MOUNT_POINT", nargs="?", help="or a path on one; without: all that are watched"
    )
    parser.add_argument(
        "--deep",
        action="store_true",
        help="also read the exception store of a P or PO snapshot: how much free space can be rewritten at no cost",
    )
    add_json(parser)
    add_color(parser)
    add_config(parser)


def run(args: argparse.Namespace, world: World) -> int:
    """Look and explain. 1 if something is wrong with a layer or full, 3 if nothing could be known."""
    settings = world.settings(args.config)
    tick = world.look(settings)
    verdicts = chosen(tick, args.mount_point, world.resolve)
    deep = look_deep(world, settings, tick, verdicts, captured=bool(args.root)) if args.deep else {}
    if args.json:
        world.write_json(explanation(tick, verdicts, deep))
    else:
        world.write(render_explain(tick, verdicts, screen_of(world.out, world.environ, args.color), deep))
    return status_of_mounts(verdicts, tick)


def look_deep(
    world: World, settings: "Settings", tick: "Tick", verdicts: Sequence["Verdict"], *, captured: bool
) -> Mapping[str, "AlreadyCopied"]:
    """The expensive answers, by mount point. Raises Problem without the privilege to read a store of this machine."""
    if not tick.host.privileged and not captured:
        raise Problem("--deep", "only root may read an exception store", "run it as root", Exit.CANNOT_KNOW)
    return {verdict.mount.mount_point: world.look_deep(settings, tick, verdict) for verdict in verdicts}
