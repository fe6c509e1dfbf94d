# SPDX-License-Identifier: Apache-2.0
"""`overlaywatch check [MOUNT_POINT]`: a monitoring plugin, for Nagios, Icinga, Checkmk, Sensu and the like."""

import argparse
from collections.abc import Callable
from typing import TypeVar

from overlaywatch.cli.check_rules import Thresholds, examine, overall, render_check
from overlaywatch.cli.choice import chosen
from overlaywatch.cli.parser import add_config
from overlaywatch.cli.problem import Exit, Problem
from overlaywatch.cli.world import World
from overlaywatch.units import UnitError, parse_ratio, parse_size

Quantity = TypeVar("Quantity", int, float)


def options(parser: argparse.ArgumentParser) -> None:
    """What `check` takes."""
    parser.add_argument(
        "mount_point", metavar="MOUNT_POINT", nargs="?", help="or a path on one; without: all that are watched"
    )
    ratio, size = _quantity(parse_ratio), _quantity(parse_size)
    parser.add_argument("--warning", metavar="RATIO", type=ratio, help="used more than this, such as 80%%")
    parser.add_argument("--critical", metavar="RATIO", type=ratio, help="used more than this, such as 90%%")
    parser.add_argument("--warning-headroom", metavar="SIZE", type=size, help="less than this left, such as 64MiB")
    parser.add_argument("--critical-headroom", metavar="SIZE", type=size, help="less than this left, such as 16MiB")
    add_config(parser)
    parser.epilog = "Without any threshold: --warning 80% --critical 90%. Ratios count for inodes, too.\n"
    parser.epilog += "A layer that is broken, or full, is always critical. Exit status: 0 ok, 1 warning,\n"
    parser.epilog += "2 critical, 3 unknown."


def run(args: argparse.Namespace, world: World) -> int:
    """Look, compare, and print one line."""
    thresholds = thresholds_of(args)
    settings, _ = world.load(args.config)
    verdicts = chosen(world.look(settings), args.mount_point, world.resolve)
    findings = [examine(verdict, thresholds) for verdict in verdicts]
    world.write([render_check(findings, thresholds)])
    return overall(findings)


def thresholds_of(args: argparse.Namespace) -> Thresholds:
    """The thresholds that were asked. Raises Problem if a warning would come after the critical one."""
    asked = Thresholds(args.warning, args.critical, args.warning_headroom, args.critical_headroom).or_default
    if asked.warning is not None and asked.critical is not None and asked.warning > asked.critical:
        raise Problem("check", "--warning is above --critical, so it would never be told", "swap them", Exit.USAGE)
    least, less = asked.warning_headroom, asked.critical_headroom
    if least is not None and less is not None and least < less:
        why = "--warning-headroom is below --critical-headroom, so it would never be told"
        raise Problem("check", why, "swap them", Exit.USAGE)
    return asked


def _quantity(parse: Callable[[str], Quantity]) -> Callable[[str], Quantity]:
    def read(text: str) -> Quantity:
        try:
            return parse(text)
        except UnitError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read
