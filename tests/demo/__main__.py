# SPDX-License-Identifier: Apache-2.0
"""Shows half a minute of a filling overlay, and what overlaywatch does about it, in the best place this machine has."""

import argparse
import sys

from tests.demo import stages
from tests.demo.screen import Style


def main() -> int:
    """The exit status says whether everything that was promised has happened."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--stage", choices=stages.STAGES, help="the place (default: the best there is)")
    parser.add_argument("--rate", type=float, default=2.5, metavar="MIB", help="MiB that are written in a second")
    parser.add_argument("--unwatched", action="store_true", help="what happens without overlaywatch (lab kernel only)")
    parser.add_argument("--inside", choices=stages.INSIDE, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        return stages.INSIDE[given.inside](Style.from_environment())
    style = Style.of_this_terminal(given.rate)
    if given.unwatched:
        return stages.unwatched(style)
    return stages.STAGES.get(given.stage or stages.best(), stages.nowhere)(style)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
