# SPDX-License-Identifier: Apache-2.0
"""`overlaywatch run`: the daemon, in the foreground, for systemd (Type=notify) or a shell."""

import argparse

from overlaywatch.cli.parser import add_config
from overlaywatch.cli.world import World
from overlaywatch.service import RunOptions


def options(parser: argparse.ArgumentParser) -> None:
    """What `run` takes."""
    add_config(parser)
    parser.add_argument(
        "--web.listen-address",
        dest="listen",
        metavar="HOST:PORT",
        action="append",
        default=[],
        help="where /metrics, the status page and the API are served; may be given again; 'off' serves nothing",
    )
    parser.add_argument(
        "--textfile",
        metavar="PATH",
        help="also write the metrics to this file (NAME.prom), for node_exporter's textfile collector",
    )


def run(args: argparse.Namespace, world: World) -> int:
    """Run until a signal ends it."""
    return world.daemon(RunOptions(config=args.config, listen=tuple(args.listen), textfile=args.textfile))
